//! A node pulls from a registry that lets in as ECR does, with the Secret that a Pod names, and not without it. So do the programs that move
//! images about.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use serde_json::{Value, json};

use support::certificates::Authority;
use support::fixtures::{NAMESPACE, ecr_spec, role_arn, with};
use support::node::installed::{Installed, PATIENCE};
use support::node::{self, BUSYBOX, Settings};
use support::part;
use support::registry::{HOST, Registry};
use support::strict_aws::http::HttpServer;
use support::strict_aws::{StrictAws, open_role};
use support::wait_for;
use support::world::value;

/// How long a session lasts, and with it a token.
const LIFETIME: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_node_pulls_what_the_login_opens() {
    if !node::possible("a Pod that pulls its image") || !Registry::possible("a Pod that pulls its image") {
        return;
    }
    let aws = StrictAws::new(Timestamp::now);
    aws.shorten_sessions(LIFETIME);
    let server = HttpServer::start(aws.clone()).await;
    let mut cluster = Installed::start(Settings::default(), Some(&server)).await;
    let authority = Authority::new(&cluster.world.folder().join("authority"));
    let registry = Registry::start(cluster.world.folder(), &aws, &authority).await;
    cluster.node.push(BUSYBOX, registry.back_door(), "team/app:1");
    let certificate = authority.certificate();
    cluster.node.open_registry(HOST, registry.port(), &certificate).await;

    for (name, repository) in [("app", "team/app"), ("other", "team/other")] {
        aws.add_role(&role_arn(name), open_role());
        let url = json!({"ecrRepositoryUrl": format!("https://{HOST}/v2/{repository}")});
        cluster.world.apply(name, &with(ecr_spec(name), &url)).unwrap();
        cluster.world.ready(name).await;
    }
    let old = password(&cluster, "app").await;
    login(&cluster, "old", &old);
    login(&cluster, "confined", &password(&cluster, "other").await);

    for program in ["skopeo", "crane"] {
        if program == "skopeo" && !is_installed(program) {
            eprintln!("{program} with a login is LEFT OUT: it is missing (Debian: apt-get install {program})");
            continue;
        }
        let read = |login| read_manifest(&cluster, program, login, &certificate);
        read("app").await.expect(program);
        // Some present the login for all of the host, which is of no use to them.
        let refusal = read("other").await.expect_err(program);
        let words = ["401", "403", "authentication required"];
        assert!(words.iter().any(|word| refusal.contains(word)), "{program}: {refusal}");
    }

    pod(&cluster, "with", Some("app"));
    becomes(&cluster, "with", |status| status["phase"] == "Running").await;
    for (name, secret, answer) in [
        ("without", None, "401"),
        // The kubelet does not even try it, since it is for another repository.
        ("other", Some("other"), "401"),
        ("confined", Some("confined"), "403"),
    ] {
        pod(&cluster, name, secret);
        refused(&cluster, name, answer).await;
    }

    let ends = aws.token_end(&old).unwrap();
    while Timestamp::now() <= ends {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    pod(&cluster, "old", Some("old"));
    refused(&cluster, "old", "403").await;
    // Meanwhile the Secret has another token.
    pod(&cluster, "again", Some("app"));
    becomes(&cluster, "again", |status| status["phase"] == "Running").await;
}

/// The token in a login.
async fn password(cluster: &Installed, name: &str) -> String {
    let secret = cluster.world.secret(name).await.unwrap();
    let config: Value = serde_json::from_str(&value(&secret, ".dockerconfigjson")).unwrap();
    let entry = config["auths"].as_object().unwrap().values().next().unwrap();
    entry["password"].as_str().unwrap().to_owned()
}

/// A login made by hand, for all of the registry.
fn login(cluster: &Installed, name: &str, password: &str) {
    let config = json!({"auths": {HOST: {"username": "AWS", "password": password}}});
    cluster.create(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config.to_string()},
    }));
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Reads the image's manifest on the node by a program that is given a Secret as Docker's configuration. An error is what the program printed.
async fn read_manifest(cluster: &Installed, program: &str, secret: &str, certificate: &Path) -> Result<(), String> {
    let folder = cluster.world.folder().join(format!("{program}-{secret}"));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("config.json");
    let config = value(&cluster.world.secret(secret).await.unwrap(), ".dockerconfigjson");
    fs::write(&file, config).unwrap();
    let mut command = match program {
        "skopeo" => {
            let mut command = cluster.node.command(program);
            command.args(["inspect", "--raw", "--authfile"]).arg(&file);
            command.arg(format!("docker://{HOST}/team/app:1"));
            command
        }
        _ => {
            let mut command = cluster.node.command(&part(program).display().to_string());
            command.args(["manifest", &format!("{HOST}/team/app:1")]);
            command
        }
    };
    let output = command
        .env("DOCKER_CONFIG", &folder)
        .env("SSL_CERT_FILE", certificate)
        .output();
    let output = output.unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(manifest["schemaVersion"], 2, "{program}");
    Ok(())
}

/// A Pod whose image is pulled, whether the node has it or not.
fn pod(cluster: &Installed, name: &str, secret: Option<&str>) {
    let secrets: Vec<Value> = secret.iter().map(|name| json!({"name": name})).collect();
    cluster.create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "imagePullSecrets": secrets,
            "containers": [{"name": "main", "image": format!("{HOST}/team/app:1"), "imagePullPolicy": "Always"}],
        },
    }));
}

async fn becomes(cluster: &Installed, name: &str, wanted: impl Fn(&Value) -> bool) {
    let pods: Api<Pod> = Api::namespaced(cluster.world.cluster.client(), NAMESPACE);
    let mut last = Value::Null;
    wait_for(&format!("Pod {name}"), PATIENCE, async || {
        let status = json!(pods.get(name).await.ok()?.status?);
        let done = wanted(&status);
        if status != last {
            println!("{name}: {}", status["containerStatuses"][0]["state"]);
            last = status;
        }
        done.then_some(())
    })
    .await;
}

/// The image cannot be pulled, because the registry answered so.
async fn refused(cluster: &Installed, name: &str, answer: &str) {
    becomes(cluster, name, |status| {
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        let message = waiting["message"].as_str().unwrap_or_default();
        waiting["reason"] == "ErrImagePull" && message.contains(answer)
    })
    .await;
}
