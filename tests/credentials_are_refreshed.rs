use std::time::Duration;

use serde_json::json;

use support::fixtures::{map_spec, role_arn, with};
use support::wait_for;
use support::world::{World, value};

#[tokio::test(flavor = "multi_thread")]
async fn new_credentials_come_before_the_old_ones_end() {
    let world = World::start().await;
    let spec = with(
        map_spec("busy"),
        &json!({"durationSeconds": 900, "refreshBeforeSeconds": 880}),
    );
    world.apply("busy", &spec).unwrap();
    let first = world.ready("busy").await.status.unwrap();
    let before = world.secret("busy").await.unwrap();

    let second = wait_for("the refresh", Duration::from_secs(60), async || {
        let status = world.resource("busy").await?.status?;
        (status.last_refresh_time > first.last_refresh_time).then_some(status)
    })
    .await;
    let after = world.secret("busy").await.unwrap();

    assert_ne!(value(&before, "awsAccessKeyId"), value(&after, "awsAccessKeyId"));
    assert_eq!(
        before.metadata.uid, after.metadata.uid,
        "the Secret stays the same object"
    );
    // The old ones still had at least the overlap to live, and not much more.
    let left = first
        .expiration
        .unwrap()
        .0
        .duration_since(second.last_refresh_time.unwrap().0)
        .as_secs();
    assert!((878..=884).contains(&left), "{left}");
    assert!(second.expiration.unwrap().0 > second.next_refresh_time.unwrap().0);

    // A cycle costs one AssumeRole, one write of the Secret and one of the status, and nothing else.
    let count = |verb: &str, part: &str| {
        let audit = world.cluster.audit();
        audit
            .iter()
            .filter(|event| event["verb"] == verb && event["requestURI"].as_str().is_some_and(|uri| uri.contains(part)))
            .count()
    };
    let assumed = world.aws.assumed(&role_arn("busy"));
    assert_eq!(count("create", "/secrets"), 1);
    assert_eq!(count("patch", "/secrets/busy"), assumed - 1);
    // Where the first one takes a while, as on a busy machine, it is announced, and may look at its Secret. The exact counts are the benchmark's.
    assert!(count("get", "/secrets/busy") <= 1);
    let statuses = count("patch", "/awsassumeroles/busy/status");
    assert!((assumed..=assumed + 1).contains(&statuses), "{statuses} for {assumed}");
    assert_eq!(world.aws.calls("GetCallerIdentity").len(), 1);
}
