//! Real AWS SDKs as programs that run for long, each with a `File` and with a `CredentialProcess` Secret that a kubelet brings late, each
//! calling an AWS every second that refuses credentials that have expired.
//!
//! `make consumers` runs it and writes the tables of `docs/consumers.md`. It fails if a call with a `CredentialProcess` was refused. The
//! variable `LIFETIMES` says how many lifetimes of the credentials it takes.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod run;
mod table;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use run::{Outcome, Plan};
use serde_json::json;
use support::sdks::{Clock, Sdk};

/// How much faster the clock runs where an hour has to pass.
const FACTOR: u32 = 10;

#[tokio::main]
async fn main() -> ExitCode {
    let lifetimes = std::env::var("LIFETIMES").map_or(2, |text| text.parse().expect("LIFETIMES is a number"));
    let sdks: Vec<Sdk> = Sdk::ALL.into_iter().filter(|sdk| sdk.is_here()).collect();
    let default = Plan {
        name: "default",
        sdks: sdks.clone(),
        spec: json!({}),
        lifetime: Duration::from_secs(900),
        lifetimes,
        clock: Clock::machine(),
        pause: Duration::from_secs(1),
        shells: true,
    };
    let hour = Plan {
        name: "3600",
        sdks: sdks.into_iter().filter(|sdk| sdk.lives_by_libc()).collect(),
        spec: json!({"durationSeconds": 3600}),
        lifetime: Duration::from_secs(3600),
        lifetimes,
        clock: Clock::faster(FACTOR),
        pause: Duration::from_secs(u64::from(FACTOR)),
        shells: false,
    };
    assert!(
        has_faketime(),
        "libfaketime is missing (Debian: apt-get install libfaketime)"
    );
    let (default, hour) = tokio::join!(default.run(), hour.run());
    let text = format!("{}\n{}", table::of_default(&default), table::of_hour(&hour));
    println!("{text}");
    table::write(&support::root().join("docs/consumers.md"), &text);
    match [&default, &hour].into_iter().all(proved) {
        true => ExitCode::SUCCESS,
        false => {
            eprintln!("Not every call with a CredentialProcess went well.");
            ExitCode::FAILURE
        }
    }
}

/// Whether no call with a `CredentialProcess` was refused or failed, by the programs and by AWS.
fn proved(outcome: &Outcome) -> bool {
    println!("AWS: {:?} {:?}", outcome.file, outcome.process);
    let programs = outcome.rows.iter().map(|row| row.process.refused).sum::<u64>();
    let failed = outcome.rows.iter().any(|row| row.process.failed > 0);
    programs <= outcome.process.under_way && outcome.process.refused == outcome.process.under_way && !failed
}

fn has_faketime() -> bool {
    std::fs::read_dir("/usr/lib")
        .unwrap()
        .flatten()
        .any(|entry| Path::new(&entry.path()).join("faketime/libfaketimeMT.so.1").exists())
}
