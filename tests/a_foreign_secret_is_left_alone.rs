use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use support::fixtures::{NAMESPACE, map_spec, role_arn, with};
use support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_else_is_not_touched() {
    let world = World::start().await;
    let api: Api<Secret> = Api::namespaced(world.cluster.client(), NAMESPACE);
    let theirs: Secret = serde_json::from_value(json!({
        "metadata": {"name": "taken", "labels": {"aws-assume-role": "true"}},
        "stringData": {"precious": "content"},
    }))
    .unwrap();
    let theirs = api.create(&PostParams::default(), &theirs).await.unwrap();

    let spec = with(map_spec("late"), &json!({"secretName": "taken"}));
    world.apply("late", &spec).unwrap();
    let condition = world.condition("late", "Ready", "False", "SecretConflict").await;
    assert!(
        condition.message.contains("choose another spec.secretName"),
        "{}",
        condition.message
    );
    assert_eq!(world.secret("taken").await.unwrap(), theirs);
    assert!(world.aws.assumed(&role_arn("late")) <= 1);

    // Once the name is free it is taken, with the credentials that could not be written before.
    world.cluster.kubectl_ok(&["delete", "secret", "taken"]);
    world.ready("late").await;
    assert_eq!(world.aws.assumed(&role_arn("late")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_resources_on_one_name_do_not_fight() {
    let world = World::start().await;
    let spec = |role: &str| with(map_spec(role), &json!({"secretName": "shared"}));
    world.apply("first", &spec("one")).unwrap();
    world.ready("first").await;
    let secret = world.secret("shared").await.unwrap();

    world.apply("second", &spec("two")).unwrap();
    let condition = world.condition("second", "Ready", "False", "SecretConflict").await;
    assert!(
        condition.message.contains("controlled by AWSAssumeRole first"),
        "{}",
        condition.message
    );
    assert_eq!(world.secret("shared").await.unwrap(), secret);
    world.ready("first").await;

    world.delete("first");
    let second = world.ready("second").await;
    let owners = world.secret("shared").await.unwrap().metadata.owner_references.unwrap();
    assert_eq!(Some(&owners[0].uid), second.metadata.uid.as_ref());
}
