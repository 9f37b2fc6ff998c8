//! The chart over its life, with Helm itself: in the place of a predecessor's and back, uninstalled and installed again, and releases that share
//! what is the cluster's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use support::control_plane::{ControlPlane, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, helm};
use support::fixtures::{map_spec, role_arn};
use support::world::PATIENCE;
use support::{root, wait_for};

use super::the_predecessors_are_taken_over::old_definition;

const RELEASE: &str = "aws-assume-role";

const DEFINITIONS: [&str; 2] = ["awsassumeroles.pincette.net", "awsassumerolepolicies.pincette.net"];

fn chart() -> String {
    root().join("charts/aws-assume-role").display().to_string()
}

fn try_helm(cluster: &ControlPlane, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = helm(folder);
    command.args(arguments).arg("--kubeconfig").arg(cluster.kubeconfig());
    command.output().unwrap()
}

/// Runs Helm, which must succeed, and gives what it printed.
fn helm_ok(cluster: &ControlPlane, folder: &Path, arguments: &[&str]) -> String {
    let output = try_helm(cluster, folder, arguments);
    assert!(
        output.status.success(),
        "helm {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs Helm, which must refuse, and gives its complaint.
fn helm_refuses(cluster: &ControlPlane, folder: &Path, arguments: &[&str]) -> String {
    let output = try_helm(cluster, folder, arguments);
    assert!(!output.status.success(), "helm {arguments:?} is not refused");
    String::from_utf8(output.stderr).unwrap()
}

fn object(cluster: &ControlPlane, arguments: &[&str]) -> Value {
    let text = cluster.kubectl_ok(&[&["get", "-o", "json"], arguments].concat());
    serde_json::from_str(&text).unwrap()
}

fn apply(cluster: &ControlPlane, object: &Value) {
    let applied = cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string());
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
}

fn policy() -> Value {
    json!({
        "apiVersion": "pincette.net/v1alpha1", "kind": "AWSAssumeRolePolicy", "metadata": {"name": "ours"},
        "spec": {"namespaces": ["default"], "roles": [role_arn("*")]},
    })
}

/// A chart as the predecessors had it: the same names and the same selector, and the definition in `crds/`.
fn predecessors_chart(folder: &Path) -> PathBuf {
    let path = folder.join("predecessor");
    let name = json!({"name": OPERATOR_SERVICE_ACCOUNT, "namespace": OPERATOR_NAMESPACE});
    let labels = json!({"apps.kubernetes.io/name": OPERATOR_SERVICE_ACCOUNT});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": name});
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": OPERATOR_SERVICE_ACCOUNT},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": OPERATOR_SERVICE_ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": OPERATOR_SERVICE_ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR_SERVICE_ACCOUNT, "namespace": OPERATOR_NAMESPACE}],
    });
    let container = json!({"name": "main", "image": "predecessor:1.1.0"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": name,
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": OPERATOR_SERVICE_ACCOUNT, "containers": [container]},
            },
        },
    });
    for file in ["templates", "crds"] {
        fs::create_dir_all(path.join(file)).unwrap();
    }
    // JSON is YAML too.
    for (file, object) in [
        (
            "Chart.yaml",
            json!({"apiVersion": "v2", "name": RELEASE, "version": "1.1.0"}),
        ),
        ("values.yaml", json!({"accountId": "123456789012"})),
        ("crds/definition.yaml", old_definition()),
        ("templates/account.yaml", account),
        ("templates/role.yaml", role),
        ("templates/binding.yaml", binding),
        ("templates/deployment.yaml", deployment),
    ] {
        fs::write(path.join(file), object.to_string()).unwrap();
    }
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_place_of_a_predecessors_and_back_it_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = ControlPlane::start(folder).await;
    let here = ["--namespace", OPERATOR_NAMESPACE];
    helm_ok(&cluster, folder, &[&["uninstall", RELEASE], &here[..]].concat());
    for definition in DEFINITIONS {
        cluster.kubectl_ok(&["delete", "crd", definition]);
    }

    let old = predecessors_chart(folder).display().to_string();
    helm_ok(&cluster, folder, &[&["install", RELEASE, &old], &here[..]].concat());
    let established = ["wait", "--for=condition=Established", "crd", DEFINITIONS[0]];
    cluster.kubectl_ok(&established);
    let resource = json!({
        "apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole", "metadata": {"name": "mine", "namespace": "default"},
        "spec": map_spec("mine"),
    });
    apply(&cluster, &resource);
    let deployment = ["deployment", OPERATOR_SERVICE_ACCOUNT, here[0], here[1]];
    let uid_of = |arguments: &[&str]| object(&cluster, arguments)["metadata"]["uid"].clone();
    let before = (uid_of(&deployment), uid_of(&["awsassumerole", "mine"]));

    // Values that are not there cannot be reused, and Helm's other way is named.
    let chart = chart();
    let upgrade = [&["upgrade", RELEASE, &chart], &here[..]].concat();
    let refused = helm_refuses(&cluster, folder, &[&upgrade[..], &["--reuse-values"]].concat());
    assert!(refused.contains("--reset-then-reuse-values"), "{refused}");
    helm_ok(
        &cluster,
        folder,
        &[&upgrade[..], &["--reset-then-reuse-values"]].concat(),
    );
    assert_eq!((uid_of(&deployment), uid_of(&["awsassumerole", "mine"])), before);
    // As the operator does at its start.
    let definition = root()
        .join("crds/awsassumeroles.pincette.net.yaml")
        .display()
        .to_string();
    cluster.kubectl_ok(&["apply", "--server-side", "--force-conflicts", "-f", &definition]);
    cluster.kubectl_ok(&["wait", "--for=condition=Established", "crd", DEFINITIONS[1]]);
    apply(&cluster, &policy());

    // Neither a rollback nor the end of the release touches what is installed for all.
    let definitions = || DEFINITIONS.map(|name| object(&cluster, &["crd", name])["spec"].clone());
    let installed = definitions();
    let policy_uid = uid_of(&["awsassumerolepolicy", "ours"]);
    helm_ok(&cluster, folder, &[&["rollback", RELEASE, "1"], &here[..]].concat());
    let containers = &object(&cluster, &deployment)["spec"]["template"]["spec"]["containers"];
    assert!(containers.to_string().contains("predecessor:1.1.0"), "{containers}");
    assert_eq!(definitions(), installed);
    helm_ok(&cluster, folder, &upgrade);
    assert_eq!(definitions(), installed);
    helm_ok(&cluster, folder, &[&["uninstall", RELEASE], &here[..]].concat());
    assert_eq!(definitions(), installed);
    assert_eq!(uid_of(&["awsassumerole", "mine"]), before.1);
    assert_eq!(uid_of(&["awsassumerolepolicy", "ours"]), policy_uid);
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    let left = cluster.kubectl_ok(&["get", kinds, "-o", "name"]);
    assert!(!left.contains("aws-assume-role"), "{left}");
    let left = cluster.kubectl_ok(&[
        "get",
        "deployments,services,serviceaccounts,roles,poddisruptionbudgets",
        "-o",
        "name",
        here[0],
        here[1],
    ]);
    assert!(!left.contains("aws-assume-role"), "{left}");

    // It comes back to what was left.
    let again = [&["install", RELEASE, &chart, "--skip-crds"], &here[..]].concat();
    helm_ok(&cluster, folder, &again);
    assert_eq!(uid_of(&["awsassumerolepolicy", "ours"]), policy_uid);
}

#[tokio::test(flavor = "multi_thread")]
async fn releases_share_what_is_the_clusters() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let cluster = ControlPlane::start(folder).await;
    cluster.kubectl_ok(&["create", "namespace", "team"]);
    cluster.upgrade_chart(&["--set=watchNamespaces={default}"]);
    cluster.kubectl_ok(&["wait", "--for=condition=Established", "crd", DEFINITIONS[1]]);
    apply(&cluster, &policy());
    let definition = || object(&cluster, &["crd", DEFINITIONS[1]])["metadata"].clone();
    let owner = || definition()["annotations"]["meta.helm.sh/release-name"].clone();
    let uid = definition()["uid"].clone();

    // The second finds the definition of the first, and tells how to take it over.
    let chart = chart();
    let install = [
        "upgrade",
        "--install",
        "another",
        &chart,
        "--namespace=second",
        "--create-namespace",
        "--skip-crds",
        "--set=watchNamespaces={team}",
    ];
    let notes = helm_ok(&cluster, folder, &install);
    assert_eq!(owner(), RELEASE);
    let told = format!("belongs to the release {RELEASE} in the namespace {OPERATOR_NAMESPACE}");
    assert!(notes.contains(&told), "{notes}");
    let commands: Vec<&str> = notes
        .lines()
        .filter(|line| line.starts_with("kubectl") && line.contains(" crd "))
        .collect();
    assert_eq!(commands.len(), 2, "{notes}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        cluster.kubectl_ok(&words);
    }
    helm_ok(&cluster, folder, &install);
    // The first leaves it then, and it goes with neither.
    cluster.upgrade_chart(&["--set=watchNamespaces={default}"]);
    assert_eq!(owner(), "another");
    for (release, namespace) in [("another", "second"), (RELEASE, OPERATOR_NAMESPACE)] {
        helm_ok(&cluster, folder, &["uninstall", release, "--namespace", namespace]);
        assert_eq!(definition()["uid"], uid);
    }
    object(&cluster, &["awsassumerolepolicy", "ours"]);

    // One that belongs to nobody is not taken in silence.
    cluster.kubectl_ok(&["label", "crd", DEFINITIONS[1], "app.kubernetes.io/managed-by-"]);
    let refused = helm_refuses(&cluster, folder, &install);
    assert!(refused.contains("belongs to no release"), "{refused}");
    assert!(refused.contains("crd.install=false"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clusters_own_roles_cover_resources_where_that_is_wanted_and_policies_never() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = ControlPlane::start(folder.path()).await;
    for role in ["view", "edit", "admin"] {
        let user = format!("--user={role}er");
        let clusterrole = format!("--clusterrole={role}");
        cluster.kubectl_ok(&["create", "rolebinding", role, &clusterrole, &user]);
    }
    let may = |role: &str, verb: &str, kind: &str| {
        let user = format!("--as={role}er");
        cluster
            .kubectl_with(&["auth", "can-i", verb, kind, &user], "")
            .status
            .success()
    };
    let resources = "awsassumeroles.pincette.net";
    assert!(!may("admin", "get", resources));
    cluster.upgrade_chart(&["--set=rbac.aggregate=true"]);
    wait_for("the roles to be aggregated", PATIENCE, async || {
        (may("view", "get", resources) && may("edit", "create", resources) && may("admin", "delete", resources))
            .then_some(())
    })
    .await;
    assert!(!may("view", "create", resources));
    for verb in ["get", "create", "delete"] {
        assert!(!may("admin", verb, "awsassumerolepolicies.pincette.net"), "{verb}");
    }
}
