use serde_json::json;

use support::fixtures::{map_spec, role_arn, with};
use support::wait_for;
use support::world::{PATIENCE, World, keys, value};

async fn world_with(name: &str) -> World {
    let world = World::start().await;
    let template = json!({"labels": {"team": "blue"}, "annotations": {"reloader.stakater.com/match": "true"}});
    let spec = with(map_spec(name), &json!({"secretTemplate": template}));
    world.apply(name, &spec).unwrap();
    world.ready(name).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_secret_comes_back() {
    let world = world_with("gone").await;
    let before = world.secret("gone").await.unwrap();
    world.cluster.kubectl_ok(&["delete", "secret", "gone"]);
    let after = wait_for("the Secret to come back", PATIENCE, async || world.secret("gone").await).await;
    assert_ne!(before.metadata.uid, after.metadata.uid);
    assert_ne!(
        value(&before, "awsAccessKeyId"),
        value(&after, "awsAccessKeyId"),
        "with fresh credentials"
    );
    world.ready("gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_foreign_keys_are_put_right_without_a_call_to_aws() {
    let world = world_with("edited").await;
    let before = world.secret("edited").await.unwrap();
    let calls = world.aws.calls("AssumeRole").len();

    let change = json!({
        "metadata": {
            "labels": {"team": "red", "app.kubernetes.io/managed-by": null, "theirs": "stays"},
            "annotations": {"reloader.stakater.com/match": null},
        },
        "stringData": {"extra": "content"},
    });
    world.patch("secret", "edited", &change);
    let after = wait_for("the repair", PATIENCE, async || {
        let secret = world.secret("edited").await?;
        let labels = secret.metadata.labels.clone()?;
        (labels.get("team").is_some_and(|team| team == "blue") && keys(&secret).len() == 3).then_some(secret)
    })
    .await;
    let labels = after.metadata.labels.clone().unwrap();
    assert_eq!(labels["app.kubernetes.io/managed-by"], "aws-assume-role");
    assert_eq!(labels["theirs"], "stays");
    assert_eq!(
        after.metadata.annotations.clone().unwrap()["reloader.stakater.com/match"],
        "true"
    );
    assert_eq!(after.data, before.data);
    assert_eq!(world.aws.calls("AssumeRole").len(), calls);

    // What leaves the spec leaves the Secret, and needs no call either.
    let spec = map_spec("edited");
    world.apply("edited", &spec).unwrap();
    wait_for("the label to go", PATIENCE, async || {
        let labels = world.secret("edited").await?.metadata.labels?;
        (!labels.contains_key("team")).then_some(())
    })
    .await;
    assert_eq!(world.aws.calls("AssumeRole").len(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn edited_credentials_are_replaced() {
    let world = world_with("broken").await;
    let change = json!({"stringData": {"awsSecretAccessKey": "nonsense"}});
    world.patch("secret", "broken", &change);
    wait_for("fresh credentials", PATIENCE, async || {
        let secret = world.secret("broken").await?;
        (value(&secret, "awsSecretAccessKey") != "nonsense").then_some(())
    })
    .await;
    assert_eq!(world.aws.assumed(&role_arn("broken")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_made_while_the_operator_was_away_is_noticed() {
    let mut world = world_with("away").await;
    drop(world.operator.take());
    // It looks valid for long, and its content is spoilt.
    let change = json!({
        "metadata": {"annotations": {"pincette.net/expiration": "2099-01-01T00:00:00Z"}},
        "stringData": {"awsSessionToken": "nonsense"},
    });
    world.patch("secret", "away", &change);
    world.start_operator();
    wait_for("fresh credentials", PATIENCE, async || {
        let secret = world.secret("away").await?;
        (value(&secret, "awsSessionToken") != "nonsense").then_some(())
    })
    .await;
    let annotations = world.secret("away").await.unwrap().metadata.annotations.unwrap();
    assert!(!annotations["pincette.net/expiration"].starts_with("2099"));
}
