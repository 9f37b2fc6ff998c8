//! How much one operator carries: many resources on a real API server, against the strict AWS. `make bench` runs it. Machines are noisy:
//! the ratios are worth more than the numbers.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::{Duration, Instant};

use aws_assume_role::api::AWSAssumeRole;
use k8s_openapi::jiff::SignedDuration;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use support::fixtures::{list, map_spec, resource, role_arn, with};
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::world::{World, condition};

/// How many scrapes are measured.
const SCRAPES: usize = 10;

#[tokio::main]
async fn main() {
    let number: usize = std::env::var("RESOURCES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2000);
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let aws_server = HttpServer::start(aws.clone()).await;
    {
        let command = world
            .operator_command_for(aws_server.url())
            .env("AWS_CALL_RATE", "1000")
            .env("RUST_LOG", "warn");
        world.run_operator(&command);
        tokio::time::sleep(Duration::from_secs(15)).await;
        memory(&world, "idle");
        drop(world.operator.take());
        if number == 0 {
            return;
        }
    }
    println!("making {number} resources ...");
    for chunk in (0..number).collect::<Vec<_>>().chunks(500) {
        let resources = chunk.iter().map(|index| {
            let name = format!("many-{index}");
            aws.add_role(&role_arn(&name), open_role());
            resource(&name, &with(map_spec(&name), &json!({"durationSeconds": 43200})))
        });
        let resources = list(&resources.collect::<Vec<_>>()).to_string();
        let made = world
            .cluster
            .kubectl_with(&["create", "--validate=false", "-f", "-"], &resources);
        assert!(made.status.success());
    }

    let command = world
        .operator_command_for(aws_server.url())
        .env("AWS_CALL_RATE", "1000")
        .env("RUST_LOG", "warn");
    let started = Instant::now();
    world.run_operator(&command);
    all_ready(&world, number).await;
    report(
        "from nothing to a Secret each and a status that says so",
        number,
        started.elapsed(),
        &world,
    );

    memory(&world, "full");
    tokio::time::sleep(Duration::from_secs(10)).await;
    memory(&world, "full10");
    scrape(&world).await;
    memory(&world, "scraped");

    let calls = aws.calls().len();
    drop(world.operator.take());
    let started = Instant::now();
    world.run_operator(&command);
    // Idle is when the processor time does not grow any more.
    let mut before = u64::MAX;
    while processor_ticks(&world) != before {
        before = processor_ticks(&world);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    report(
        "a restart, until all are known again",
        number,
        started.elapsed(),
        &world,
    );
    memory(&world, "restart");
    println!("calls to AWS by the restart: {}", aws.calls().len() - calls);
}

async fn all_ready(world: &World, number: usize) {
    let api: Api<AWSAssumeRole> = Api::all(world.cluster.client());
    loop {
        let all = api.list(&ListParams::default()).await.unwrap();
        let ready =
            |resource: &&AWSAssumeRole| condition(resource, "Ready").is_some_and(|ready| ready.status == "True");
        if all.items.iter().filter(ready).count() == number {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// What Prometheus asks for every half a minute.
async fn scrape(world: &World) {
    let ticks = processor_ticks(world);
    let started = Instant::now();
    let mut length = 0;
    for _ in 0..SCRAPES {
        length = world.metrics().await.len();
    }
    println!(
        "a scrape of /metrics: {} KiB in {:.0} ms, {:.0} ms of processor",
        length / 1024,
        started.elapsed().as_secs_f64() * 1000.0 / SCRAPES as f64,
        (processor_ticks(world) - ticks) as f64 * 10.0 / SCRAPES as f64
    );
}

fn report(what: &str, number: usize, took: Duration, world: &World) {
    let seconds = took.as_secs_f64();
    println!(
        "{what}: {number} in {seconds:.1} s, {:.0} a second; operator {} MiB resident, {:.1} s of processor",
        number as f64 / seconds,
        resident_kib(world) / 1024,
        processor_ticks(world) as f64 / 100.0
    );
}

fn resident_kib(world: &World) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.operator.as_ref().unwrap().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn processor_ticks(world: &World) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", world.operator.as_ref().unwrap().pid())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn memory(world: &World, label: &str) {
    let pid = world.operator.as_ref().unwrap().pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or("")
            .trim()
            .to_owned()
    };
    println!(
        "MEM {label}: rss {} anon {} file {} threads {} hwm {} ticks {}",
        of("VmRSS:"),
        of("RssAnon:"),
        of("RssFile:"),
        of("Threads:"),
        of("VmHWM:"),
        processor_ticks(world)
    );
    if let Ok(folder) = std::env::var("SMAPS") {
        fs::write(
            format!("{folder}.{label}.smaps"),
            fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap(),
        )
        .unwrap();
    }
}
