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
mod time;

use figures::Figures;
use life::Setting;

/// A month is millions of small objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

fn setting(seed: u64) -> Setting {
    Setting {
        seed,
        days: number("DAYS", 30),
        resources: usize::try_from(number("RESOURCES", 1000)).unwrap(),
    }
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
    let small = Setting {
        seed: 77,
        days: 2,
        resources: 40,
    };
    let (one, other) = (life::live(&small), life::live(&small));
    assert_eq!(one, other);
}
