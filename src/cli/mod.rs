//! The command line: flags and environment variables, with defaults that work. Where the cluster is follows from a kubeconfig or the pod's
//! ServiceAccount, and everything of AWS from AWS's own variables.

mod crd;
mod run;

use clap::{Args, Parser, Subcommand};

use std::net::SocketAddr;

use crate::aws::gate::Limits;
use crate::spec::names::is_namespace;
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

    /// Where to serve /metrics, /livez and /readyz.
    #[arg(long, env = "HTTP_ADDRESS", default_value = "[::]:8080")]
    pub http_address: SocketAddr,

    /// The name of this instance of the operator, shown in events and in the Lease: the pod's.
    #[arg(long, env = "POD_NAME", default_value = "aws-assume-role")]
    pub pod_name: String,

    /// Whether it acts only while it holds a Lease, so that one of several replicas does at a time. Without it, it must be the only one.
    #[arg(long, env = "LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,

    /// The name of the Lease.
    #[arg(
        long,
        env = "LEADER_ELECTION_LEASE_NAME",
        default_value = "aws-assume-role-controller"
    )]
    pub leader_election_lease_name: String,

    /// The namespace of the Lease: the pod's. Default: that of the operator's ServiceAccount, or else of the kubeconfig.
    #[arg(long, env = "POD_NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// Whether to bring the custom resource definition up to this version's at the start, if that is allowed.
    #[arg(long, env = "UPGRADE_CRD", default_value_t = true, action = clap::ArgAction::Set)]
    pub upgrade_crd: bool,

    /// The namespaces to work in, with commas between them: each is watched by itself, so that rights in it are enough. Default: all.
    #[arg(long, env = "WATCH_NAMESPACES", default_value = "", hide_default_value = true, value_parser = namespaces)]
    pub watch_namespaces: Namespaces,

    /// The most calls to AWS per second, for each service, Region and account. Fewer go out while AWS throttles.
    #[arg(long, env = "AWS_CALL_RATE", default_value_t = 50.0, value_parser = positive)]
    pub aws_call_rate: f64,

    /// The most calls to AWS at the same time, for each service, Region and account.
    #[arg(long, env = "AWS_CALL_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub aws_call_concurrency: u16,

    /// Whether the operator may take its own credentials from EC2 instance metadata, which gives those of the node. Its Region may come from
    /// there in any case.
    #[arg(long, env = "AWS_INSTANCE_METADATA", default_value_t = true, action = clap::ArgAction::Set)]
    pub instance_metadata: bool,
}

impl Configuration {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever keeps it from doing so, in words for people.
    pub fn execute(&self) -> Result<(), Box<dyn std::error::Error>> {
        match self.command {
            Some(Command::Crd) => crd::print(),
            None => run::run(&self.operator),
        }
    }
}

impl Operator {
    /// The most that is asked of AWS.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            rate: self.aws_call_rate,
            concurrency: self.aws_call_concurrency.into(),
        }
    }
}

/// Names of namespaces, each once, in their order. None stands for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces(pub Vec<String>);

fn namespaces(text: &str) -> Result<Namespaces, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let mut all = Vec::new();
    for name in names {
        if !is_namespace(name) {
            return Err(format!("{name} is not the name of a namespace"));
        }
        if !all.iter().any(|other| other == name) {
            all.push(name.to_owned());
        }
    }
    Ok(Namespaces(all))
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.1..=10_000.0).contains(&number) => Ok(number),
        _ => Err("give a number from 0.1 to 10000".to_owned()),
    }
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
        assert_eq!(plain.operator.watch_namespaces.0, [""; 0]);
    }

    #[test]
    fn namespaces_are_names_with_commas_between_them() {
        let of = |text: &str| namespaces(text).map(|namespaces| namespaces.0);
        assert_eq!(of(" team-b, a,,team-b "), Ok(vec!["team-b".to_owned(), "a".to_owned()]));
        for bad in ["Team", "a.b", "-a", "a/b", "a,*", &"a".repeat(64)] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let all = Configuration::try_parse_from(["aws-assume-role", "--watch-namespaces", ""]).unwrap();
        assert_eq!(all.operator.watch_namespaces.0, [""; 0]);
    }
}
