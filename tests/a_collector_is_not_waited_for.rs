use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use support::fixtures::{map_spec, role_arn};
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::wait_for;
use support::world::{PATIENCE, World};

const RESOURCES: usize = 50;
const ROUNDS: usize = 20;

/// A collector that takes connections and never answers.
struct SilentCollector {
    address: String,
    received: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl SilentCollector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let received = Arc::new(AtomicUsize::new(0));
        let counter = received.clone();
        let server = tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let counter = counter.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(1..) = connection.read(&mut bytes).await.inspect(|read| {
                        counter.fetch_add(*read, Ordering::SeqCst);
                    }) {}
                });
            }
        });
        Self {
            address,
            received,
            server,
        }
    }
}

impl Drop for SilentCollector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn number(metrics: &str, series: &str) -> f64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series));
    value.map_or(0.0, |value| value.trim().parse().unwrap())
}

async fn a_thousand_refreshes_past_a_silent_collector(protocol: &str) {
    let mut world = World::without_operator().await;
    let collector = SilentCollector::start().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let aws_server = HttpServer::start(aws.clone()).await;
    let command = world
        .operator_command_for(aws_server.url())
        .with_traces(&format!("http://{}", collector.address), protocol)
        .env("AWS_CALL_RATE", "1000")
        // Whoever waited for it would wait for longer than this test.
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000")
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "256")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64");
    world.run_operator(&command);

    let names: Vec<_> = (0..RESOURCES).map(|index| format!("many-{index}")).collect();
    for name in &names {
        aws.add_role(&role_arn(name), open_role());
    }
    world.create_maps(&names);

    let issued = r#"aws_assume_role_refreshes_total{outcome="issued",reason="Issued"}"#;
    let mut resident = Vec::new();
    for round in 1..=ROUNDS {
        let expected = (RESOURCES * round) as f64;
        let metrics = wait_for(&format!("round {round}"), PATIENCE, async || {
            let metrics = world.metrics().await;
            (number(&metrics, issued) >= expected).then_some(metrics)
        })
        .await;
        resident.push(number(&metrics, "process_resident_memory_bytes"));
        world.request_refresh("--all", &round.to_string());
    }
    let metrics = world.metrics().await;
    assert_eq!(
        number(&metrics, r#"aws_assume_role_resources{state="ready"}"#),
        RESOURCES as f64
    );
    assert!(collector.received.load(Ordering::SeqCst) > 20, "nothing was sent to it");
    // Ten thousand spans that nobody takes would be tens of megabytes.
    let grown = (resident[ROUNDS - 1] - resident[ROUNDS / 4]) / 1_048_576.0;
    println!("{protocol}: {grown:.1} MiB more after {} refreshes", RESOURCES * ROUNDS);
    assert!(grown < 16.0, "{grown} MiB: {resident:?}");

    // It does not hold up the end either: a pod has 30 seconds.
    let operator = world.operator.as_mut().unwrap();
    operator.signal("TERM");
    let ended = tokio::time::timeout(Duration::from_secs(25), async {
        while operator.is_running() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ended.await.expect("the end of the operator");
    assert!(operator.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_over_grpc_delays_no_refresh() {
    a_thousand_refreshes_past_a_silent_collector("grpc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_over_http_delays_no_refresh() {
    a_thousand_refreshes_past_a_silent_collector("http/protobuf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_there_is_told_of_once_and_a_wrong_protocol_with_what_is_right() {
    let mut world = World::without_operator().await;
    world.start_operator_with(|command| {
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("OTEL_BSP_SCHEDULE_DELAY", "100")
    });
    let spec = map_spec("alone");
    world.apply("alone", &spec).unwrap();
    world.ready("alone").await;
    let reports = |world: &World| world.operator_log().matches("traces are not exported").count();
    wait_for("the report", PATIENCE, async || (reports(&world) > 0).then_some(())).await;
    for round in 0..3 {
        world.request_refresh("alone", &round.to_string());
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    assert_eq!(reports(&world), 1, "{}", world.operator_log());

    drop(world.operator.take());
    world.start_operator_with(|command| {
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")
    });
    wait_for("the report", PATIENCE, async || {
        world
            .operator_log()
            .contains("set it to grpc or http/protobuf")
            .then_some(())
    })
    .await;
    world.apply("more", &map_spec("more")).unwrap();
    world.ready("more").await;
}
