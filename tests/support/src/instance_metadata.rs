//! Instance metadata of EC2, which names the node's Region and gives out the credentials of the node's role.
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinHandle;

use super::free_port;
use super::operator::OperatorCommand;

/// The node's Region.
pub const REGION: &str = "eu-central-1";

/// Instance metadata.
pub struct InstanceMetadata {
    port: u16,
    /// How often it was asked for credentials.
    times: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Node {
    credentials: Option<String>,
    times: Arc<AtomicUsize>,
}

impl InstanceMetadata {
    /// That of a node without a role.
    pub async fn start_at(port: u16) -> Self {
        Self::serve(port, None).await
    }

    /// That of a node with a role, of which it gives out a session: access key id, secret and token.
    pub async fn of_a_role([id, secret, token]: [&str; 3]) -> Self {
        let end = Timestamp::now() + SignedDuration::from_hours(6);
        let credentials = json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": id, "SecretAccessKey": secret, "Token": token,
            "LastUpdated": format!("{:.0}", Timestamp::now()), "Expiration": format!("{end:.0}"),
        });
        Self::serve(free_port(), Some(credentials.to_string())).await
    }

    async fn serve(port: u16, credentials: Option<String>) -> Self {
        let times = Arc::new(AtomicUsize::new(0));
        let node = Node {
            credentials,
            times: times.clone(),
        };
        let mut router = Router::new()
            .route("/latest/api/token", put(token))
            .route("/latest/meta-data/placement/region", get(async || REGION));
        if node.credentials.is_some() {
            router = router
                .route("/latest/meta-data/iam/security-credentials/", get(async || "node"))
                .route("/latest/meta-data/iam/security-credentials/node", get(give));
        }
        let router = router.with_state(node);
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { port, times, server }
    }

    /// How often it was asked for credentials.
    pub fn times(&self) -> usize {
        self.times.load(Ordering::SeqCst)
    }

    /// An operator on that node.
    #[must_use]
    pub fn on_the_node(&self, command: OperatorCommand) -> OperatorCommand {
        on_a_node(command, self.port)
    }
}

impl Drop for InstanceMetadata {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An operator on a node whose instance metadata is at that port.
#[must_use]
pub fn on_a_node(command: OperatorCommand, port: u16) -> OperatorCommand {
    command
        .env("AWS_EC2_METADATA_DISABLED", "false")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://127.0.0.1:{port}"))
}

async fn token() -> ([(&'static str, &'static str); 1], &'static str) {
    ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "a-token")
}

async fn give(State(node): State<Node>) -> String {
    node.times.fetch_add(1, Ordering::SeqCst);
    node.credentials.unwrap_or_default()
}
