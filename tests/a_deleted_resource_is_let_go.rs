use std::time::Duration;

use serde_json::json;

use support::aws_proxy::Treatment;
use support::fixtures::{map_spec, role_arn, with};
use support::wait_for;
use support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_goes_and_so_does_the_actor() {
    let world = World::start().await;
    let spec = with(map_spec("short"), &json!({"refreshBeforeSeconds": 880}));
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

/// As when the garbage collector heard neither of the deletion nor of the new one.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_made_again_does_not_wait_for_a_garbage_collector_that_does_not_come() {
    let mut world = World::start().await;
    world.apply("again", &map_spec("again")).unwrap();
    world.ready("again").await;
    let before = world.secret("again").await.unwrap();
    world.cluster.stop_controller_manager();
    world.delete("again");
    world.apply("again", &map_spec("again")).unwrap();
    let resource = world.ready("again").await;
    let secret = world.secret("again").await.unwrap();
    assert_ne!(secret.metadata.uid, before.metadata.uid);
    let owners = secret.metadata.owner_references.unwrap();
    assert_eq!(Some(&owners[0].uid), resource.metadata.uid.as_ref());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_ends_with_the_resource() {
    let world = World::start().await;
    world.aws.treat_assume_role(Treatment::Hang);
    world.apply("hanging", &map_spec("hanging")).unwrap();
    world.hanging_calls(1).await;
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
    let spec = with(map_spec("hanging"), &json!({"roleName": "again"}));
    world.apply("hanging", &spec).unwrap();
    let again = world.ready("hanging").await;
    assert_eq!(again.status.unwrap().role_arn, Some(role_arn("again")));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slow_call_delays_nobody_else() {
    let world = World::start().await;
    world.aws.treat_role("slow", Treatment::Hang);
    world.apply("slow", &map_spec("slow")).unwrap();
    world.hanging_calls(1).await;
    world.apply("quick", &map_spec("quick")).unwrap();
    world.ready("quick").await;
    assert_eq!(world.aws.hanging(), 1, "the slow one still hangs");

    // A change of the spec takes effect in the middle of the call.
    let spec = with(map_spec("slow"), &json!({"roleName": "not-so"}));
    world.apply("slow", &spec).unwrap();
    let mended = world.ready("slow").await;
    assert_eq!(mended.status.unwrap().role_arn, Some(role_arn("not-so")));
}
