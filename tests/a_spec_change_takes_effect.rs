use serde_json::{Value, json};

use support::fixtures::{ecr_spec, map_spec, role_arn, with};
use support::wait_for;
use support::world::{PATIENCE, World, keys};

/// Applies a change and waits until the status speaks of it.
async fn change(world: &World, changes: &Value) {
    world.apply("mine", &with(map_spec("s"), changes)).unwrap();
    wait_for(&format!("{changes} to take effect"), PATIENCE, async || {
        let resource = world.resource("mine").await?;
        (resource.status?.observed_generation == resource.metadata.generation).then_some(())
    })
    .await;
    world.ready("mine").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_spec_is_followed_at_once() {
    let world = World::start().await;
    change(&world, &json!({})).await;
    let map = world.secret("s").await.unwrap();

    // Another form in the same type of Secret.
    change(&world, &json!({"secretType": "File"})).await;
    let file = world.secret("s").await.unwrap();
    assert_eq!(keys(&file), ["credentials"]);
    assert_eq!(file.metadata.uid, map.metadata.uid);

    // A form that needs another type, which cannot change: the Secret is made anew.
    change(&world, &ecr_spec("s")).await;
    let login = world.secret("s").await.unwrap();
    assert_eq!(login.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    assert_ne!(login.metadata.uid, file.metadata.uid);

    // Another role.
    change(&world, &json!({"roleName": "other"})).await;
    assert_eq!(world.aws.assumed(&role_arn("other")), 1);

    // Another name: the new Secret is written, then the old one deleted.
    change(&world, &json!({"roleName": "other", "secretName": "renamed"})).await;
    assert!(world.secret("renamed").await.is_some());
    world.secret_gone("s").await;

    // Another overlap needs no new credentials.
    let calls = world.aws.calls("AssumeRole").len();
    change(
        &world,
        &json!({"roleName": "other", "secretName": "renamed", "refreshBeforeSeconds": 200}),
    )
    .await;
    assert_eq!(world.aws.calls("AssumeRole").len(), calls);
    let status = world.resource("mine").await.unwrap().status.unwrap();
    let left = status
        .expiration
        .unwrap()
        .0
        .duration_since(status.next_refresh_time.unwrap().0)
        .as_secs();
    assert!((199..=272).contains(&left), "{left}");
}
