//! The connections to the API server, and for how long one may be silent.
//!
//! A connection can die without a word: a balancer or a NAT forgets it, or the other side takes a request and never answers. Nobody closes it
//! then. So whatever is waited for has a limit here, and no connection is used again that has been idle for more than a moment.

use std::time::Duration;

use http::{Request, Uri};
use http_body_util::BodyExt;
use hyper_timeout::TimeoutConnector;
use kube::Client;
use kube::client::{Body, ClientBuilder, ConfigExt};
use tower::util::MapResponseLayer;
use tower::{BoxError, ServiceBuilder};
use tracing::Span;

use crate::transport::{self, Way};

/// How long it may take to connect, the handshake of TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent while an answer is due, and how long the other side may take nothing. A standing watch is silent for
/// less ([`super::watch`]).
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection is kept for the next call. The calls of a cycle follow each other at once, so more brings nothing, and one that died
/// meanwhile would cost the next call its whole time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// After so long without a word the kernel asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The pause between two such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How many of them may stay without an answer.
const KEEPALIVE_RETRIES: u32 = 3;

/// A client for the cluster of the environment, that leaves it to the operator when to try again, and records the HTTP status of each answer
/// on the span of who asked.
///
/// # Errors
/// When the environment names no cluster, or one that cannot be spoken to.
pub async fn connect() -> Result<Client, ConnectError> {
    let mut config = kube::Config::infer().await?;
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(SILENCE_TIMEOUT);
    config.write_timeout = Some(SILENCE_TIMEOUT);
    // Otherwise the idle time before a call would count as well.
    config.reset_reader_on_write = true;
    let mut http = transport::plain();
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let way = match &config.proxy_url {
        Some(proxy) if is_http(proxy) => Way::tunnel(proxy, config.rustls_https_connector_with_connector(http)?),
        Some(_) => return Err(ConnectError::Proxy),
        None => Way::direct(http),
    };
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(way)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .map_request(|request: Request<Body>| request.map(|body| body.map_err(BoxError::from).boxed_unsync()))
        .service(transport::client(connector, IDLE_TIMEOUT));
    Ok(ClientBuilder::new(service, config.default_namespace)
        .with_layer(&MapResponseLayer::new(record_status))
        .build())
}

/// Whether it is the address of a proxy that speaks HTTP, with TLS or without.
fn is_http(proxy: &Uri) -> bool {
    proxy.host().is_some() && matches!(proxy.scheme_str(), Some("http" | "https"))
}

fn record_status<B>(response: http::Response<B>) -> http::Response<B> {
    // A number only in this width: the others reach OpenTelemetry as text.
    Span::current().record("http.response.status_code", i64::from(response.status().as_u16()));
    response
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No kubeconfig, and no pod's ServiceAccount.
    #[error("no cluster is named: set KUBECONFIG, or run in a pod: {0}")]
    Unnamed(#[from] kube::config::InferConfigError),
    /// Its proxy does not speak HTTP. The address is not told: it may hold a password.
    #[error(
        "the proxy of the cluster is no HTTP proxy: set HTTPS_PROXY, or proxy-url in the kubeconfig, to http://host:port"
    )]
    Proxy,
    /// What is named cannot be used.
    #[error("the cluster that is named cannot be used: {0}")]
    Unusable(#[from] kube::Error),
}
