//! Hands the command line to [`aws_assume_role::cli`].

use std::process::ExitCode;

use aws_assume_role::cli::Configuration;
use clap::Parser;

/// It gives memory back that many resources at once needed for a moment.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match Configuration::parse().execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("aws-assume-role: {error}");
            ExitCode::FAILURE
        }
    }
}
