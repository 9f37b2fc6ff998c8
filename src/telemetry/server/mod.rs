//! The operator's HTTP server: `/metrics` for Prometheus, `/livez` and `/readyz` for the kubelet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::metrics::{self, Metrics};
use super::snapshot::Snapshot;

/// How long the supervisor may take to answer before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the supervisor says when it is asked.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It has not been started yet.
    Starting,
    /// How things stand.
    Snapshot(Snapshot),
    /// Nothing: it is gone.
    Gone,
}

/// Asks the supervisor.
pub type Ask = Arc<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>;

#[derive(Clone)]
struct Sources {
    metrics: Metrics,
    ask: Ask,
}

impl Sources {
    async fn ask(&self) -> Answer {
        let answer = tokio::time::timeout(PATIENCE, (self.ask)()).await;
        answer.unwrap_or(Answer::Gone)
    }
}

/// Serves until the task is dropped.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(address: SocketAddr, metrics: Metrics, ask: Ask) -> io::Result<AbortOnDropHandle<()>> {
    let listener = listen(address).await?;
    info!(address = %listener.local_addr()?, "serving /metrics, /livez and /readyz");
    let router = Router::new()
        .route("/metrics", get(metrics_text))
        .route("/livez", get(is_alive))
        .route("/readyz", get(is_ready))
        .with_state(Sources { metrics, ask });
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            error!(%error, "the HTTP server ended");
        }
    })))
}

/// All addresses of a machine without IPv6 are those of IPv4.
async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.is_ipv6() && address.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        result => result,
    }
}

async fn metrics_text(State(sources): State<Sources>) -> impl IntoResponse {
    let snapshot = match sources.ask().await {
        Answer::Snapshot(snapshot) => Some(snapshot),
        Answer::Starting | Answer::Gone => None,
    };
    match sources.metrics.text(snapshot.as_ref()) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, metrics::TEXT)], text),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain")],
            error.to_string(),
        ),
    }
}

/// Alive is an operator whose supervisor answers. What AWS or the API server do is no reason to start it again.
async fn is_alive(State(sources): State<Sources>) -> (StatusCode, &'static str) {
    match sources.ask().await {
        Answer::Starting => (StatusCode::OK, "starting\n"),
        Answer::Snapshot(_) => (StatusCode::OK, "ok\n"),
        Answer::Gone => (StatusCode::SERVICE_UNAVAILABLE, "the supervisor does not answer\n"),
    }
}

/// Ready is an operator that knows all resources and all their Secrets.
async fn is_ready(State(sources): State<Sources>) -> (StatusCode, &'static str) {
    match sources.ask().await {
        Answer::Snapshot(snapshot) if snapshot.synced => (StatusCode::OK, "ok\n"),
        Answer::Snapshot(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the resources and their Secrets are not listed yet\n",
        ),
        Answer::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Answer::Gone => (StatusCode::SERVICE_UNAVAILABLE, "the supervisor does not answer\n"),
    }
}
