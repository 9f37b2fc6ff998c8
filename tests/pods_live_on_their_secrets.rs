//! The chart starts Pods on a real node, and other Pods live on the Secrets, as they do at a user's.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use support::fixtures::role_arn;
use support::node::installed::{Installed, PATIENCE};
use support::node::{self, Settings};
use support::sdks::{Sdk, Use};
use support::strict_aws::http::HttpServer;
use support::strict_aws::{StrictAws, open_role};
use support::world::{World, value};
use support::{root, wait_for};

/// The kubelet's default for how often it looks, half as much again for chance, and something for a busy machine.
const KUBELET: Duration = Duration::from_secs(120);

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
    let cluster = Installed::start(&Settings::default(), None).await;
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
    cluster.create_pod("reader", SAYS_WHEN_IT_CHANGES, &json!([]));
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
        assert!(took < KUBELET && KUBELET < overlap, "{took:?} {overlap:?}");
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
    let cluster = Installed::start(&settings, Some(&server)).await;
    let process = "exec caller";
    // Its SDK reads a file once, so each call is that of another process.
    let file = "while :; do timeout 1 caller; done";
    for (name, secret_type, script, variable, path) in [
        (
            "process",
            "CredentialProcess",
            process,
            "AWS_CONFIG_FILE",
            "/.aws/config",
        ),
        ("file", "File", file, "AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials"),
    ] {
        aws.add_role(&role_arn(name), open_role());
        let spec = json!({"roleName": name, "secretName": name, "secretType": secret_type});
        cluster.world.apply(name, &spec).unwrap();
        cluster.world.ready(name).await;
        let environment = json!([
            {"name": variable, "value": path},
            {"name": "AWS_REGION", "value": "eu-west-1"},
            {"name": "AWS_ENDPOINT_URL", "value": cluster.aws},
            // What AWS refused is not to be hidden by another attempt.
            {"name": "AWS_MAX_ATTEMPTS", "value": "1"},
            {"name": "PAUSE", "value": "1"},
        ]);
        cluster.create_pod(name, script, &environment);
    }
    tokio::time::sleep(LIFETIME * 9 / 4).await;

    for name in ["process", "file"] {
        let tally = cluster.tally(name);
        assert_eq!((tally.failed, &tally.failure), (0, &None), "{name}");
        assert!(tally.calls > 60, "{name} hardly called: {tally:?}");
        let seen = Use::of(&aws, &role_arn(name));
        println!(
            "{name}: {} calls in {} sessions, {} refused",
            tally.calls, seen.sessions, tally.refused
        );
        assert!(seen.sessions >= 3, "{name}: {seen:?}");
        assert_eq!(seen.refused, seen.under_way, "{name}: {tally:?}");
    }
    cluster.all_run_as_they_began().await;
}
