use std::fs;

use serde_json::{Value, json};

use support::control_plane::{OPERATOR_SERVICE_ACCOUNT, helm};
use support::fixtures::{map_spec, role_arn, with};
use support::operator::OperatorCommand;
use support::root;
use support::wait_for;
use support::world::{PATIENCE, World};

const SECOND: &str = "second-release";

fn apply(world: &World, object: &Value) {
    let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A resource whose role and Secret have the name of its namespace.
fn resource(namespace: &str) -> Value {
    json!({
        "apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole",
        "metadata": {"name": "mine", "namespace": namespace}, "spec": map_spec(namespace),
    })
}

async fn shows(world: &World, namespace: &str, reason: &str) {
    let path = "jsonpath={.status.conditions[?(@.type==\"Refreshed\")].reason}";
    wait_for(&format!("{reason} in {namespace}"), PATIENCE, async || {
        let arguments = ["get", "aar", "mine", "--namespace", namespace, "-o", path];
        (world.cluster.kubectl_ok(&arguments) == reason).then_some(())
    })
    .await;
}

/// The access keys with which a role was asked for: each operator has its own.
fn asked_by(world: &World, role: &str) -> Vec<String> {
    let calls = world.aws.calls("AssumeRole").into_iter();
    calls
        .filter(|call| call.parameter("RoleArn").as_deref() == Some(&role_arn(role)))
        .map(|call| call.access_key_id)
        .collect()
}

/// Two releases, each in a namespace of its own and for other namespaces, under the chart's rights for these and nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn each_works_in_its_own_namespaces_and_policies_hold_for_both() {
    let mut world = World::without_operator().await;
    let cluster = &world.cluster;
    for namespace in ["team-a", "team-b", "team-c", "nobodys"] {
        cluster.kubectl_ok(&["create", "namespace", namespace]);
    }
    // The first one looks after the definition.
    cluster.upgrade_chart(&["--set=watchNamespaces={team-a,team-b},crd.upgrade=true"]);
    let installed = helm(world.folder())
        .args(["upgrade", "--install", "another"])
        .arg(root().join("charts/aws-assume-role"))
        .args(["--namespace", SECOND, "--create-namespace"])
        .args(["--set=watchNamespaces={team-c},crd.install=false", "--skip-crds"])
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .output()
        .unwrap();
    assert!(
        installed.status.success(),
        "{}",
        String::from_utf8_lossy(&installed.stderr)
    );
    for namespace in ["team-a", "team-b", "team-c", "nobodys"] {
        apply(&world, &resource(namespace));
    }
    let others = json!({"namespaces": ["team-*"], "roles": [role_arn("${namespace}")]});
    apply(
        &world,
        &json!({"apiVersion": "pincette.net/v1alpha1", "kind": "AWSAssumeRolePolicy", "metadata": {"name": "teams"}, "spec": others}),
    );

    world.start_operator_with(|command| {
        command
            .with_access_key("AKIAFIRST00000000000", "secret")
            .env("WATCH_NAMESPACES", "team-a,team-b")
            .env("UNLISTED_NAMESPACES", "Deny")
    });
    let token = world.folder().join("second.token");
    let minted = ["create", "token", OPERATOR_SERVICE_ACCOUNT, "--namespace", SECOND];
    fs::write(&token, world.cluster.kubectl_ok(&minted).trim()).unwrap();
    let port = world.cluster.port();
    let kubeconfig = world
        .cluster
        .kubeconfig_with_token_file("second.kubeconfig", port, &token);
    let second = OperatorCommand::new(&kubeconfig, world.aws.url())
        .with_access_key("AKIASECOND0000000000", "secret")
        .env("POD_NAMESPACE", SECOND)
        .env("WATCH_NAMESPACES", "team-c")
        .env("UPGRADE_CRD", "false");
    let _second = second.start_as("second", world.folder());

    for namespace in ["team-a", "team-b", "team-c"] {
        shows(&world, namespace, "Issued").await;
    }
    assert_eq!(asked_by(&world, "team-a"), ["AKIAFIRST00000000000"]);
    assert_eq!(asked_by(&world, "team-b"), ["AKIAFIRST00000000000"]);
    assert_eq!(asked_by(&world, "team-c"), ["AKIASECOND0000000000"]);

    // What a policy takes away it takes from both.
    let narrowed = json!({"spec": {"namespaces": ["team-*"], "roles": [role_arn("none-of-them")]}});
    world.patch("awsassumerolepolicy", "teams", &narrowed);
    for namespace in ["team-a", "team-b", "team-c"] {
        shows(&world, namespace, "PolicyDenied").await;
    }
    // And nobody looks after the rest.
    let arguments = [
        "get",
        "aar",
        "mine",
        "--namespace",
        "nobodys",
        "-o",
        "jsonpath={.status}",
    ];
    assert_eq!(world.cluster.kubectl_ok(&arguments), "");
    assert_eq!(asked_by(&world, "nobodys"), [""; 0]);
    let changed = with(map_spec("team-c"), &json!({"secretName": "another"}));
    apply(
        &world,
        &json!({
            "apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole",
            "metadata": {"name": "mine", "namespace": "team-c"}, "spec": changed,
        }),
    );
    world.patch(
        "awsassumerolepolicy",
        "teams",
        &json!({"spec": {"roles": [role_arn("team-*")]}}),
    );
    shows(&world, "team-c", "Issued").await;
    assert_eq!(asked_by(&world, "team-c").len(), 2);
}
