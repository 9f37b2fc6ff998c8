//! The operator of the local environment: a process, or Pods on a node.

use std::path::Path;
use std::process::Command;

use support::control_plane::{ControlPlane, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::jaeger::Jaeger;
use support::moto::Moto;
use support::node::release::{self, Identity};
use support::node::{self, Node, Settings, image};
use support::operator::OperatorCommand;
use support::process::Process;
use support::{free_port, part};

use crate::pod::SYNC_FREQUENCY;

/// The access key of the local environment. moto takes any.
pub const ACCESS_KEY_ID: &str = "AKIALOCAL00000000000";
pub const SECRET_ACCESS_KEY: &str = "local";

/// It ends when this is dropped, with the node if it has one.
pub struct Operator {
    /// Where its HTTP server is.
    pub url: String,
    // They end in this order.
    _processes: Vec<Process>,
    _node: Option<Node>,
}

/// Whether it was asked to run on a node.
pub fn on_a_node() -> bool {
    std::env::var("NODE").as_deref() == Ok("1")
}

impl Operator {
    /// Starts the process.
    pub fn start(folder: &Path, cluster: &ControlPlane, moto: &Moto, jaeger: &Jaeger) -> Self {
        let command = OperatorCommand::new(&cluster.operator_kubeconfig(), moto.url())
            .with_access_key(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
            .with_traces(jaeger.grpc_endpoint(), "grpc");
        Self {
            url: format!("http://{}", command.http_address()),
            _processes: vec![command.start(folder)],
            _node: None,
        }
    }

    /// Starts a node, and the Pods of the chart on it.
    pub async fn start_on_a_node(folder: &Path, cluster: &ControlPlane, moto: &Moto, jaeger: &Jaeger) -> Self {
        assert!(node::possible("make up NODE=1"));
        let scheduler = node::start_scheduler(folder, cluster);
        let image = image::build(folder);
        let settings = Settings {
            sync_frequency: SYNC_FREQUENCY,
            ..Settings::default()
        };
        let mut node = Node::start("node-1", folder, cluster, &settings).await;
        node.load(&image.archive);
        let aws = node.open(port_of(moto.url())).await;
        let traces = node.open(port_of(jaeger.grpc_endpoint())).await;
        let traces = format!("tracing.endpoint=http://{traces}");
        release::install(
            cluster,
            folder,
            &format!("http://{aws}"),
            &Identity::AccessKey,
            &["--set", &traces],
        );

        let deployment = format!("deployment/{OPERATOR_SERVICE_ACCOUNT}");
        let kubectl = |arguments: &[&str]| {
            let mut command = Command::new(part("kubectl"));
            command.args(["--namespace", OPERATOR_NAMESPACE]).args(arguments);
            command.env("KUBECONFIG", cluster.kubeconfig());
            command.env("KUBECACHEDIR", folder.join("kubectl-cache"));
            command
        };
        let log = kubectl(&["logs", "--follow", "--prefix", "--all-pods", &deployment]);
        let port = free_port();
        let forward = kubectl(&["port-forward", &deployment, &format!("{port}:http")]);
        Self {
            url: format!("http://127.0.0.1:{port}"),
            _processes: vec![
                Process::start("operator", folder, &log),
                Process::start("port-forward", folder, &forward),
                scheduler,
            ],
            _node: Some(node),
        }
    }
}

fn port_of(url: &str) -> u16 {
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
    port.expect("a URL with a port")
}
