//! The chart starts Pods on a real node, and other Pods live on the Secrets, as they do at a user's.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use support::fixtures::{role_arn, with};
use support::node::installed::{Installed, PATIENCE};
use support::node::{self, Settings};
use support::sdks::{Sdk, Use};
use support::strict_aws::http::HttpServer;
use support::strict_aws::{StrictAws, open_role};
use support::world::{World, value};
use support::{root, wait_for};

/// The access key of the credentials file, whenever it is another one.
const SAYS_WHEN_IT_CHANGES: &str = r#"
while :; do
  now=$(grep aws_access_key_id /.aws/credentials)
  [ "$now" = "$last" ] || echo "$now"
  last=$now
  sleep 0.2
done
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_its_file_soon_after_a_refresh() {
    if !node::possible("a Pod that mounts its Secret") {
        return;
    }
    let cluster = Installed::start(Settings::default(), None).await;
    let world = &cluster.world;
    let spec = json!({"roleName": "reader", "secretName": "reader", "secretType": "File"});
    world.apply("reader", &spec).unwrap();
    let status = world.ready("reader").await.status.unwrap();
    let overlap = status
        .expiration
        .unwrap()
        .0
        .duration_since(status.next_refresh_time.unwrap().0);
    let overlap = Duration::try_from(overlap).unwrap();
    cluster.create_pod("reader", "reader", SAYS_WHEN_IT_CHANGES, &json!([]));
    cluster.shows("reader", &access_key(world).await).await;

    // At any moment between two looks of the kubelet.
    for (request, pause) in [("1", 5), ("2", 20)] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        let before = access_key(world).await;
        world.request_refresh("reader", request);
        let (key, written) = wait_for("another Secret", PATIENCE, async || {
            let key = access_key(world).await;
            (key != before).then(|| (key, Timestamp::now()))
        })
        .await;
        let took = cluster.shows("reader", &key).await.duration_since(written);
        let took = Duration::try_from(took).unwrap_or_default();
        println!("from the Secret to the Pod's file: {took:.1?} of an overlap of {overlap:?}");
        assert!(took < overlap, "{took:?} {overlap:?}");
    }
    cluster.all_run_as_they_began().await;
}

/// The line of the credentials file with the access key that is in the Secret now.
async fn access_key(world: &World) -> String {
    let file = value(&world.secret("reader").await.unwrap(), "credentials");
    let mut lines = file.lines();
    lines
        .find(|line| line.starts_with("aws_access_key_id"))
        .unwrap()
        .to_owned()
}

/// A file that a shell reads.
const VARIABLES: &str = "export AWS_ACCESS_KEY_ID={{ accessKeyId }}
export AWS_SECRET_ACCESS_KEY={{ secretAccessKey }}
export AWS_SESSION_TOKEN={{ sessionToken }}
";

/// How long a session lasts where everything is fifteen times as fast as with the defaults.
const LIFETIME: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_use_an_sdk_are_never_refused() {
    if !node::possible("a Pod that uses an AWS SDK") || !Sdk::Go.is_here() {
        return;
    }
    let aws = StrictAws::new(Timestamp::now);
    aws.shorten_sessions(LIFETIME);
    let server = HttpServer::start(aws.clone()).await;
    let settings = Settings {
        programs: vec![root().join("target/parts/sdks/go/caller")],
        sync_frequency: LIFETIME / 15,
    };
    let cluster = Installed::start(settings, Some(&server)).await;
    for (name, format) in [
        ("process", json!({"secretType": "CredentialProcess"})),
        ("file", json!({"secretType": "File"})),
        ("map", json!({"secretType": "Map"})),
        (
            "template",
            json!({"secretType": "Template", "template": {"data": {"variables": VARIABLES}}}),
        ),
    ] {
        aws.add_role(&role_arn(name), open_role());
        let spec = with(json!({"roleName": name, "secretName": name}), &format);
        cluster.world.apply(name, &spec).unwrap();
        cluster.world.ready(name).await;
    }
    let general = [
        json!({"name": "AWS_REGION", "value": "eu-west-1"}),
        json!({"name": "AWS_ENDPOINT_URL", "value": cluster.aws}),
        // What AWS refused is not to be hidden by another attempt.
        json!({"name": "AWS_MAX_ATTEMPTS", "value": "1"}),
        json!({"name": "PAUSE", "value": "1"}),
    ];
    let pod = |name: &str, secret: &str, script: &str, variables: &[Value]| {
        let environment: Vec<_> = general.iter().chain(variables).collect();
        cluster.create_pod(name, secret, script, &json!(environment));
    };
    let at = |variable: &str, path: &str| json!({"name": variable, "value": path});
    let key = |variable: &str, key: &str| json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": "map", "key": key}}});
    pod(
        "process",
        "process",
        "exec caller",
        &[at("AWS_CONFIG_FILE", "/.aws/config")],
    );
    // Its SDK reads a file once, so each call is that of another process.
    let file = [at("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials")];
    pod("file", "file", "while :; do timeout 1 caller; done", &file);
    let template = "while :; do . /.aws/variables; timeout 1 caller; done";
    pod("template", "template", template, &[]);
    // Variables do not change while a container runs: one Pod after another, which ends before its credentials do.
    let map = [
        key("AWS_ACCESS_KEY_ID", "awsAccessKeyId"),
        key("AWS_SECRET_ACCESS_KEY", "awsSecretAccessKey"),
        key("AWS_SESSION_TOKEN", "awsSessionToken"),
    ];
    let maps: Vec<_> = (0..9).map(|number| format!("map-{number}")).collect();
    for name in &maps {
        pod(name, "map", "timeout 15 caller; true", &map);
        tokio::time::sleep(LIFETIME / 4).await;
    }

    for (name, pods) in [
        ("process", &["process".to_owned()][..]),
        ("file", &["file".to_owned()]),
        ("template", &["template".to_owned()]),
        ("map", &maps),
    ] {
        let tallies: Vec<_> = pods.iter().map(|pod| cluster.tally(pod)).collect();
        let calls: u64 = tallies.iter().map(|tally| tally.calls).sum();
        for tally in &tallies {
            assert_eq!((tally.failed, &tally.failure), (0, &None), "{name}");
        }
        let seen = Use::of(&aws, &role_arn(name));
        println!(
            "{name}: {calls} calls in {} sessions, {} refused",
            seen.sessions, seen.refused
        );
        assert!(calls > 60, "{name} hardly called: {tallies:?}");
        assert!(seen.sessions >= 3, "{name}: {seen:?}");
        assert_eq!(seen.refused, seen.under_way, "{name}: {tallies:?}");
    }
    cluster.all_run_as_they_began().await;
}
