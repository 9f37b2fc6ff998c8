use std::time::Duration;

use serde_json::{Value, json};

use support::control_plane::ControlPlane;
use support::fixtures::with;
use support::root;
use support::world::World;

const ROLE: &str = "arn:aws:iam::123456789012:role/${namespace}/*";

/// A cluster that knows policies.
async fn world() -> World {
    let world = World::without_operator().await;
    let definition = root().join("crds/awsassumerolepolicies.pincette.net.yaml");
    world.cluster.kubectl_ok(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        definition.to_str().unwrap(),
    ]);
    let established = "--for=condition=Established";
    let name = "crd/awsassumerolepolicies.pincette.net";
    world.cluster.kubectl_ok(&["wait", established, name, "--timeout=60s"]);
    world
}

/// A good policy with something changed.
fn spec(changes: &Value) -> Value {
    with(json!({"namespaces": ["team-a"], "roles": [ROLE]}), changes)
}

async fn apply(cluster: &ControlPlane, name: &str, spec: &Value) -> Result<(), String> {
    let policy = json!({
        "apiVersion": "pincette.net/v1alpha1", "kind": "AWSAssumeRolePolicy", "metadata": {"name": name}, "spec": spec
    });
    loop {
        let output = cluster.kubectl_with(&["apply", "-f", "-"], &policy.to_string());
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.success() {
            true => return Ok(()),
            // What kubectl knows of the API is a moment old.
            false if complaint.contains("no matches for kind") => tokio::time::sleep(Duration::from_millis(200)).await,
            false => return Err(complaint),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_policy_is_refused_with_what_to_write_instead() {
    let world = world().await;
    let selector = |selector: Value| json!({"namespaces": null, "namespaceSelector": selector});
    for (changes, told) in [
        (json!({"namespaces": null}), "exactly one of namespaces"),
        (
            json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}),
            "exactly one of namespaces",
        ),
        (json!({"namespaces": []}), "at least 1"),
        (json!({"namespaces": [""]}), "at least 1"),
        (json!({"namespaces": ["Team"]}), "team-a or team-a-*"),
        (json!({"namespaces": ["a", "${namespace}"]}), "team-a or team-a-*"),
        (json!({"namespaces": ["a".repeat(64)]}), "63"),
        (selector(json!({})), "matchLabels"),
        (selector(json!({"matchLabels": {}})), "needs at least one label"),
        (
            selector(json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]})),
            "leave matchExpressions out",
        ),
        (
            selector(json!({"matchLabels": {"a": "b"}, "matchFields": []})),
            "unknown field",
        ),
        (json!({"regions": []}), "unknown field"),
        (json!({"session": {"names": ["x"]}}), "unknown field"),
        (json!({"roles": null}), "roles"),
        (json!({"roles": []}), "at least 1"),
        (json!({"roles": [""]}), "at least 1"),
        (json!({"roles": ["my-role"]}), "arn:aws:iam::123456789012:role/team-a/*"),
        (json!({"roles": ["arn:aws:iam::*"]}), "six fields"),
        (json!({"roles": ["arn:aws:iam::1:role/a:b"]}), "six fields"),
        (json!({"roles": ["arn:aws:iam::1:role/a b"]}), "six fields"),
        (
            json!({"roles": [ROLE, "arn:aws:iam::1:role/${name}/*"]}),
            "know ${namespace} only",
        ),
        (
            json!({"roles": ["arn:aws:iam::1:role/${namespace"]}),
            "know ${namespace} only",
        ),
        (json!({"maxDurationSeconds": 899}), "greater than or equal to 900"),
        (json!({"maxDurationSeconds": 43201}), "less than or equal to 43200"),
        (json!({"session": {"tagKeys": ["*"]}}), "no globs"),
        (json!({"session": {"externalIds": ["my-*"]}}), "no glob"),
        (json!({"session": {"externalIds": ["x"]}}), "at least 2"),
        (json!({"session": {"sourceIdentities": ["a b"]}}), "no glob"),
        (json!({"secretMetadataPrefixes": ["example.com/*"]}), "no glob"),
        (json!({"secretMetadataPrefixes": [""]}), "at least 1"),
    ] {
        let complaint = apply(&world.cluster, "wrong", &spec(&changes))
            .await
            .expect_err(&changes.to_string());
        assert!(complaint.contains(told), "{changes}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_policy_is_taken_and_shown() {
    let world = world().await;
    let full = json!({
        "maxDurationSeconds": 3600,
        "session": {"policies": true, "tagKeys": ["team"], "externalIds": ["an-id-that-was-agreed-on"], "sourceIdentities": []},
        "secretMetadataPrefixes": ["example.com/"]
    });
    apply(&world.cluster, "team-a", &spec(&full)).await.unwrap();
    let selector = json!({"namespaces": null, "namespaceSelector": {"matchLabels": {"team": "a"}}, "session": null});
    apply(&world.cluster, "by-label", &spec(&selector)).await.unwrap();
    let large = json!({
        "namespaces": (0..256).map(|n| format!("{n:*<63}")).collect::<Vec<_>>(),
        "roles": (0..64).map(|n| format!("arn:aws:iam::1:role/{n:*<2028}")).collect::<Vec<_>>(),
    });
    apply(&world.cluster, "large", &spec(&large)).await.unwrap();
    let shown = world.cluster.kubectl_ok(&["get", "aarp"]);
    assert!(shown.contains("NAMESPACES") && shown.contains(ROLE), "{shown}");
}
