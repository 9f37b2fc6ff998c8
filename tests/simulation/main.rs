//! Months of the operator's life in seconds: its very actors and deciding code under a virtual clock, against the strict AWS in this
//! process and an API server in memory, which fail by a plan that follows from a seed. Every promise is checked all along.
//!
//! `cargo test --test simulation -- --nocapture` runs a fixed set of seeds and prints what they did. In the environment: `SEEDS` (how many),
//! `FIRST_SEED`, `DAYS`, `RESOURCES`.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod api_server;
mod checks;
mod figures;
mod life;
mod place;
mod process;
mod time;

use aws_assume_role::aws::gate::Limits;
use figures::Figures;
use life::{Day, Setting};

/// A month is millions of small objects.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn setting(seed: u64) -> Setting {
    let resources = usize::try_from(number("RESOURCES", 1000)).unwrap();
    Setting::new(seed, number("DAYS", 30), resources)
}

#[test]
fn every_promise_holds_in_every_life() {
    let first = number("FIRST_SEED", 1);
    let mut all = Figures::default();
    for seed in first..first + number("SEEDS", 2) {
        let started = std::time::Instant::now();
        let figures = life::live(&setting(seed));
        println!("seed {seed}: {figures} ({:.1} s)", started.elapsed().as_secs_f64());
        all.add(&figures);
    }
    println!("all: {all}");
    assert!(all.refreshes > 1000, "the simulation did nothing: {all}");
    assert!(all.injected() > 100, "hardly anything went wrong: {all}");
}

#[test]
fn a_seed_gives_the_same_life_again() {
    let small = Setting::new(77, 2, 40);
    let (one, other) = (life::live(&small), life::live(&small));
    assert_eq!(one, other);
}

#[test]
fn credentials_that_end_at_the_gate_show_in_the_status() {
    let narrow = Setting {
        limits: Limits {
            rate: 10.0,
            concurrency: 1,
        },
        durations: Some(900),
        ..Setting::new(7, 1, 60)
    };
    let figures = life::wait_at_the_gate(&narrow);
    println!("at the gate: {figures}");
    let shown = figures.statuses.get("Throttled").copied().unwrap_or_default();
    assert!(shown > 100, "hardly any status said so: {figures}");
}

#[test]
fn a_narrow_limit_leaves_no_gap_and_a_while_without_aws_none_that_lasts() {
    const AWAY: u64 = 600;
    // By default, half of such a lifetime.
    const OVERLAP: i64 = 450;
    let plain = Day {
        resources: 400,
        lifetime: 900,
        length: 3 * 3600,
        limit: None,
        away: None,
    };
    let figures = life::a_day(&plain);
    println!("plain: {figures:?}");
    assert!(figures.refreshes > 8000, "hardly anything was refreshed");
    assert!(figures.smallest_margin >= OVERLAP - 2);

    let limited = Day {
        limit: Some(1.1 * figures.mean),
        ..plain.clone()
    };
    let figures = life::a_day(&limited);
    println!("with a limit of {:?}: {figures:?}", limited.limit);
    assert!(figures.throttled > 0, "the limit was never reached");
    assert!(
        figures.smallest_margin > 0,
        "credentials ended before they were replaced"
    );

    let away = Day {
        away: Some(5400..5400 + AWAY),
        ..plain
    };
    let figures = life::a_day(&away);
    println!("without AWS for {AWAY} s: {figures:?}");
    let gap = -figures.smallest_margin;
    assert!(gap > 0, "AWS was not away");
    assert!(
        gap <= AWAY.cast_signed() - OVERLAP + 60,
        "there were no credentials for {gap} s"
    );
}
