use aws_assume_role::cluster::ClusterError;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use support::fixtures::map_spec;
use support::wait_for;
use support::world::{PATIENCE, World};

/// A Secret of that name, type and content.
fn secret(name: &str, type_: &str, value: &str) -> Secret {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "type": type_,
        "stringData": {"key": value},
    }))
    .unwrap()
}

/// Lets a policy deny updates of Secrets with a text about what is immutable, and waits until it does.
async fn deny_updates(world: &World) {
    let policy = |kind: &str, spec: Value| {
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": "frozen"},
            "spec": spec,
        });
        let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &policy.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let secrets =
        json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["secrets"]}]);
    policy(
        "ValidatingAdmissionPolicy",
        json!({
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": secrets},
            "validations": [{"expression": "false", "message": "type: Invalid value: field is immutable"}],
        }),
    );
    policy(
        "ValidatingAdmissionPolicyBinding",
        json!({"policyName": "frozen", "validationActions": ["Deny"]}),
    );
    let secrets = secrets_of(world);
    secrets
        .create(&PostParams::default(), &secret("probe", "Opaque", "0"))
        .await
        .unwrap();
    wait_for("the policy", PATIENCE, async || {
        let change = json!({"stringData": {"key": "1"}});
        let dry = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        secrets.patch("probe", &dry, &Patch::Merge(change)).await.err()
    })
    .await;
}

fn secrets_of(world: &World) -> Api<Secret> {
    Api::default_namespaced(world.cluster.client())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_answers_is_told_apart() {
    let world = World::without_operator().await;
    let secrets = secrets_of(&world);
    let created = PostParams::default();
    let replace = async |new: &Secret| {
        let name = new.metadata.name.clone().unwrap();
        let error = secrets.replace(&name, &created, new).await.unwrap_err();
        ClusterError::from(error)
    };
    let patch = async |name: &str, change: Value| {
        let error = secrets
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .unwrap_err();
        ClusterError::from(error)
    };

    secrets.create(&created, &secret("typed", "Opaque", "1")).await.unwrap();
    let error = replace(&secret("typed", "example.com/other", "1")).await;
    assert!(matches!(error, ClusterError::Immutable(_)), "{error:?}");
    let error = patch("typed", json!({"type": "example.com/other"})).await;
    assert!(matches!(error, ClusterError::Immutable(_)), "{error:?}");

    let frozen = Secret {
        immutable: Some(true),
        ..secret("frozen", "Opaque", "1")
    };
    secrets.create(&created, &frozen).await.unwrap();
    let error = replace(&Secret {
        immutable: Some(true),
        ..secret("frozen", "Opaque", "2")
    })
    .await;
    assert!(matches!(error, ClusterError::Immutable(_)), "{error:?}");
    let error = replace(&secret("frozen", "Opaque", "1")).await;
    assert!(matches!(error, ClusterError::Immutable(_)), "{error:?}");
    let error = patch("frozen", json!({"stringData": {"key": "2"}})).await;
    assert!(matches!(error, ClusterError::Immutable(_)), "{error:?}");
    let error = patch("frozen", json!({"data": {"key": null}})).await;
    assert!(matches!(error, ClusterError::Immutable(_)), "{error:?}");

    let named = secret("my-immutable-creds", "Opaque", "1");
    secrets.create(&created, &named).await.unwrap();
    let error = patch(
        "my-immutable-creds",
        json!({"metadata": {"labels": {"a": "field is immutable"}}}),
    )
    .await;
    assert!(matches!(error, ClusterError::Refused(_)), "{error:?}");

    deny_updates(&world).await;
    for error in [
        patch("typed", json!({"stringData": {"key": "2"}})).await,
        replace(&secret("typed", "Opaque", "2")).await,
        replace(&secret("my-immutable-creds", "Opaque", "2")).await,
    ] {
        assert!(
            matches!(error, ClusterError::Refused(_) | ClusterError::Forbidden(_)),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_namespace_is_told_apart() {
    let world = World::without_operator().await;
    world.cluster.kubectl_ok(&["create", "namespace", "ending"]);
    // What holds on to the namespace, so that it does not end in the middle of the story.
    let held = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "ending", "finalizers": ["example.com/held"]},
    });
    let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &held.to_string());
    assert!(output.status.success());
    world
        .cluster
        .kubectl_ok(&["delete", "namespace", "ending", "--wait=false"]);
    let secrets: Api<Secret> = Api::namespaced(world.cluster.client(), "ending");
    let error = secrets
        .create(&PostParams::default(), &secret("late", "Opaque", "1"))
        .await
        .unwrap_err();
    let error = ClusterError::from(error);
    assert!(matches!(error, ClusterError::Terminating(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_says_immutable_is_obeyed() {
    let world = World::start().await;
    world.apply("kept", &map_spec("my-immutable-creds")).unwrap();
    world.ready("kept").await;
    let before = world.secret("my-immutable-creds").await.unwrap();
    deny_updates(&world).await;
    world.request_refresh("kept", "1");
    world.condition("kept", "Refreshed", "False", "SecretForbidden").await;
    let after = world.secret("my-immutable-creds").await.unwrap();
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_eq!(after.data, before.data);
}
