//! Hands the command line to [`aws_assume_role::cli`].

use std::process::ExitCode;

use aws_assume_role::cli::Configuration;
use clap::Parser;

/// It gives memory back that ten thousand first cycles took, where the C library's keeps most of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Configuration::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aws-assume-role: {error}");
            ExitCode::FAILURE
        }
    }
}
