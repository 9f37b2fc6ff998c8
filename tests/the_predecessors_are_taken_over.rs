use aws_assume_role::api::AWSAssumeRole;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use support::fixtures::{NAMESPACE, map_spec, with};
use support::world::{World, value};

/// Lays a resource down as a predecessor leaves it, with its history for a status.
async fn resource(world: &World, name: &str, status: &Value) -> AWSAssumeRole {
    let spec = with(map_spec(name), &json!({"durationSeconds": 3600}));
    world.apply(name, &spec).unwrap();
    let api: Api<AWSAssumeRole> = Api::namespaced(world.cluster.client(), NAMESPACE);
    let patch = Patch::Merge(json!({"status": status}));
    api.patch_status(name, &PatchParams::default(), &patch).await.unwrap()
}

async fn secret(world: &World, manager: &str, metadata: Value) -> Secret {
    let api: Api<Secret> = Api::namespaced(world.cluster.client(), NAMESPACE);
    let secret = json!({
        "metadata": metadata,
        "stringData": {"awsAccessKeyId": "OLD", "awsSecretAccessKey": "OLD", "awsSessionToken": "OLD"},
    });
    let parameters = PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    api.create(&parameters, &serde_json::from_value(secret).unwrap())
        .await
        .unwrap()
}

/// The definition that the predecessors' charts install.
pub fn old_definition() -> Value {
    let string = json!({"type": "string"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "awsassumeroles.pincette.net"},
        "spec": {
            "group": "pincette.net",
            "names": {"kind": "AWSAssumeRole", "plural": "awsassumeroles", "singular": "awsassumerole"},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["roleName", "secretName", "secretType"], "properties": {
                        "durationSeconds": {"type": "integer"}, "ecrRepositoryUrl": string, "roleName": string, "secretName": string,
                        "secretType": {"type": "string", "enum": ["EcrDockerConfigJson", "File", "Map"]},
                    }},
                    "status": {"type": "object", "properties": {
                        "conditions": {"type": "array", "items": {"type": "object", "properties": {
                            "lastTransitionTime": string, "message": string, "reason": string, "status": string, "type": string,
                        }}},
                        "health": {"type": "object", "properties": {"status": string}},
                        "phase": string,
                    }},
                }}},
            }],
        },
    })
}

fn history() -> Value {
    let entry = |status: &str| json!({"type": "Ready", "status": status, "lastTransitionTime": "Tue Mar 3 10:00:00 2026", "message": "", "reason": ""});
    json!({"phase": "Ready", "health": {"status": "Healthy"}, "conditions": [entry("True"), entry("False"), entry("True"), entry("True"), entry("True")]})
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_and_secrets_of_both_predecessors_are_taken_over() {
    let mut world = World::without_operator().await;
    world
        .cluster
        .kubectl_ok(&["delete", "crd", "awsassumeroles.pincette.net"]);
    let installed = world
        .cluster
        .kubectl_with(&["apply", "-f", "-"], &old_definition().to_string());
    assert!(installed.status.success());
    world
        .cluster
        .kubectl_ok(&["wait", "--for=condition=Established", "crd/awsassumeroles.pincette.net"]);

    let java = resource(&world, "java", &history()).await;
    let reference = |resource: &AWSAssumeRole, controller: Option<bool>| json!([{"apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole", "name": resource.metadata.name, "uid": resource.metadata.uid, "controller": controller}]);
    let java_secret = secret(
        &world,
        "fabric8-kubernetes-client",
        json!({
            "name": "java", "labels": {"aws-assume-role": "true"},
            "annotations": {"javaoperatorsdk.io/previous": "6f6a0e1c,1234"},
            "ownerReferences": reference(&java, None),
        }),
    )
    .await;
    let rust = resource(&world, "rust", &history()).await;
    let rust_secret = secret(
        &world,
        "awsassumerole.pincette.net",
        json!({"name": "rust", "ownerReferences": reference(&rust, None)}),
    )
    .await;
    let controlled = resource(&world, "controlled", &json!({"conditions": []})).await;
    let controlled_secret = secret(
        &world,
        "awsassumerole.pincette.net",
        json!({"name": "controlled", "ownerReferences": reference(&controlled, Some(true))}),
    )
    .await;

    world.start_operator();
    for (name, before) in [
        ("java", java_secret),
        ("rust", rust_secret),
        ("controlled", controlled_secret),
    ] {
        let status = world.ready(name).await.status.unwrap();
        let types: Vec<_> = status
            .conditions
            .iter()
            .map(|condition| condition.type_.as_str())
            .collect();
        assert_eq!(types, ["Ready", "Refreshed"]);
        let after = world.secret(name).await.unwrap();
        assert_eq!(
            after.metadata.uid, before.metadata.uid,
            "there was never a moment without a Secret"
        );
        assert_ne!(value(&after, "awsAccessKeyId"), "OLD");
        let owners = after.metadata.owner_references.unwrap();
        assert_eq!((owners.len(), owners[0].controller), (1, Some(true)));
        assert_eq!(
            after.metadata.labels.unwrap()["app.kubernetes.io/managed-by"],
            "aws-assume-role"
        );
    }
    let kept = world.secret("java").await.unwrap().metadata.annotations.unwrap();
    assert!(kept.contains_key("javaoperatorsdk.io/previous"));
    assert_eq!(world.aws.calls("AssumeRole").len(), 3);

    // Their definition, which Helm leaves as it is, was brought up to date.
    let status = world.resource("java").await.unwrap().status.unwrap();
    assert!(status.expiration.is_some() && status.observed_generation.is_some());
    let spec = with(map_spec("java"), &json!({"durationSeconds": 60}));
    assert!(world.apply("java", &spec).unwrap_err().contains("900"));

    // From then on they are like any other: a deletion takes the Secret with it.
    world.delete("rust");
    world.secret_gone("rust").await;
}
