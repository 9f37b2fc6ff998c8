use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use support::fixtures::{ecr_spec, role_arn, with};
use support::world::{World, condition};

/// moto's registry tokens end in 2015.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_token_from_2015_is_not_believed() {
    let world = World::start().await;
    let url = "https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/v2/r";
    let spec = with(ecr_spec("pull"), &json!({"ecrRepositoryUrl": url}));
    world.apply("pull", &spec).unwrap();
    let resource = world.ready("pull").await;
    let ready = condition(&resource, "Ready").unwrap();
    assert!(
        ready.message.contains("2015-01-01") && ready.message.contains("the session's end counts"),
        "{}",
        ready.message
    );
    let end = resource.status.unwrap().expiration.unwrap().0;
    let left = end.duration_since(Timestamp::now()).as_secs();
    assert!((800..=900).contains(&left), "{left}");

    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(world.aws.calls("GetAuthorizationToken").len(), 1);
    assert_eq!(world.aws.assumed(&role_arn("pull")), 1);
}
