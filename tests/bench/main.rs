//! What one operator carries, and what it costs: on a real API server, against the strict AWS, each measure beside a floor that is measured
//! in the same run. Machines are noisy: the ratios are worth more than the numbers.
//!
//! `make bench` measures all and writes `docs/benchmarks.md`; [`settings`] lists what can be set. `make bench-quick` only counts.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod burst;
mod by_hand;
mod day;
mod expected;
mod first_secret;
mod ground;
mod growth;
mod processes;
mod quick;
mod release;
mod report;
mod settings;
mod slow_call;
mod standing;
mod table;
mod takeover;
mod watches;

// The world of the simulation, for the days.
#[allow(dead_code, unused_imports)]
#[path = "../simulation/api_server/mod.rs"]
mod api_server;
#[allow(dead_code)]
#[path = "../simulation/checks/mod.rs"]
mod checks;
#[allow(dead_code)]
#[path = "../simulation/figures.rs"]
mod figures;
#[allow(dead_code, unused_imports)]
#[path = "../simulation/life/mod.rs"]
mod life;
#[allow(dead_code)]
#[path = "../simulation/place.rs"]
mod place;
#[allow(dead_code)]
#[path = "../simulation/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../simulation/time.rs"]
mod time;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use futures::FutureExt;
use ground::Subject;
use settings::Settings;
use table::Table;

/// A day is millions of small objects.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {
            if !on_runtime(measure(&Settings::from_environment())) {
                eprintln!("Not everything could be measured, so docs/benchmarks.md is as it was.");
                return ExitCode::FAILURE;
            }
        }
        ["quick"] => {
            if !on_runtime(quick::check()) {
                eprintln!("The counts are not as tests/bench/expected.rs has them.");
                return ExitCode::FAILURE;
            }
        }
        ["takeover"] => on_runtime(takeover::measure()),
        // In a runtime of its own, whose clock is paused.
        ["day", day] => day::live(day),
        _ => {
            eprintln!("say nothing, quick or takeover");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// Says what is going on, and since when.
fn progress(what: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    println!("[{:>4} s] {what}", START.get_or_init(Instant::now).elapsed().as_secs());
}

/// Measures all, and says whether all could be measured. What fails costs only its own rows.
async fn measure(settings: &Settings) -> bool {
    progress("beginning");
    let (binary, times) = match &settings.binary {
        Some(binary) => (binary.clone(), None),
        None => {
            let (binary, times) = release::build();
            (binary, Some(times))
        }
    };
    let subjects = subjects(settings, binary);
    let last = subjects.len() - 1;
    let mut table = Table::new(subjects.iter().map(|subject| subject.name).collect());
    let mut all = true;
    for run in 1..=first_secret::RUNS {
        for (column, subject) in subjects.iter().enumerate() {
            let measured = attempt(first_secret::measure(&mut table, column, subject, run)).await;
            all &= measured.is_some();
        }
    }
    for (column, subject) in subjects.iter().enumerate() {
        let floors = attempt(burst::floors(subject, settings)).await;
        all &= floors.is_some();
        let floors = floors.unwrap_or_default();
        let few = attempt(growth::measure(&mut table, column, subject, settings, &floors)).await;
        all &= few.is_some();
        let mut held = few.unwrap_or_default();
        let many = burst::measure(&mut table, column, subject, settings, &floors, &mut held);
        all &= attempt(many).await.is_some();
        release::size(&mut table, column, &subject.binary);
    }
    if let Some(times) = times {
        times.put(&mut table, last);
    }
    // It is this code that lives them, whatever else was measured.
    all &= day::measure(&mut table, last, settings);
    report::print(&table);
    if all {
        report::write(&table, settings);
    }
    all
}

/// What came of a measure, if it did not fail.
async fn attempt<T>(measure: impl Future<Output = T>) -> Option<T> {
    let done = AssertUnwindSafe(measure).catch_unwind().await.ok();
    if done.is_none() {
        progress("this could not be measured");
    }
    done
}

/// The operators that are measured: the one of this code last.
fn subjects(settings: &Settings, binary: std::path::PathBuf) -> Vec<Subject> {
    let this = Subject {
        name: if settings.other.is_some() { "after" } else { "measured" },
        binary,
        definition: None,
        arguments: Vec::new(),
        any_right: settings.other.is_some(),
        call_rate: settings.call_rate.clone(),
    };
    let other = settings.other.as_ref().map(|other| Subject {
        name: "before",
        binary: other.binary.clone(),
        definition: other.definition.clone(),
        arguments: other.arguments.clone(),
        any_right: true,
        call_rate: settings.call_rate.clone(),
    });
    other.into_iter().chain([this]).collect()
}
