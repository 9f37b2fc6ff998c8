//! The operator's HTTP server: `/metrics` for Prometheus, `/livez` and `/readyz` for the kubelet.
//!
//! Whoever reaches the port can ask as much as they like: connections are bounded in number and in time ([`connections`]), the metrics are
//! written once for all who ask at the same time ([`scrapes`]), and a probe asks nobody ([`Health`]).

mod connections;
mod scrapes;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
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
    let pages = Pages::new(metrics, health, ask);
    let scrapes = pages.scrapes.clone();
    let accept = connections::accept(listener, pages);
    Ok(AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::join!(accept, scrapes.let_go());
    })))
}

/// What an answer consists of.
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What there is to see.
#[derive(Clone)]
struct Pages {
    health: Health,
    scrapes: Scrapes,
}

impl Pages {
    fn new(metrics: Metrics, health: Health, ask: Ask) -> Self {
        let scrapes = Scrapes::new(metrics, ask);
        Self { health, scrapes }
    }

    async fn answer<B>(&self, request: Request<B>) -> Response<Body> {
        let path = request.uri().path();
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return text(StatusCode::NOT_FOUND, "");
        }
        // hyper leaves the body of an answer to HEAD out.
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "");
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
            return refused;
        }
        match path {
            "/livez" => probed(self.health.alive()),
            "/readyz" => probed(self.health.ready()),
            _ => self.scrapes.answer().await,
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()).boxed_unsync());
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
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

fn probed(result: Result<&'static str, String>) -> Response<Body> {
    match result {
        Ok(word) => text(StatusCode::OK, format!("{word}\n")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}
