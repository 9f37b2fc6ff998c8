use std::time::Duration;

use serde_json::json;

use support::fixtures::{map_spec, role_arn, with};
use support::wait_for;
use support::world::{PATIENCE, World, keys, value};

async fn world_with(name: &str, changes: &serde_json::Value) -> World {
    let world = World::start().await;
    world.apply(name, &with(map_spec(name), changes)).unwrap();
    world.ready(name).await;
    world
}

/// Waits until fresh credentials are in a Secret that held others.
async fn replaced(world: &World, name: &str, before: &str) -> String {
    wait_for("fresh credentials", PATIENCE, async || {
        let id = value(&world.secret(name).await?, "awsAccessKeyId");
        (id != before && id.starts_with("ASIA")).then_some(id)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_were_touched_and_set_back_cost_one_call_and_no_more_after_a_restart() {
    let mut world = world_with("touched", &json!({})).await;
    let secret = world.secret("touched").await.unwrap();
    let hash = secret.metadata.annotations.unwrap()["pincette.net/spec-hash"].clone();
    drop(world.operator.take());
    for value in ["other", hash.as_str()] {
        let annotation = format!("pincette.net/spec-hash={value}");
        world
            .cluster
            .kubectl_ok(&["annotate", "secret", "touched", "--overwrite", &annotation]);
    }
    let calls = world.aws.assumed(&role_arn("touched"));
    world.start_operator();
    wait_for("the one call", PATIENCE, async || {
        (world.aws.assumed(&role_arn("touched")) == calls + 1).then_some(())
    })
    .await;
    world.ready("touched").await;

    // A controller beside it, and a restart.
    for number in 0..3 {
        let annotation = format!("example.com/seen={number}");
        world
            .cluster
            .kubectl_ok(&["annotate", "secret", "touched", "--overwrite", &annotation]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(world.operator.take());
    world.start_operator();
    world.metrics().await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert_eq!(world.aws.assumed(&role_arn("touched")), calls + 1);
    let annotations = world.secret("touched").await.unwrap().metadata.annotations.unwrap();
    assert_eq!(annotations["example.com/seen"], "2", "what others wrote stays");
    assert_eq!(annotations["pincette.net/spec-hash"], hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_under_the_operators_own_name_is_seen() {
    let world = world_with("forged", &json!({})).await;
    for _ in 0..2 {
        let before = value(&world.secret("forged").await.unwrap(), "awsAccessKeyId");
        let change = json!({"stringData": {"awsAccessKeyId": "nonsense"}});
        world.cluster.kubectl_ok(&[
            "patch",
            "secret",
            "forged",
            "--type=merge",
            "--field-manager=aws-assume-role",
            &format!("--patch={change}"),
        ]);
        replaced(&world, "forged", &before).await;
    }
}

/// Somebody edits a Secret and wipes out who wrote what of it, after which the API server keeps no account of its writes.
#[tokio::test(flavor = "multi_thread")]
async fn an_edit_that_wipes_its_traces_is_seen_and_the_traces_are_kept_again() {
    let mut world = world_with("wiped", &json!({})).await;
    for _ in 0..2 {
        let before = value(&world.secret("wiped").await.unwrap(), "awsAccessKeyId");
        let change = json!({"metadata": {"managedFields": [{}]}, "stringData": {"awsAccessKeyId": "nonsense"}});
        world.patch("secret", "wiped", &change);
        replaced(&world, "wiped", &before).await;
    }
    world.ready("wiped").await;
    let calls = world.aws.assumed(&role_arn("wiped"));
    drop(world.operator.take());
    world.start_operator();
    world.metrics().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.aws.assumed(&role_arn("wiped")), calls, "it is known to be right");
    let labels = json!({"metadata": {"labels": {"aws-assume-role": "edited"}}});
    world.patch("secret", "wiped", &labels);
    wait_for("the repair", PATIENCE, async || {
        let labels = world.secret("wiped").await?.metadata.labels?;
        (labels["aws-assume-role"] == "true").then_some(())
    })
    .await;
    assert_eq!(world.aws.assumed(&role_arn("wiped")), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_reference_that_is_taken_off_makes_the_secret_foreign_at_once() {
    let world = world_with("orphan", &json!({})).await;
    world.patch("secret", "orphan", &json!({"metadata": {"ownerReferences": null}}));
    world.condition("orphan", "Ready", "False", "SecretConflict").await;
    let before = world.secret("orphan").await.unwrap();
    // The name is free again when it is gone, and that is noticed at once.
    world.cluster.kubectl_ok(&["delete", "secret", "orphan"]);
    world.ready("orphan").await;
    assert_ne!(before.metadata.uid, world.secret("orphan").await.unwrap().metadata.uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_deleted_under_suspend_is_not_ready_any_more() {
    let world = world_with("suspended", &json!({})).await;
    world
        .apply("suspended", &with(map_spec("suspended"), &json!({"suspend": true})))
        .unwrap();
    world.condition("suspended", "Ready", "True", "Suspended").await;
    let calls = world.aws.calls("AssumeRole").len();
    world.cluster.kubectl_ok(&["delete", "secret", "suspended"]);
    world.condition("suspended", "Ready", "False", "Suspended").await;
    assert!(world.secret("suspended").await.is_none());
    assert_eq!(world.aws.calls("AssumeRole").len(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_secret_with_a_foreign_key_is_made_anew() {
    let world = world_with("immutable", &json!({})).await;
    let before = world.secret("immutable").await.unwrap();
    let change = json!({"immutable": true, "stringData": {"extra": "content"}});
    world.patch("secret", "immutable", &change);
    let after = wait_for("another Secret", PATIENCE, async || {
        let secret = world.secret("immutable").await?;
        (secret.metadata.uid != before.metadata.uid).then_some(secret)
    })
    .await;
    assert_eq!(keys(&after).len(), 3);
    assert_ne!(after.immutable, Some(true));
    world.ready("immutable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_held_by_a_finalizer_is_made_anew_as_soon_as_it_is_gone() {
    let world = world_with("held", &json!({})).await;
    let before = world.secret("held").await.unwrap();
    world.patch(
        "secret",
        "held",
        &json!({"metadata": {"finalizers": ["example.com/hold"]}}),
    );
    world.cluster.kubectl_ok(&["delete", "secret", "held", "--wait=false"]);
    world.condition("held", "Refreshed", "False", "Pending").await;
    // Long enough for the pauses between attempts to grow.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let calls = world.aws.calls("AssumeRole").len();
    world.patch("secret", "held", &json!({"metadata": {"finalizers": null}}));
    let back = async || {
        let secret = world.secret("held").await?;
        (secret.metadata.uid != before.metadata.uid).then_some(())
    };
    wait_for("the Secret to come back", Duration::from_secs(8), back).await;
    assert_eq!(world.aws.calls("AssumeRole").len(), calls + 1);
}
