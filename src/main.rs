//! Hands the command line to [`aws_assume_role::cli`].

use std::process::ExitCode;

use aws_assume_role::cli::Configuration;
use clap::Parser;

fn main() -> ExitCode {
    match Configuration::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aws-assume-role: {error}");
            ExitCode::FAILURE
        }
    }
}
