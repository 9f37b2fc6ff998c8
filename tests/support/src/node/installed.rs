//! A world with a node, in which the operator runs as the chart installs it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use serde_json::{Value, json};

use super::{BUSYBOX, Node, Settings, image, release, start_scheduler};
use crate::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use crate::fixtures::NAMESPACE;
use crate::process::Process;
use crate::sdks::Tally;
use crate::strict_aws::http::HttpServer;
use crate::wait_for;
use crate::world::World;

/// How long a Pod may take to what it is to do, on a machine that is busy with other stories.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// The world.
pub struct Installed {
    /// Where a Pod finds AWS.
    pub aws: String,
    // They end in this order.
    pub node: Node,
    _scheduler: Process,
    pub world: World,
}

impl Installed {
    /// Starts one whose AWS is moto, or another.
    pub async fn start(settings: &Settings, aws: Option<&HttpServer>) -> Self {
        let world = World::without_operator().await;
        let scheduler = start_scheduler(world.folder(), &world.cluster);
        let image = image::build(world.folder());
        let mut node = Node::start("node-1", world.folder(), &world.cluster, settings).await;
        node.load(&image.archive);
        let url = aws.map_or(world.aws.url(), HttpServer::url);
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        let aws = format!("http://{}", node.open(port).await);
        let cluster = Self {
            aws,
            node,
            _scheduler: scheduler,
            world,
        };
        release::install(&cluster.world.cluster, cluster.world.folder(), &cluster.aws, &[]);
        cluster
    }

    /// Makes an object.
    pub fn create(&self, object: &Value) {
        let output = self
            .world
            .cluster
            .kubectl_with(&["create", "-f", "-"], &object.to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A Pod of a container that runs a script, with the Secret of its name where the documents mount one.
    pub fn create_pod(&self, name: &str, script: &str, environment: &Value) {
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
                "volumes": [{"name": "aws", "secret": {"secretName": name}}],
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

    /// Sees that both replicas are available, and that no container of any Pod was ever restarted.
    pub async fn all_run_as_they_began(&self) {
        let deployments: Api<Deployment> = Api::namespaced(self.world.cluster.client(), OPERATOR_NAMESPACE);
        let status = deployments.get(OPERATOR_SERVICE_ACCOUNT).await.unwrap().status.unwrap();
        assert_eq!(
            (status.available_replicas, status.unavailable_replicas),
            (Some(2), None)
        );
        let pods: Api<Pod> = Api::all(self.world.cluster.client());
        for pod in pods.list(&Default::default()).await.unwrap() {
            let name = pod.metadata.name.unwrap();
            let status = pod.status.unwrap();
            assert_eq!(status.phase.as_deref(), Some("Running"), "{name}");
            for container in status.container_statuses.unwrap() {
                assert_eq!(container.restart_count, 0, "{name}");
            }
        }
    }
}
