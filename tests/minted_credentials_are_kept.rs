use std::time::Duration;

use serde_json::json;

use support::fixtures::{map_spec, role_arn};
use support::wait_for;
use support::world::{PATIENCE, World};

fn quota(secrets: u32) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "secrets", "namespace": "default"},
        "spec": {"hard": {"count/secrets": secrets.to_string()}},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_cannot_be_written_costs_one_session_and_not_one_for_each_attempt() {
    let world = World::start().await;
    let apply = |quota: &str| world.cluster.kubectl_with(&["apply", "-f", "-"], quota);
    assert!(apply(&quota(0)).status.success());
    wait_for("the quota to hold", PATIENCE, async || {
        let used = ["get", "resourcequota", "secrets", "-o", "jsonpath={.status.hard}"];
        (!world.cluster.kubectl_ok(&used).is_empty()).then_some(())
    })
    .await;
    world.apply("kept", &map_spec("kept")).unwrap();
    world.condition("kept", "Ready", "False", "SecretForbidden").await;
    wait_for("three attempts", PATIENCE, async || {
        let status = world.resource("kept").await?.status?;
        (status.failures? >= 3).then_some(())
    })
    .await;
    assert_eq!(world.aws.assumed(&role_arn("kept")), 1);
    assert!(apply(&quota(100)).status.success());
    // Asked for by a spec that is the same in all that the credentials depend on.
    let mut spec = map_spec("kept");
    spec["refreshBeforeSeconds"] = json!(400);
    world.apply("kept", &spec).unwrap();
    world.ready("kept").await;
    assert_eq!(world.aws.assumed(&role_arn("kept")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_namespace_that_is_being_deleted_aws_is_not_asked_and_nobody_is_warned() {
    let world = World::start().await;
    world.cluster.kubectl_ok(&["create", "namespace", "leaving"]);
    let resource = json!({
        "apiVersion": "pincette.net/v1",
        "kind": "AWSAssumeRole",
        // It stays while its Secret goes.
        "metadata": {"name": "leaving", "namespace": "leaving", "finalizers": ["example.com/hold"]},
        "spec": map_spec("leaving"),
    });
    let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &resource.to_string());
    assert!(output.status.success());
    world.cluster.kubectl_ok(&[
        "wait",
        "--for=condition=Ready",
        "--namespace=leaving",
        "aar/leaving",
        "--timeout=60s",
    ]);
    // Its Secret is deleted before anybody deletes the resource.
    let script = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let patch = [
        "patch",
        "configmap",
        "kube-root-ca.crt",
        "--namespace=leaving",
        "--type=merge",
    ];
    let change = format!("--patch={script}");
    let made = [
        "wait",
        "--for=create",
        "--namespace=leaving",
        "configmap/kube-root-ca.crt",
        "--timeout=60s",
    ];
    world.cluster.kubectl_ok(&made);
    world.cluster.kubectl_ok(&[&patch[..], &[change.as_str()]].concat());
    world
        .cluster
        .kubectl_ok(&["delete", "namespace", "leaving", "--wait=false"]);
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(world.aws.assumed(&role_arn("leaving")), 1);
    let log = world.operator_log();
    let of_it = log.lines().filter(|line| line.contains("name=\"leaving\""));
    for line in of_it {
        assert!(!line.contains("WARN") && !line.contains("ERROR"), "{line}");
    }
    for (kind, name) in [("awsassumerole", "leaving"), ("configmap", "kube-root-ca.crt")] {
        let namespace = "--namespace=leaving";
        let change = "--patch={\"metadata\":{\"finalizers\":null}}";
        world
            .cluster
            .kubectl_with(&["patch", kind, name, namespace, "--type=merge", change], "");
    }
}
