use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use support::consumers;
use support::fixtures::{ACCOUNT, role_arn};
use support::root;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::world::{World, aws_configuration, keys, value};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

struct Example {
    name: String,
    path: PathBuf,
    /// The names of its resource, of its role and of its Secret.
    resource: String,
    role: String,
    secret: String,
}

fn examples() -> Vec<Example> {
    let files = fs::read_dir(root().join("docs/examples/consumers")).unwrap();
    let example = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let resource: Value = serde_saphyr::from_str(&text).unwrap();
        let field = |pointer: &str| resource.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        Example {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            resource: field("/metadata/name"),
            role: field("/spec/roleName"),
            secret: field("/spec/secretName"),
            path,
        }
    };
    files.map(|file| example(file.unwrap().path())).collect()
}

fn content(secret: &Secret) -> BTreeMap<String, String> {
    keys(secret)
        .into_iter()
        .map(|key| {
            let text = value(secret, &key);
            (key, text)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_consumer_reads_its_secret() {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let server = HttpServer::start(aws.clone()).await;
    world.run_operator(&world.operator_command_for(server.url()));
    let examples = examples();
    assert!(examples.len() >= 18, "{} examples", examples.len());
    let document = fs::read_to_string(root().join("docs/consumers.md")).unwrap();
    for example in &examples {
        let link = format!("(examples/consumers/{}.yaml)", example.name);
        assert!(
            document.contains(&link),
            "docs/consumers.md says nothing of {}",
            example.name
        );
        aws.add_role(&role_arn(&example.role), open_role());
        world
            .cluster
            .kubectl_ok(&["apply", "-f", example.path.to_str().unwrap()]);
    }
    let mut secrets = BTreeMap::new();
    for example in &examples {
        world.ready(&example.resource).await;
        secrets.insert(example.name.clone(), world.secret(&example.secret).await.unwrap());
    }
    let contents = secrets.iter().map(|(name, secret)| (name.clone(), content(secret)));
    let read = consumers::read(&contents.collect());
    for example in &examples {
        match &read[&example.name] {
            Value::Array(parts) => is_a_session_of(&server, &example.role, parts).await,
            login => opens_its_registry(&aws, &example.name, login),
        }
    }
    go_reads_the_files(&secrets, &read);
    they_are_found(&secrets);
}

/// Keys that a program read are good for a call.
async fn is_a_session_of(server: &HttpServer, role: &str, parts: &[Value]) {
    let part = |index: usize| parts[index].as_str().unwrap();
    let configuration = aws_configuration(server.url(), part(0), part(1), Some(part(2)));
    let identity = aws_sdk_sts::Client::new(&configuration)
        .get_caller_identity()
        .send()
        .await;
    let arn = identity
        .unwrap_or_else(|error| panic!("{role}: {error:?}"))
        .arn
        .unwrap();
    assert!(arn.contains(&format!(":assumed-role/{role}/")), "{arn}");
}

/// A login that a program read is good for its registry.
fn opens_its_registry(aws: &StrictAws, name: &str, login: &Value) {
    assert_eq!(login["username"], "AWS", "{name}");
    assert!(
        login["host"].is_null() || login["host"] == HOST,
        "{name}: {}",
        login["host"]
    );
    let repository = format!("arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/any/chart");
    let password = login["password"].as_str().unwrap();
    assert!(aws.token_allows(password, "ecr:BatchGetImage", &repository), "{name}");
}

/// Velero's plugin and Crossplane's providers are written in Go, with parsers of their own for a credentials file.
fn go_reads_the_files(secrets: &BTreeMap<String, Secret>, read: &Value) {
    for name in ["velero", "crossplane"] {
        let file = value(&secrets[name], "credentials");
        let found = consumers::profiles(&file);
        let parts = &read[name];
        let session = json!({"accessKeyId": parts[0], "secretAccessKey": parts[1], "sessionToken": parts[2]});
        assert_eq!(found, json!({"aws-sdk-go-v2": session, "go-ini": session}));
    }
}

/// Some look for a type, a label or an annotation.
fn they_are_found(secrets: &BTreeMap<String, Secret>) {
    let type_ = |name: &str| secrets[name].type_.clone().unwrap();
    let label = |name: &str, key: &str| secrets[name].metadata.labels.clone().unwrap()[key].clone();
    let annotation = |name: &str, key: &str| secrets[name].metadata.annotations.clone().unwrap()[key].clone();
    assert_eq!(type_("tekton"), "kubernetes.io/basic-auth");
    assert_eq!(annotation("tekton", "tekton.dev/docker-0"), format!("https://{HOST}"));
    assert_eq!(type_("flux"), "kubernetes.io/dockerconfigjson");
    assert_eq!(label("argo-cd", "argocd.argoproj.io/secret-type"), "repo-creds");
    assert_eq!(label("jenkins", "jenkins.io/credentials-type"), "usernamePassword");
    assert_eq!(label("grafana", "grafana_datasource"), "1");
    for restarted in ["airflow", "mountpoint-s3"] {
        assert_eq!(annotation(restarted, "reloader.stakater.com/match"), "true");
    }
}
