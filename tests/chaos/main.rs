//! Faults on the real parts: operators as processes, a real control plane and the strict AWS over HTTP, all of which fail by a plan that follows
//! from a seed, while people make resources, change and delete them. An observer that only reads says what must not be.
//!
//! `make chaos SEED=1 MINUTES=30 REPLICAS=2` runs it and prints what was done and what was found.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod audit;
mod fault;
mod faults;
mod hands;
mod judge;
mod observer;
mod operators;
mod plan;
mod record;
mod report;
mod weather;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use support::control_plane::ControlPlane;
use support::strict_aws::StrictAws;
use support::strict_aws::http::HttpServer;
use support::tcp_proxy::TcpProxy;

use audit::Audit;
use faults::World;
use hands::Hands;
use judge::Moment;
use observer::Observer;
use operators::Operator;
use plan::{Plan, Setting};
use record::Record;
use weather::Weather;

/// How long AWS's sessions last here, so that minutes see many of them. The overlap is half of it.
const LIFETIME: Duration = Duration::from_secs(90);

/// How long everything must be as it should at the end, one look after the other.
const AT_REST: Duration = Duration::from_secs(12);

/// The longest that is waited for that. What is still wrong is found before.
const REST_MAX: Duration = Duration::from_secs(600);

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).unwrap_or_default();
    match text.as_str() {
        "" => default,
        text => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_promise_holds_in_the_chaos() {
    let setting = Setting {
        seed: number("SEED", 1),
        length: Duration::from_secs(60 * number("MINUTES", 2)),
        replicas: usize::try_from(number("REPLICAS", 2)).unwrap(),
    };
    println!(
        "seed {}, {} minutes, {} operators",
        setting.seed,
        setting.length.as_secs() / 60,
        setting.replicas
    );
    let folder = folder(&setting);
    let findings = run(&setting, folder.clone()).await;
    match findings {
        0 => drop(std::fs::remove_dir_all(folder)),
        number => panic!("{number} findings; the files are in {}", folder.display()),
    }
}

/// The files of a run, which stay if something is found.
fn folder(setting: &Setting) -> PathBuf {
    let folder = support::root().join(format!("target/chaos/{}", setting.seed));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

async fn run(setting: &Setting, folder: PathBuf) -> usize {
    let plan = Plan::new(setting);
    let cluster = ControlPlane::start(&folder).await;
    let client = cluster.unverified_client().await;
    let clock = Arc::new(AtomicI64::new(0));
    let apart = clock.clone();
    let aws = StrictAws::new(move || Timestamp::now() + SignedDuration::from_secs(apart.load(Ordering::SeqCst)));
    aws.shorten_sessions(LIFETIME);
    let server = HttpServer::start(aws.clone()).await;
    let aws_line = TcpProxy::start(server.address.port()).await;
    let aws_endpoint = format!("http://127.0.0.1:{}", aws_line.port());

    let record = Record::new(LIFETIME);
    let weather = Weather::over(&aws, setting.seed, &record);
    let mut operators = Vec::new();
    for number in 0..setting.replicas {
        let name = format!("chaos-{number}");
        operators.push(Operator::start(&name, (&cluster, &client), &aws_endpoint, &folder, &record).await);
    }
    let observer = Observer {
        client: client.clone(),
        aws: aws.clone(),
        weather: weather.clone(),
        audit: Audit::new(&folder),
        record: record.clone(),
        operators: operators
            .iter()
            .map(|operator| (operator.name.clone(), operator.url()))
            .collect(),
    };
    let hands = Hands::begin(client.clone(), aws.clone(), record.clone()).await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let observing = tokio::spawn(observer.watch(stopped));
    let working = tokio::spawn(hands.work(plan.deeds));
    let mut world = World {
        cluster,
        client,
        aws,
        weather,
        aws_line,
        clock,
        operators,
        record: record.clone(),
    };

    world.suffer(&plan.faults, setting.length).await;
    working.await.unwrap();
    record.tell("all is healed, and nobody does anything any more");
    come_to_rest(&mut world).await;
    let _ = stop.send(());
    let mut observer = observing.await.unwrap();

    for operator in &mut world.operators {
        for panic in operator.panics() {
            record.fail(&operator.name, &format!("{} panicked: {panic}", operator.name));
        }
        operator.terminate();
        while !operator.has_stopped() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    observer.follow();
    report::print(&record, &observer.audit, &world.aws);
    record.state().findings.len()
}

/// Waits until everything is as it should be and stays so for a moment, or has been found to be wrong.
async fn come_to_rest(world: &mut World) {
    let started: Moment = world.record.now();
    let mut at_rest_since = started;
    loop {
        world.rest().await;
        let now = world.record.now();
        let open: Vec<String> = world.record.state().conditions.open().collect();
        if !open.is_empty() {
            at_rest_since = now;
        }
        if now - at_rest_since > AT_REST {
            let took = at_rest_since - started;
            world
                .record
                .tell(&format!("all is as it should be, {} s after that", took.as_secs()));
            return;
        }
        if now - started > REST_MAX {
            world
                .record
                .fail("the end", &format!("it does not come to rest: {open:?}"));
            return;
        }
    }
}
