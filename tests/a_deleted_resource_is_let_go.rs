use std::time::Duration;

use serde_json::json;

use support::front::Treatment;
use support::wait_for;
use support::world::{PATIENCE, World, map_spec, role_arn};

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_goes_and_so_does_the_actor() {
    let world = World::start().await;
    let spec = json!({"roleName": "short", "secretName": "short", "secretType": "Map", "refreshBeforeSeconds": 880});
    world.apply("short", &spec).unwrap();
    world.ready("short").await;
    world.delete("short");
    world.secret_gone("short").await;

    // Its refresh would have been due within 20 seconds.
    let calls = world.aws.assumed(&role_arn("short"));
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(world.aws.assumed(&role_arn("short")), calls);
    assert!(world.secret("short").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_ends_with_the_resource() {
    let world = World::start().await;
    world.aws.treat(|call| match call.action.as_str() {
        "AssumeRole" => Treatment::Hang,
        _ => Treatment::Pass,
    });
    world.apply("hanging", &map_spec("hanging")).unwrap();
    wait_for("a hanging call", PATIENCE, async || {
        (world.aws.hanging() == 1).then_some(())
    })
    .await;
    // Until then the resource says that it is being worked on.
    world.condition("hanging", "Ready", "Unknown", "Pending").await;

    world.delete("hanging");
    // The call's own timeout is 30 s: it must not be that which ends it.
    wait_for("the end of the call", Duration::from_secs(10), async || {
        (world.aws.hanging() == 0).then_some(())
    })
    .await;

    // Others are served all the while, and the name is free for another resource.
    world.aws.treat(|_| Treatment::Pass);
    world
        .apply(
            "hanging",
            &json!({"roleName": "again", "secretName": "hanging", "secretType": "Map"}),
        )
        .unwrap();
    let again = world.ready("hanging").await;
    assert_eq!(again.status.unwrap().role_arn, Some(role_arn("again")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_call_delays_nobody_else() {
    let world = World::start().await;
    world.aws.treat(|call| match call.parameter("RoleArn") {
        Some(role) if role.ends_with("/slow") => Treatment::Hang,
        _ => Treatment::Pass,
    });
    world.apply("slow", &map_spec("slow")).unwrap();
    wait_for("a hanging call", PATIENCE, async || {
        (world.aws.hanging() == 1).then_some(())
    })
    .await;
    world.apply("quick", &map_spec("quick")).unwrap();
    world.ready("quick").await;
    assert_eq!(world.aws.hanging(), 1, "the slow one still hangs");

    // A change of the spec takes effect in the middle of the call.
    world
        .apply(
            "slow",
            &json!({"roleName": "not-so", "secretName": "slow", "secretType": "Map"}),
        )
        .unwrap();
    let mended = world.ready("slow").await;
    assert_eq!(mended.status.unwrap().role_arn, Some(role_arn("not-so")));
}
