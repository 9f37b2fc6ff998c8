//! The agent of EKS Pod Identity on the node, which gives out credentials to whoever shows the pod's token.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinHandle;

use super::operator::OperatorCommand;

const POD_TOKEN: &str = "a-projected-token-of-the-pod";

/// The agent.
pub struct PodIdentityAgent {
    url: String,
    token_file: PathBuf,
    given: Arc<Mutex<Given>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Given {
    credentials: String,
    times: usize,
}

impl PodIdentityAgent {
    /// Starts one that gives out a session: access key id, secret and token.
    pub async fn start(folder: &Path, session: &[String; 3]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/credentials", listener.local_addr().unwrap());
        let given = Arc::new(Mutex::new(Given::default()));
        let router = Router::new()
            .route("/v1/credentials", get(give))
            .with_state(given.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        let token_file = folder.join("eks-pod-identity-token");
        fs::write(&token_file, POD_TOKEN).unwrap();
        let agent = Self {
            url,
            token_file,
            given,
            server,
        };
        agent.give(session);
        agent
    }

    /// From now on it gives out another session.
    pub fn give(&self, [id, secret, token]: &[String; 3]) {
        let end = Timestamp::now() + SignedDuration::from_hours(6);
        self.given.lock().unwrap().credentials = json!({
            "AccessKeyId": id, "SecretAccessKey": secret, "Token": token, "Expiration": format!("{end:.0}"),
        })
        .to_string();
    }

    /// How often it was asked.
    pub fn times(&self) -> usize {
        self.given.lock().unwrap().times
    }

    /// An operator that has its identity from it.
    #[must_use]
    pub fn identify(&self, command: OperatorCommand) -> OperatorCommand {
        command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &self.url).env(
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            self.token_file.to_str().unwrap(),
        )
    }
}

impl Drop for PodIdentityAgent {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn give(State(given): State<Arc<Mutex<Given>>>, headers: HeaderMap) -> (StatusCode, String) {
    let mut given = given.lock().unwrap();
    given.times += 1;
    match headers.get("authorization").is_some_and(|token| token == POD_TOKEN) {
        true => (StatusCode::OK, given.credentials.clone()),
        false => (StatusCode::UNAUTHORIZED, String::new()),
    }
}
