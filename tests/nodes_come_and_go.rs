//! Of two nodes one is drained and stopped, and the operator is upgraded: its Secrets never hold credentials that have ended, and go on being
//! refreshed.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use serde_json::json;
use tokio::task::JoinHandle;

use support::fixtures::{NAMESPACE, map_spec, role_arn};
use support::node::image::IMAGE;
use support::node::installed::{Installed, PATIENCE};
use support::node::release::Identity;
use support::node::{self, Settings};
use support::strict_aws::http::HttpServer;
use support::strict_aws::{StrictAws, open_role};
use support::wait_for;

/// How long a session lasts: everything is fifteen times as fast as with the defaults.
const LIFETIME: Duration = Duration::from_secs(60);

const NAMES: [&str; 3] = ["one", "two", "three"];

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_drained_and_the_operator_upgraded_without_a_gap() {
    if !node::possible("an operator whose node is drained") {
        return;
    }
    let aws = StrictAws::new(Timestamp::now);
    aws.shorten_sessions(LIFETIME);
    for name in NAMES {
        aws.add_role(&role_arn(name), open_role());
    }
    let server = HttpServer::start(aws.clone()).await;
    let mut cluster = Installed::without_operator(Settings::default(), Some(&server)).await;
    let second = cluster.another_node("node-2", &server).await;
    cluster.install(&Identity::AccessKey, &[]);
    assert_eq!(nodes(&cluster).await, ["node-1", "node-2"], "a replica on each");
    for name in NAMES {
        cluster.world.apply(name, &map_spec(name)).unwrap();
        cluster.world.ready(name).await;
    }
    let watched = watch(&cluster);

    // Another image: the same under another name.
    let other = IMAGE.replace(":dev", ":next");
    for node in [&cluster.node, &second] {
        node.tag(IMAGE, &other);
    }
    let before = pods(&cluster).await;
    let started = Timestamp::now();
    cluster.install(&Identity::AccessKey, &["--set", "image.tag=next"]);
    println!("upgraded after {:.1?}", since(started));
    assert!(before.is_disjoint(&pods(&cluster).await), "all Pods are others");
    goes_on(&aws).await;

    let started = Timestamp::now();
    cluster
        .world
        .cluster
        .kubectl_ok(&["drain", "node-2", "--ignore-daemonsets", "--timeout=120s"]);
    println!("drained after {:.1?}", since(started));
    drop(second);
    wait_for("both replicas on the other node", PATIENCE, async || {
        (nodes(&cluster).await == ["node-1", "node-1"]).then_some(())
    })
    .await;
    goes_on(&aws).await;

    assert!(!watched.is_finished(), "there was a gap");
    watched.abort();
    let replicas = json!(cluster.replicas().await.len());
    assert_eq!(replicas, json!(2));

    // The Pods go with their node, whatever becomes of whoever started it.
    cluster.node.kill().await;
}

fn since(started: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(started)).unwrap_or_default()
}

/// The nodes that the replicas are on.
async fn nodes(cluster: &Installed) -> Vec<String> {
    let pods = cluster.replicas().await.into_iter();
    let mut nodes: Vec<_> = pods.filter_map(|pod| pod.spec?.node_name).collect();
    nodes.sort();
    nodes
}

async fn pods(cluster: &Installed) -> BTreeSet<String> {
    let pods = cluster.replicas().await.into_iter();
    pods.filter_map(|pod| pod.metadata.uid).collect()
}

/// Each role is assumed twice more.
async fn goes_on(aws: &StrictAws) {
    let before = NAMES.map(|name| aws.assumed(&role_arn(name)));
    wait_for("two refreshes of each", PATIENCE, async || {
        let now = NAMES.map(|name| aws.assumed(&role_arn(name)));
        (0..NAMES.len())
            .all(|index| now[index] >= before[index] + 2)
            .then_some(())
    })
    .await;
}

/// Looks at the Secrets four times in a second. It ends when the credentials in one have ended.
fn watch(cluster: &Installed) -> JoinHandle<()> {
    let secrets: Api<Secret> = Api::namespaced(cluster.world.cluster.client(), NAMESPACE);
    tokio::spawn(async move {
        loop {
            for name in NAMES {
                let secret = secrets.get(name).await.unwrap();
                let expiration = &secret.metadata.annotations.unwrap()["pincette.net/expiration"];
                let left = expiration
                    .parse::<Timestamp>()
                    .unwrap()
                    .duration_since(Timestamp::now());
                if !left.is_positive() {
                    println!("the credentials of {name} ended {left:#} ago");
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    })
}
