//! The connections to the API server, and for how long one may be silent.
//!
//! A connection can die without a word: a balancer or a NAT forgets it, or the other side takes a request and never answers. Nobody closes it
//! then. So whatever is waited for has a limit here, and no connection is used again that has been idle for more than a moment.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::Builder;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::{ClientBuilder, ConfigExt};
use tower::util::MapResponseLayer;
use tower::{BoxError, ServiceBuilder};
use tracing::Span;

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
    // It also chooses the cryptography for the process, on which the other way depends.
    let by_kube = ClientBuilder::try_from(config.clone())?;
    if config.proxy_url.is_some() {
        // How to speak to a proxy is kube's knowledge. Idle connections live as long as a silent one there.
        return Ok(by_kube.with_layer(&MapResponseLayer::new(record_status)).build());
    }
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_keepalive(Some(KEEPALIVE));
    http.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    http.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(http)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client = Builder::new(TokioExecutor::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_timer(TokioTimer::new())
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(ClientBuilder::new(service, config.default_namespace)
        .with_layer(&MapResponseLayer::new(record_status))
        .build())
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
    /// What is named cannot be used.
    #[error("the cluster that is named cannot be used: {0}")]
    Unusable(#[from] kube::Error),
}
