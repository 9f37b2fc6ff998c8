//! The local environment: `up` starts it, `demo` shows what the operator does in it. The Makefile calls it, and ends it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod demo;
mod environment;
mod operator;
mod pod;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let result = match std::env::args().nth(1).as_deref() {
        Some("up") => environment::up().map(|()| environment::tell()),
        Some("keep") => environment::keep().await,
        Some("demo") => demo::run().await,
        _ => Err("say up or demo".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n✗ {error}");
            ExitCode::FAILURE
        }
    }
}
