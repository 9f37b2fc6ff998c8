use std::net::SocketAddr;

use support::certificates::Authority;
use support::fixtures::map_spec;
use support::forward_proxy::ForwardProxy;
use support::jaeger::Jaeger;
use support::operator::OperatorCommand;
use support::wait_for;
use support::world::{PATIENCE, World};

/// Nobody knows this name but the proxy.
const HOST: &str = "collector.example";

/// A proxy that leads to where a Jaeger takes OTLP over HTTP.
async fn before(jaeger: &Jaeger) -> (ForwardProxy, u16) {
    let (_, port) = jaeger.http_endpoint().rsplit_once(':').unwrap();
    let port = port.parse().unwrap();
    (
        ForwardProxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await,
        port,
    )
}

async fn a_trace_arrives(world: &mut World, jaeger: &Jaeger, change: impl FnOnce(OperatorCommand) -> OperatorCommand) {
    world.start_operator_with(change);
    world.apply("traced", &map_spec("traced")).unwrap();
    world.ready("traced").await;
    wait_for("the trace", PATIENCE, async || {
        let traces = jaeger.traces("aws-assume-role", &[]).await;
        (!traces.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_plain_http_by_its_whole_address() {
    let mut world = World::without_operator().await;
    let jaeger = Jaeger::start(world.folder()).await;
    let (proxy, port) = before(&jaeger).await;
    a_trace_arrives(&mut world, &jaeger, |command| {
        command
            .with_traces(&format!("http://{HOST}:{port}"), "http/protobuf")
            .env("HTTP_PROXY", proxy.url())
            .env("NO_PROXY", "127.0.0.1")
    })
    .await;
    let asked = proxy.asked();
    let whole = format!("POST http://{HOST}:{port}/v1/traces ");
    assert!(asked.iter().all(|line| line.starts_with(&whole)), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_tls_by_a_tunnel() {
    let mut world = World::without_operator().await;
    let authority = Authority::new(&world.folder().join("authority"));
    let jaeger = Jaeger::start_with_tls(world.folder(), &authority).await;
    let (proxy, port) = before(&jaeger).await;
    let own = authority.issue("operator");
    let trusted = authority.certificate();
    a_trace_arrives(&mut world, &jaeger, |command| {
        command
            .with_traces(jaeger.http_endpoint(), "http/protobuf")
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted.to_str().unwrap())
            .env(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                own.certificate.to_str().unwrap(),
            )
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", own.key.to_str().unwrap())
            .env("HTTPS_PROXY", proxy.url())
            // The API server is at home.
            .env("NO_PROXY", "127.0.0.1")
    })
    .await;
    let asked = proxy.asked();
    let tunnel = format!("CONNECT localhost:{port} ");
    assert!(asked.iter().all(|line| line.starts_with(&tunnel)), "{asked:?}");
}
