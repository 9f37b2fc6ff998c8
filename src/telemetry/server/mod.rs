//! The operator's HTTP server: `/metrics` for Prometheus, `/livez` and `/readyz` for the kubelet.
//!
//! Whoever reaches the port can ask as much as they like: connections are bounded in number and in time ([`connections`]), the metrics are
//! written once for all who ask at the same time ([`scrapes`]), and a probe asks nobody ([`Health`]).

mod connections;
mod scrapes;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use self::scrapes::Scrapes;
use super::health::Health;
use super::metrics::Metrics;
use super::snapshot::Snapshot;

/// Asks the supervisor how things stand. It gives no answer before it is started and after it is gone.
pub type Ask = Arc<dyn Fn() -> BoxFuture<'static, Option<Snapshot>> + Send + Sync>;

/// Serves until the task is dropped.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    health: Health,
    ask: Ask,
) -> io::Result<AbortOnDropHandle<()>> {
    let listener = listen(address).await?;
    info!(address = %listener.local_addr()?, "serving /metrics, /livez and /readyz");
    let scrapes = Scrapes::new(metrics, ask);
    let accept = connections::accept(listener, router(scrapes.clone(), health));
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::join!(accept, scrapes.let_go());
    })))
}

fn router(scrapes: Scrapes, health: Health) -> Router {
    let probes = Router::new()
        .route("/livez", get(is_alive))
        .route("/readyz", get(is_ready))
        .with_state(health);
    let metrics = Router::new().route("/metrics", get(metrics_text)).with_state(scrapes);
    probes.merge(metrics)
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

async fn metrics_text(State(scrapes): State<Scrapes>) -> Response {
    scrapes.answer().await
}

async fn is_alive(State(health): State<Health>) -> (StatusCode, String) {
    probed(health.alive())
}

async fn is_ready(State(health): State<Health>) -> (StatusCode, String) {
    probed(health.ready())
}

fn probed(result: Result<&'static str, String>) -> (StatusCode, String) {
    match result {
        Ok(word) => (StatusCode::OK, format!("{word}\n")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
