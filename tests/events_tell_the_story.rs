use serde_json::Value;

use support::aws_proxy::Treatment;
use support::fixtures::map_spec;
use support::wait_for;
use support::world::{PATIENCE, World};

/// The events of a resource as `REASON type count`, the oldest first.
fn events_of(world: &World, name: &str) -> Vec<String> {
    let list = world.cluster.kubectl_ok(&["get", "events.events.k8s.io", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let mut events: Vec<&Value> = list["items"].as_array().unwrap().iter().collect();
    events.sort_by_key(|event| event["eventTime"].as_str().unwrap_or_default().to_owned());
    events
        .iter()
        .filter(|event| event["regarding"]["kind"] == "AWSAssumeRole" && event["regarding"]["name"] == name)
        .map(|event| {
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let count = event["series"]["count"].as_i64().unwrap_or(1);
            format!("{} {} {count}", text("reason"), text("type"))
        })
        .collect()
}

async fn wait_for_events(world: &World, name: &str, expected: &[&str]) {
    wait_for(&format!("{expected:?} of {name}"), PATIENCE, async || {
        (events_of(world, name) == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_success_to_failure_and_back() {
    let world = World::start().await;
    let spec = map_spec("told");
    world.apply("told", &spec).unwrap();
    world.ready("told").await;
    wait_for_events(&world, "told", &["Issued Normal 1"]).await;

    // A routine refresh is no news.
    world.request_refresh("told", "1");
    wait_for("a refresh", PATIENCE, async || {
        (world.aws.calls("AssumeRole").len() == 2).then_some(())
    })
    .await;

    // The same failure again is the same event once more.
    world
        .aws
        .treat_assume_role(Treatment::refusal(400, "Throttling", "Rate exceeded"));
    world.request_refresh("told", "2");
    wait_for_events(&world, "told", &["Issued Normal 1", "RefreshFailed Warning 2"]).await;
    world.aws.treat(|_| Treatment::Pass);
    wait_for("the event of the success", PATIENCE, async || {
        let events = events_of(&world, "told");
        (events.len() == 3 && events[2] == "Issued Normal 1").then_some(())
    })
    .await;

    let described = world.cluster.kubectl_ok(&["describe", "aar", "told"]);
    for part in [
        "RefreshFailed",
        "Throttled: sts:AssumeRole: Throttling: Rate exceeded",
        "pincette.net/aws-assume-role",
    ] {
        assert!(described.contains(part), "{part} is not in\n{described}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_and_a_conflict() {
    let world = World::start().await;
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;
    world
        .cluster
        .kubectl_ok(&["label", "secret", "mine", "aws-assume-role=false", "--overwrite"]);
    wait_for_events(&world, "mine", &["Issued Normal 1", "SecretRepaired Normal 1"]).await;

    world
        .cluster
        .kubectl_ok(&["create", "secret", "generic", "taken", "--from-literal=key=value"]);
    world.apply("late", &map_spec("taken")).unwrap();
    wait_for_events(&world, "late", &["SecretConflict Warning 1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_name_has_its_events_too() {
    let world = World::start().await;
    let name = format!("{}.{}", "a".repeat(189), "b".repeat(63));
    assert_eq!(name.len(), 253);
    world.apply(&name, &map_spec("long")).unwrap();
    world.ready(&name).await;
    wait_for_events(&world, &name, &["Issued Normal 1"]).await;
}
