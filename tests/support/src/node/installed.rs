//! A world with a node, in which the operator runs as the chart installs it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use serde_json::{Value, json};

use super::image::{self, Image};
use super::release::{self, Identity};
use super::{BUSYBOX, Node, Settings, start_scheduler};
use crate::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use crate::fixtures::NAMESPACE;
use crate::process::Process;
use crate::sdks::Tally;
use crate::strict_aws::http::HttpServer;
use crate::wait_for;
use crate::world::World;

/// A node that has the image, and on which AWS is found.
async fn start_node(name: &str, world: &World, settings: &Settings, image: &Image, aws: &str) -> (Node, String) {
    let mut node = Node::start(name, world.folder(), &world.cluster, settings).await;
    node.load(&image.archive);
    let port = aws.rsplit(':').next().unwrap().parse().unwrap();
    let aws = format!("http://{}", node.open(port).await);
    (node, aws)
}

/// How long a Pod may take to what it is to do, on a machine that is busy with other stories.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// The world.
pub struct Installed {
    /// Where a Pod finds AWS.
    pub aws: String,
    image: Image,
    settings: Settings,
    // They end in this order.
    pub node: Node,
    _scheduler: Process,
    pub world: World,
}

impl Installed {
    /// Starts one whose AWS is moto, or another.
    pub async fn start(settings: Settings, aws: Option<&HttpServer>) -> Self {
        let cluster = Self::without_operator(settings, aws).await;
        cluster.install(&Identity::AccessKey, &[]);
        cluster
    }

    /// The same, but for the operator.
    pub async fn without_operator(settings: Settings, aws: Option<&HttpServer>) -> Self {
        let world = World::without_operator().await;
        let scheduler = start_scheduler(world.folder(), &world.cluster);
        let image = image::build(world.folder());
        let url = aws.map_or(world.aws.url(), HttpServer::url).to_owned();
        let (node, aws) = start_node("node-1", &world, &settings, &image, &url).await;
        Self {
            aws,
            image,
            settings,
            node,
            _scheduler: scheduler,
            world,
        }
    }

    /// Installs the operator, or another form of it.
    pub fn install(&self, identity: &Identity, arguments: &[&str]) {
        release::install(&self.world.cluster, self.world.folder(), &self.aws, identity, arguments);
    }

    /// Starts another node, on which everything is as on the first.
    pub async fn another_node(&self, name: &str, aws: &HttpServer) -> Node {
        let (node, at) = start_node(name, &self.world, &self.settings, &self.image, aws.url()).await;
        assert_eq!(at, self.aws);
        node
    }

    /// Makes an object.
    pub fn create(&self, object: &Value) {
        let output = self
            .world
            .cluster
            .kubectl_with(&["create", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A Pod of a container that runs a script, with a Secret where the documents mount one.
    pub fn create_pod(&self, name: &str, secret: &str, script: &str, environment: &Value) {
        self.create(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never",
                    "command": ["sh", "-c", script],
                    "env": environment,
                    "volumeMounts": [{"name": "aws", "mountPath": "/.aws", "readOnly": true}],
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65534, "readOnlyRootFilesystem": true,
                        "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                    },
                }],
                "volumes": [{"name": "aws", "secret": {"secretName": secret}}],
            },
        }));
    }

    /// What a Pod printed, each line with its time.
    pub fn log(&self, pod: &str) -> Vec<(Timestamp, String)> {
        let output = self.world.cluster.kubectl_with(&["logs", "--timestamps", pod], "");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .filter_map(|line| {
                let (time, rest) = line.split_once(' ')?;
                Some((time.parse().ok()?, rest.to_owned()))
            })
            .collect()
    }

    /// When a Pod printed a line, which it does some time.
    pub async fn shows(&self, pod: &str, wanted: &str) -> Timestamp {
        wait_for(&format!("{wanted} from {pod}"), PATIENCE, async || {
            let mut lines = self.log(pod).into_iter();
            lines.find(|(_, line)| line == wanted).map(|(time, _)| time)
        })
        .await
    }

    /// What came of the calls of a Pod that uses an SDK.
    pub fn tally(&self, pod: &str) -> Tally {
        let lines: Vec<_> = self.log(pod).into_iter().map(|(_, line)| line).collect();
        Tally::read(&lines.join("\n"))
    }

    /// The Pods of the operator, each with the node that it is on.
    pub async fn replicas(&self) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.world.cluster.client(), OPERATOR_NAMESPACE);
        let pods = pods.list(&Default::default()).await.unwrap().into_iter();
        let alive = pods.filter(|pod| pod.metadata.deletion_timestamp.is_none());
        // Those of a node that was drained stay behind as what they came to.
        let alive = alive.filter(|pod| pod.status.as_ref().unwrap().phase.as_deref() != Some("Failed"));
        alive.collect()
    }

    /// Sees that both replicas are available, and that no container of theirs was ever restarted.
    pub async fn all_run_as_they_began(&self) {
        let deployments: Api<Deployment> = Api::namespaced(self.world.cluster.client(), OPERATOR_NAMESPACE);
        let status = deployments.get(OPERATOR_SERVICE_ACCOUNT).await.unwrap().status.unwrap();
        assert_eq!(
            (status.available_replicas, status.unavailable_replicas),
            (Some(2), None)
        );
        for pod in self.replicas().await {
            let name = pod.metadata.name.unwrap();
            let status = pod.status.unwrap();
            assert_eq!(status.phase.as_deref(), Some("Running"), "{name}");
            for container in status.container_statuses.unwrap() {
                assert_eq!(container.restart_count, 0, "{name}");
            }
        }
    }
}
