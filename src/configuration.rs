//! Flags and environment variables, with defaults that work: where the cluster is follows from a kubeconfig or the pod's ServiceAccount,
//! and everything of AWS from AWS's own variables.

use clap::{Args, Parser, Subcommand};

use crate::telemetry::logs::LogFormat;

/// Keeps Kubernetes Secrets filled with short-lived AWS credentials.
///
/// Without a subcommand it runs the operator. The cluster is taken from KUBECONFIG, ~/.kube/config or the pod's ServiceAccount;
/// the operator's own AWS identity from EKS Pod Identity, IRSA, an instance profile, a profile or the AWS environment variables.
#[derive(Clone, Debug, Parser)]
#[command(version, about, long_about)]
pub struct Configuration {
    /// What to do instead of running the operator.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run it.
    #[command(flatten)]
    pub operator: Operator,
}

/// What the program does instead of running the operator.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Prints the custom resource definition as YAML.
    Crd,
}

/// How the operator runs.
#[derive(Clone, Debug, Args)]
pub struct Operator {
    /// The form of the log lines. RUST_LOG sets the level: info by default, aws_assume_role=debug for more.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent_and_none_is_needed() {
        Configuration::command().debug_assert();
        let plain = Configuration::try_parse_from(["aws-assume-role"]).unwrap();
        assert!(plain.command.is_none());
    }
}
