use std::time::Duration;

use serde_json::json;

use support::fixtures::{map_spec, role_arn, with};
use support::wait_for;
use support::world::{PATIENCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_asks_aws_for_nothing_and_notices_what_happened_meanwhile() {
    let mut world = World::start().await;
    for name in ["kept", "deleted"] {
        world.apply(name, &map_spec(name)).unwrap();
        world.ready(name).await;
    }
    let secret = world.secret("kept").await.unwrap();
    let status = world.resource("kept").await.unwrap().status.unwrap();
    let calls = world.aws.calls("AssumeRole").len();

    let operator = world.operator.take().unwrap();
    operator.signal("TERM");
    let status_code = operator.stop();
    assert!(status_code.success(), "{status_code}");
    world.delete("deleted");
    world.apply("new", &map_spec("new")).unwrap();

    world.start_operator();
    world.ready("new").await;
    wait_for("the kept one to be taken up", PATIENCE, async || {
        world.operator_log().contains("taken up").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        world.aws.calls("AssumeRole").len(),
        calls + 1,
        "one for the new resource"
    );
    assert_eq!(world.aws.assumed(&role_arn("kept")), 1);
    assert_eq!(world.secret("kept").await.unwrap(), secret);
    assert_eq!(world.resource("kept").await.unwrap().status.unwrap(), status);
    world.secret_gone("deleted").await;
}

/// Also when it is killed outright.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing() {
    let mut world = World::start().await;
    let spec = with(map_spec("kept"), &json!({"secretType": "File"}));
    world.apply("kept", &spec).unwrap();
    world.ready("kept").await;
    let mut operator = world.operator.take().unwrap();
    operator.signal("KILL");
    operator.wait();
    drop(operator);

    world.start_operator();
    wait_for("the kept one to be taken up", PATIENCE, async || {
        world.operator_log().contains("taken up").then_some(())
    })
    .await;
    assert_eq!(world.aws.assumed(&role_arn("kept")), 1);
}
