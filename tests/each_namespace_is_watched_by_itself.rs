use serde_json::Value;

use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::fixtures::{NAMESPACE, map_spec, role_arn};
use support::wait_for;
use support::world::{PATIENCE, World};

fn apply(world: &World, namespace: &str, name: &str) {
    let mut object: Value = support::fixtures::resource(name, &map_spec(name));
    object["metadata"]["namespace"] = namespace.into();
    let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The rights of the chart, in one namespace only.
fn permit(world: &World, namespace: &str) {
    let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    let role = format!("--clusterrole={OPERATOR_SERVICE_ACCOUNT}");
    world.cluster.kubectl_ok(&[
        "create",
        "rolebinding",
        OPERATOR_SERVICE_ACCOUNT,
        "--namespace",
        namespace,
        &role,
        &account,
    ]);
}

/// The rights by which the operator learns who may have which role. Policies are for the whole cluster, and so are the labels of namespaces.
fn permit_boundary(world: &World) {
    let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    let what = "--resource=awsassumerolepolicies.pincette.net,namespaces";
    world
        .cluster
        .kubectl_ok(&["create", "clusterrole", "boundary", "--verb=list,watch", what]);
    world.cluster.kubectl_ok(&[
        "create",
        "clusterrolebinding",
        "boundary",
        "--clusterrole=boundary",
        &account,
    ]);
}

/// Whether a resource shows that there are credentials in its Secret.
async fn ready(world: &World, namespace: &str, name: &str) {
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
    wait_for(&format!("{namespace}/{name}"), PATIENCE, async || {
        let arguments = ["get", "aar", name, "--namespace", namespace, "-o", path];
        (world.cluster.kubectl_ok(&arguments) == "Issued").then_some(())
    })
    .await;
}

async fn unwatched(world: &World, number: usize) {
    let line = format!("aws_assume_role_unwatched_namespaces {number}");
    wait_for(&line, PATIENCE, async || {
        world.metrics().await.lines().any(|one| one == line).then_some(())
    })
    .await;
}

/// The operator has rights in the namespaces that it watches, and none in the rest of the cluster. One of them forgot to give it any, one is
/// not there yet, and one is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn rights_in_the_namespaces_are_enough_and_one_without_holds_up_no_other() {
    let mut world = World::without_operator().await;
    let cluster = &world.cluster;
    cluster.kubectl_ok(&["delete", "clusterrolebinding", OPERATOR_SERVICE_ACCOUNT]);
    for namespace in ["forgotten", "elsewhere"] {
        cluster.kubectl_ok(&["create", "namespace", namespace]);
    }
    permit(&world, NAMESPACE);
    permit(&world, "elsewhere");
    permit_boundary(&world);
    apply(&world, NAMESPACE, "mine");
    apply(&world, "forgotten", "forgotten");
    apply(&world, "elsewhere", "elsewhere");
    let namespaces = format!("{NAMESPACE},forgotten, later,{NAMESPACE}");
    world.start_operator_with(|command| command.env("WATCH_NAMESPACES", &namespaces).env("UPGRADE_CRD", "false"));
    ready(&world, NAMESPACE, "mine").await;
    world.operator_ready().await;
    unwatched(&world, 2).await;
    assert!(
        world.operator_log().contains("namespace=\"forgotten\""),
        "{}",
        world.operator_log()
    );

    // What is changed is seen, and what is deleted is let go.
    apply(&world, NAMESPACE, "another");
    ready(&world, NAMESPACE, "another").await;
    world.delete("another");
    world.secret_gone("another").await;

    permit(&world, "forgotten");
    ready(&world, "forgotten", "forgotten").await;
    unwatched(&world, 1).await;
    world.cluster.kubectl_ok(&["create", "namespace", "later"]);
    permit(&world, "later");
    apply(&world, "later", "later");
    ready(&world, "later", "later").await;
    unwatched(&world, 0).await;

    for name in ["mine", "forgotten", "later"] {
        assert_eq!(world.aws.assumed(&role_arn(name)), 1, "{name}");
    }
    assert_eq!(world.aws.assumed(&role_arn("elsewhere")), 0);
    for request in world.cluster.audit() {
        let (verb, uri) = (&request["verb"], request["requestURI"].as_str().unwrap());
        let boundary = uri.starts_with("/apis/pincette.net/v1alpha1/awsassumerolepolicies?")
            || (uri.starts_with("/api/v1/namespaces?") && uri.contains("metadata.name"));
        assert!(boundary || uri.contains("/namespaces/"), "{verb} {uri}");
        assert!(!uri.contains("/elsewhere/"), "{verb} {uri}");
    }
    let denied = world.cluster.forgive_denied();
    let expected = |request: &String| {
        let namespaces = ["forgotten", "later"];
        let lists = |namespace| format!("\"list\" \"/apis/pincette.net/v1/namespaces/{namespace}/awsassumeroles?");
        namespaces
            .into_iter()
            .any(|namespace| request.starts_with(&lists(namespace)))
    };
    assert!(denied.iter().all(expected), "{denied:?}");
    // One namespace that is not there is asked for every few seconds, not all the time.
    assert!(denied.len() < 60, "{}", denied.len());
}
