//! The main job, shown: from a resource to credentials that work, are refreshed, and go with the resource, and a refresh from inside.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_async::time::SystemTimeSource;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::environment::{self, folder};
use crate::operator::on_a_node;
use crate::pod;
use support::{jaeger, part, root};

const EXAMPLES: [&str; 5] = [
    "map.yaml",
    "file.yaml",
    "ecr-docker-config-json.yaml",
    "credential-process.yaml",
    "template.yaml",
];

pub type Result<T> = std::result::Result<T, String>;

/// Runs it, and fails at the first step that does not do what it says.
pub async fn run() -> Result<()> {
    let started = Instant::now();
    step("A cluster and an AWS");
    say(match on_a_node() {
        true => "A real API server and a node, on which the chart runs two replicas; moto for AWS, Jaeger for traces.",
        false => {
            "A real API server with the chart installed, the operator with the chart's ServiceAccount, moto for AWS, Jaeger for traces."
        }
    });
    environment::up()?;
    if on_a_node() {
        pod::install()?;
    }
    let endpoint = variable("AWS_ENDPOINT_URL")?;
    let examples: Vec<String> = EXAMPLES.iter().map(|name| format!("docs/examples/{name}")).collect();
    quiet(&["delete", "--ignore-not-found", "-f", "docs/examples"])?;

    step("Apply a resource, get a Secret");
    for example in &examples {
        show(&["apply", "-f", example])?;
    }
    show(&[
        "wait",
        "--for=condition=Ready",
        "awsassumeroles",
        "--all",
        "--timeout=60s",
    ])?;
    show(&["get", "awsassumeroles"])?;

    step("The credentials work");
    let map = secret("my-app-credentials")?;
    let parts = [
        decoded(&map, "awsAccessKeyId")?,
        decoded(&map, "awsSecretAccessKey")?,
        decoded(&map, "awsSessionToken")?,
    ];
    prove("Map my-app-credentials", &endpoint, &parts, "my-app-role").await?;
    let file = decoded(&secret("my-backup-credentials")?, "credentials")?;
    let line = |name: &str| {
        let line = file.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.map(str::to_owned).ok_or(format!("the file has no {name}"))
    };
    let parts = [
        line("aws_access_key_id")?,
        line("aws_secret_access_key")?,
        line("aws_session_token")?,
    ];
    prove("File my-backup-credentials", &endpoint, &parts, "writer").await?;
    let document = decoded(&secret("my-worker-credentials")?, "credentials.json")?;
    let document: Value = serde_json::from_str(&document).map_err(|error| error.to_string())?;
    let field = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    let parts = [field("AccessKeyId"), field("SecretAccessKey"), field("SessionToken")];
    prove("CredentialProcess my-worker-credentials", &endpoint, &parts, "worker").await?;
    let properties = decoded(&secret("my-legacy-app-configuration")?, "app.properties")?;
    let property = |name: &str| {
        let line = properties
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.map(str::to_owned).ok_or(format!("the template gave no {name}"))
    };
    let parts = [
        property("s3.access-key")?,
        property("s3.secret-key")?,
        property("s3.session-token")?,
    ];
    prove(
        "Template my-legacy-app-configuration",
        &endpoint,
        &parts,
        "my-legacy-app",
    )
    .await?;
    prove_login(&decoded(&secret("my-images-pull")?, ".dockerconfigjson")?)?;

    if on_a_node() {
        pod::start()?;
    }

    step("They are replaced long before they end");
    say(
        "With an overlap of 880 of its 900 seconds this one is due every 20 seconds. It is a change of the spec that needs no call to AWS.",
    );
    let since = SystemTime::now();
    show(&[
        "patch",
        "awsassumerole",
        "my-app",
        "--type=merge",
        "--patch",
        r#"{"spec":{"refreshBeforeSeconds":880}}"#,
    ])?;
    watch_a_refresh().await?;
    if on_a_node() {
        pod::follow().await?;
    }

    step("Delete the resource, and the Secret goes");
    show(&["delete", "awsassumerole", "my-images"])?;
    until("the Secret my-images-pull to go", Duration::from_secs(30), async || {
        let gone = kubectl(&["get", "secret", "my-images-pull", "--ignore-not-found", "-o", "name"])?;
        Ok(gone.is_empty().then_some(()))
    })
    .await?;
    good("The Secret my-images-pull is gone.");

    step("Look inside one refresh");
    say("The operator sends a trace of each refresh. This is the newest one of my-app that was due:");
    look_inside(since).await?;

    println!(
        "\n✓ All of it in {:.0} s. The environment stays up for you:",
        started.elapsed().as_secs_f64()
    );
    environment::tell();
    Ok(())
}

pub fn step(title: &str) {
    println!(
        "\n━━ {title} {}",
        "━".repeat(70_usize.saturating_sub(title.chars().count()))
    );
}

pub fn say(text: &str) {
    println!("   {text}");
}

pub fn good(text: &str) {
    println!("   ✓ {text}");
}

/// Runs kubectl and shows both the command and what it printed.
pub fn show(arguments: &[&str]) -> Result<()> {
    let quoted: Vec<String> = arguments
        .iter()
        .map(|argument| match argument.contains(['{', ' ']) {
            true => format!("'{argument}'"),
            false => (*argument).to_owned(),
        })
        .collect();
    println!("   $ kubectl {}", quoted.join(" "));
    for line in kubectl(arguments)?.lines() {
        println!("     {line}");
    }
    Ok(())
}

fn quiet(arguments: &[&str]) -> Result<()> {
    kubectl(arguments).map(|_| ())
}

/// Runs kubectl and gives what it printed.
pub fn kubectl(arguments: &[&str]) -> Result<String> {
    kubectl_with(arguments, "")
}

/// The same, with something to read.
pub fn kubectl_with(arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(part("kubectl"))
        .args(arguments)
        .current_dir(root())
        .env("KUBECONFIG", folder().join("kubeconfig"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    // One that reads nothing has ended already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!(
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

fn json(arguments: &[&str]) -> Result<Value> {
    serde_json::from_str(&kubectl(arguments)?).map_err(|error| error.to_string())
}

fn secret(name: &str) -> Result<Value> {
    json(&["get", "secret", name, "-o", "json"])
}

fn decoded(secret: &Value, key: &str) -> Result<String> {
    secret["data"][key]
        .as_str()
        .and_then(|text| BASE64_STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or(format!("the Secret has no {key}"))
}

/// A variable of the environment.
pub fn variable(name: &str) -> Result<String> {
    let env = fs::read_to_string(folder().join("env")).map_err(|error| error.to_string())?;
    env.lines()
        .find_map(|line| line.strip_prefix(&format!("export {name}='")))
        .map(|rest| rest.trim_end_matches('\'').to_owned())
        .ok_or(format!("target/dev/env has no {name}"))
}

/// Uses credentials, and takes it ill if they are not those of the role.
async fn prove(what: &str, endpoint: &str, parts: &[String; 3], role: &str) -> Result<()> {
    let [id, secret, token] = parts.clone();
    let credentials = Credentials::new(id, secret, Some(token), None, "demo");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .sleep_impl(default_async_sleep().ok_or("no runtime")?)
        .time_source(SystemTimeSource::new())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let identity = aws_sdk_sts::Client::new(&config)
        .get_caller_identity()
        .send()
        .await
        .map_err(|error| format!("{what}: {error:?}"))?;
    let arn = identity.arn().unwrap_or_default();
    if !arn.contains(&format!(":assumed-role/{role}/")) {
        return Err(format!("{what} is not a session of {role} but {arn}"));
    }
    good(&format!("{what:<40} get-caller-identity → {arn}"));
    Ok(())
}

/// Reads a docker config as kaniko, buildah and skopeo do: by `auth` alone.
fn prove_login(config: &str) -> Result<()> {
    let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
    let (url, entry) = config["auths"]
        .as_object()
        .and_then(|auths| auths.iter().next())
        .ok_or("the docker config has no entry")?;
    let auth = entry["auth"]
        .as_str()
        .and_then(|text| BASE64_STANDARD.decode(text).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or("the docker config has no auth")?;
    let password = entry["password"].as_str().unwrap_or_default();
    if password.is_empty() || auth != format!("AWS:{password}") {
        return Err("the docker config is not a login".to_owned());
    }
    let what = "EcrDockerConfigJson my-images-pull";
    good(&format!("{what:<40} a login as AWS for {url}"));
    Ok(())
}

async fn watch_a_refresh() -> Result<()> {
    let seen = || -> Result<(String, String, String)> {
        let status = json(&["get", "awsassumerole", "my-app", "-o", "json"])?["status"].clone();
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        let id = decoded(&secret("my-app-credentials")?, "awsAccessKeyId")?;
        Ok((text("lastRefreshTime"), text("expiration"), id))
    };
    let before = seen()?;
    let started = Instant::now();
    say(&format!("Before: refreshed {}, ends {}", before.0, before.1));
    let after = until("the refresh", Duration::from_secs(60), async || {
        let now = seen()?;
        Ok((now.0 != before.0 && now.2 != before.2).then_some(now))
    })
    .await?;
    say(&format!("After:  refreshed {}, ends {}", after.0, after.1));
    good(&format!(
        "New credentials after {:.0} s, while the old ones were still good.",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Reads a refresh of my-app back from Jaeger, and takes it ill if one of its steps is not there.
async fn look_inside(since: SystemTime) -> Result<()> {
    let url = variable("JAEGER_URL")?;
    let tags = [
        ("k8s.namespace.name", "default"),
        ("k8s.awsassumerole.name", "my-app"),
        ("aws_assume_role.trigger", "due"),
    ];
    let trace = until("the trace of the refresh", Duration::from_secs(20), async || {
        let traces = jaeger::traces(&url, "aws-assume-role", &tags).await?;
        let newest = traces.into_iter().next_back();
        Ok(newest.filter(|trace| trace.root().start >= since))
    })
    .await?;
    for line in trace.draw().lines() {
        println!("     {line}");
    }
    let root = trace.root();
    for name in ["sts.AssumeRole", "secret.write", "status.write"] {
        if root.name != "refresh" || root.child(name).is_none() {
            return Err(format!("the trace {} is not a refresh with {name}", trace.id));
        }
    }
    good("The call to AWS, the write of the Secret and that of the status are in it.");
    say("After `source target/dev/env`:");
    for (command, what) in [
        (
            format!("curl $JAEGER_URL/api/traces/{}", trace.id),
            "the same as JSON (no web page here)",
        ),
        ("curl $OPERATOR_URL/metrics".to_owned(), "the operator's metrics"),
    ] {
        println!("     {command:<60} {what}");
    }
    Ok(())
}

/// Asks until there is an answer.
pub async fn until<T>(what: &str, at_most: Duration, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        if started.elapsed() > at_most {
            return Err(format!("waited {} s in vain for {what}", at_most.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
