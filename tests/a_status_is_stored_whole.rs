use aws_assume_role::api::AWSAssumeRoleStatus;
use aws_assume_role::cluster::kube::KubeCluster;
use aws_assume_role::cluster::{Cluster, ClusterError};
use aws_assume_role::fence::Fence;
use aws_assume_role::spec::ResourceKey;

use support::fixtures::map_spec;
use support::wait_for;
use support::world::{PATIENCE, World};

/// Asked of the operator's own client, since no story can delete a resource and make it again in the middle of a write.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_a_resource_that_was_made_again_is_not_for_its_successor() {
    let world = World::without_operator().await;
    world.apply("again", &map_spec("again")).unwrap();
    let uid = world.resource("again").await.unwrap().metadata.uid.unwrap();
    let cluster = KubeCluster::new(world.cluster.client(), "test", Fence::open());
    let key = |name: &str, uid: &str| ResourceKey {
        namespace: "default".into(),
        name: name.into(),
        uid: uid.into(),
    };
    let status = AWSAssumeRoleStatus {
        phase: Some("Error".into()),
        ..AWSAssumeRoleStatus::default()
    };

    let earlier = key("again", "a-uid-of-before");
    let refused = cluster.write_status(&earlier, &status, None).await;
    assert!(matches!(refused, Err(ClusterError::Gone(_))), "{refused:?}");
    let gone = cluster.write_status(&key("gone", &uid), &status, None).await;
    assert!(matches!(gone, Err(ClusterError::Gone(_))), "{gone:?}");
    assert_eq!(world.resource("again").await.unwrap().status, None);

    cluster.write_status(&key("again", &uid), &status, None).await.unwrap();
    assert_eq!(world.resource("again").await.unwrap().status, Some(status));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_definition_does_not_take_is_written_when_it_does() {
    let world = World::start().await;
    world.apply("before", &map_spec("before")).unwrap();
    world.ready("before").await;
    let define = |operation: &str| {
        let path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/failures/maximum";
        let patch = format!(r#"[{{"op":"{operation}","path":"{path}","value":-1}}]"#);
        let definition = "awsassumeroles.pincette.net";
        world
            .cluster
            .kubectl_ok(&["patch", "crd", definition, "--type=json", "--patch", &patch]);
    };
    define("add");
    let mut failures = 0;
    wait_for("a definition that refuses", PATIENCE, async || {
        // What does not change is not validated again.
        failures += 1;
        let patch = format!(r#"{{"status":{{"failures":{failures}}}}}"#);
        let arguments = [
            "patch",
            "aar",
            "before",
            "--subresource=status",
            "--type=merge",
            "--patch",
            &patch,
        ];
        let written = world.cluster.kubectl_with(&arguments, "");
        (!written.status.success()).then_some(())
    })
    .await;

    world.apply("refused", &map_spec("refused")).unwrap();
    wait_for("the Secret all the same", PATIENCE, async || {
        world.secret("refused").await
    })
    .await;
    wait_for("a word of it", PATIENCE, async || {
        let log = world.operator_log();
        (log.contains("the status was not written") && log.contains("failures")).then_some(())
    })
    .await;
    define("remove");
    world.ready("refused").await;
}
