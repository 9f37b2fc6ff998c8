use serde_json::json;

use support::aws_proxy::Treatment;
use support::fixtures::{map_spec, role_arn, with};
use support::world::{World, condition};

/// moto evaluates the caller's policy, and refuses as AWS does.
#[tokio::test(flavor = "multi_thread")]
async fn an_access_denied_says_what_to_do() {
    let mut world = World::without_operator().await;
    let allowed = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"},
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn("allowed")},
    ]});
    let key = world.moto.user("operator", &allowed).await;
    world.moto.check_policies().await;
    let command = world.operator_command().with_access_key(&key.id, &key.secret);
    world.run_operator(&command);

    world.apply("denied", &map_spec("denied")).unwrap();
    world.apply("allowed", &map_spec("allowed")).unwrap();
    world.ready("allowed").await;

    let ready = world.condition("denied", "Ready", "False", "AccessDenied").await;
    for part in [
        "trust relationship",
        &role_arn("denied"),
        "sts:AssumeRole",
        "arn:aws:iam::123456789012:user/operator",
    ] {
        assert!(ready.message.contains(part), "{part}: {}", ready.message);
    }
    let status = world.resource("denied").await.unwrap().status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Error"));
    assert_eq!(status.health.unwrap().status.as_deref(), Some("Degraded"));
    assert!(status.failures >= Some(1));
    assert!(status.next_refresh_time.is_some());
    assert!(world.secret("denied").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_refresh_leaves_the_valid_credentials_ready() {
    let world = World::start().await;
    let spec = with(map_spec("held"), &json!({"refreshBeforeSeconds": 885}));
    world.apply("held", &spec).unwrap();
    world.ready("held").await;
    world.aws.treat(|_| Treatment::refusal(403, "AccessDenied", "no more"));
    world.condition("held", "Refreshed", "False", "AccessDenied").await;
    let resource = world.resource("held").await.unwrap();
    let ready = condition(&resource, "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "Issued"));
    assert_eq!(resource.status.unwrap().phase.as_deref(), Some("Ready"));

    world.aws.treat(|_| Treatment::Pass);
    world.condition("held", "Refreshed", "True", "Issued").await;
    assert_eq!(world.resource("held").await.unwrap().status.unwrap().failures, Some(0));
}
