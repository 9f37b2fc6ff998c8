//! What the end-to-end tests, the bench, the local environment and the simulation share: a real control plane, moto, Jaeger, Prometheus,
//! the operator as a process, and an AWS that is as strict as the real one. Everything started here ends with the process that started it,
//! however that one ends.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

pub mod aws_proxy;
pub mod bad_input;
pub mod certificates;
pub mod consumers;
pub mod control_plane;
pub mod etcd;
pub mod fixtures;
pub mod forward_proxy;
pub mod http;
pub mod instance_metadata;
pub mod jaeger;
pub mod moto;
pub mod node;
pub mod operator;
pub mod pod_identity;
pub mod process;
pub mod prometheus;
pub mod registry;
pub mod replica;
pub mod sdks;
pub mod strict_aws;
pub mod tcp_proxy;
pub mod tls_front;
pub mod traces;
pub mod world;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The root of the repository.
pub fn root() -> PathBuf {
    // Cargo tells what it runs where it is. What it told the compiler may be another clone, which shares with this one what is built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut folders = Path::new(&package).ancestors();
    let root = folders.find(|folder| folder.join("Cargo.lock").exists());
    root.expect("a workspace around its packages").to_owned()
}

/// A program that `tests/controlplane/build` put in place.
pub fn part(program: &str) -> PathBuf {
    let path = root().join("target/parts/bin").join(program);
    assert!(
        path.exists(),
        "{} is missing: run tests/controlplane/build, or make test",
        path.display()
    );
    path
}

/// A TCP port that was free a moment ago, and that no other call in this process gets. It lies below those from which the kernel takes the
/// ports of outgoing connections, one of which could take it before it is used.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    // Processes that run beside each other begin at other places.
    let start = std::process::id().wrapping_mul(1_009);
    for _ in 0..COUNT {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(number) % COUNT;
        let port = u16::try_from(port).expect("a port below 32000");
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of the loopback address is free");
}

/// Asks again and again until there is an answer, and gives up loudly.
pub async fn wait_for<T>(what: &str, at_most: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            started.elapsed() < at_most,
            "waited {} s in vain: {what}",
            at_most.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
