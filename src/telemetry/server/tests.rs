//! With real sockets: what one client does must not cost another its answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::connections::CONNECTIONS;
use super::*;
use crate::aws::gate::GateStanding;
use crate::refresh::standing::{Standing, State as ResourceState};
use crate::spec::ResourceKey;
use crate::telemetry::health::{Heartbeat, WatchHealth};

/// What the kubelet allows a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// One whose supervisor takes its time, and knows so many resources.
    async fn start(resources: usize) -> Self {
        let health = Health::default();
        let (listed, heard) = (true, Instant::now());
        let watch = |watch| WatchHealth { watch, listed, heard };
        health.beat(Heartbeat {
            at: heard,
            watches: [watch("resources"), watch("Secrets")],
            policies_listed: true,
        });
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let ask: Ask = Arc::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some(snapshot(resources))
            }
            .boxed()
        });
        let listener = listen(([127, 0, 0, 1], 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Pages::new(Metrics::default(), health, ask);
        let task = AbortOnDropHandle::new(tokio::spawn(connections::accept(listener, pages)));
        Self {
            address,
            asked,
            _task: task,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends a request and gives the whole answer.
    async fn get(&self, path: &str) -> String {
        let mut stream = self.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn probe(&self) {
        for path in ["/livez", "/readyz"] {
            let answer = timeout(PROBE_TIMEOUT, self.get(path)).await.unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nok\n"),
                "{answer}"
            );
        }
    }
}

fn snapshot(resources: usize) -> Snapshot {
    let now = Timestamp::UNIX_EPOCH;
    let resource = |number| {
        let key = ResourceKey {
            name: format!("resource-{number}").into(),
            uid: format!("uid-{number}").into(),
            ..crate::spec::fixtures::key()
        };
        let standing = Standing {
            state: ResourceState::Ready,
            ready: true,
            expiration: Some(now),
            issued: Some(now),
            due: Some(now),
            ..Standing::default()
        };
        (key, standing)
    };
    Snapshot {
        actors: resources,
        now,
        skew_seconds: 0,
        gate: GateStanding {
            waiting: 0,
            in_flight: 0,
            rate: 50.0,
        },
        rulings: [("permitted", 1), ("unlisted", 0), ("denied", 0), ("unknown", 0)],
        watches: [("resources", now), ("secrets", now)],
        unwatched_scopes: 0,
        resources: (0..resources).map(resource).collect(),
    }
}

/// Whether the other side closes the connection in time.
async fn is_closed(stream: &mut TcpStream, at_most: Duration) -> bool {
    let mut bytes = [0; 1024];
    let closed = async { while let Ok(1..) = stream.read(&mut bytes).await {} };
    timeout(at_most, closed).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_for_the_metrics_cost_no_probe_and_one_look_at_the_resources() {
    let server = Arc::new(Server::start(500).await);
    let started = Instant::now();
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { server.get("/metrics").await })
        })
        .collect();
    server.probe().await;
    for answer in flood {
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{}", answer.lines().next().unwrap());
        assert!(answer.contains(r#"aws_assume_role_credentials_valid{name="resource-499""#));
    }
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let asked = server.asked.load(Ordering::SeqCst);
    assert!(asked <= seconds + 1, "asked {asked} times in {seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_cost_no_probe() {
    let server = Server::start(1).await;
    let mut silent = Vec::new();
    for number in 0..2 * CONNECTIONS {
        let mut stream = server.connect().await;
        // Half of them begin a request that never ends.
        if number % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: o").await.unwrap();
        }
        silent.push(stream);
    }
    server.probe().await;
    // The oldest made room, and the newest do not stay either.
    assert!(is_closed(&mut silent[0], Duration::from_secs(1)).await);
    let newest = silent.last_mut().unwrap();
    assert!(is_closed(newest, Duration::from_secs(7)).await);
    server.probe().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_the_answer_is_not_waited_for() {
    // More than the buffers of a connection hold.
    let server = Server::start(40_000).await;
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: operator\r\n\r\n")
            .await
            .unwrap();
        readers.push(stream);
    }
    server.probe().await;
    tokio::time::sleep(Duration::from_secs(16)).await;
    server.probe().await;
    let answer = server.get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{}", answer.lines().next().unwrap());
    for mut reader in readers {
        assert!(is_closed(&mut reader, Duration::from_secs(5)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_small_get_is_refused() {
    let server = Server::start(1).await;
    let long = format!("/livez?{}", "x".repeat(100_000));
    let mut stream = server.connect().await;
    let _ = stream
        .write_all(format!("GET {long} HTTP/1.1\r\n\r\n").as_bytes())
        .await;
    assert!(is_closed(&mut stream, Duration::from_secs(7)).await);

    let mut stream = server.connect().await;
    let endless = b"POST /metrics HTTP/1.1\r\nHost: operator\r\nContent-Length: 9999999999\r\n\r\nx";
    stream.write_all(endless).await.unwrap();
    let mut answer = vec![0; 1024];
    let length = timeout(PROBE_TIMEOUT, stream.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(is_closed(&mut stream, Duration::from_secs(16)).await);
    server.probe().await;
}

/// As Prometheus does it: several requests on one connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_more_than_one_request() {
    let server = Server::start(1).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: operator\r\n\r\n")
            .await
            .unwrap();
        let mut answer = vec![0; 1024];
        let length = timeout(PROBE_TIMEOUT, stream.read(&mut answer)).await.unwrap().unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    }
}
