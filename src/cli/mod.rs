//! The command line: flags and environment variables, with defaults that work. Where the cluster is follows from a kubeconfig or the pod's
//! ServiceAccount, and everything of AWS from AWS's own variables.

mod crd;
mod doctor;
mod run;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use std::net::SocketAddr;
use std::process::ExitCode;

use crate::aws::gate::Limits;
use crate::operator::boundary::Tenancy;
use crate::refresh::policy::UnlistedNamespaces;
use crate::refresh::withdrawal::WhenWithdrawn;
use crate::spec::names::is_namespace;
use crate::telemetry::logs::LogFormat;
pub use crd::Definition;
pub use doctor::{Doctor, Output};

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
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Prints a custom resource definition as YAML.
    Crd {
        /// Which one.
        #[arg(value_enum, default_value_t)]
        definition: Definition,
    },
    /// Says why a role does not work, or what would keep it from working: looks at the cluster, the operator's rights, its AWS identity, and a
    /// resource or a role. It changes nothing and prints no credential. It ends with 1 if something is wrong.
    ///
    /// In the operator's pod it goes by the operator's own command line and environment. On a laptop it goes by a kubeconfig and by the AWS
    /// identity there, and says whose rights it speaks of.
    Doctor(Doctor),
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

    /// What a namespace may have that no AWSAssumeRolePolicy names: everything, or nothing.
    #[arg(long, global = true, env = "UNLISTED_NAMESPACES", ignore_case = true, default_value = "Allow", value_parser = unlisted_namespaces())]
    pub unlisted_namespaces: UnlistedNamespaces,

    /// What becomes of a Secret whose role is not permitted any more: its credentials stay until they expire, and then it is emptied, or it is
    /// deleted at once.
    #[arg(long, env = "WHEN_WITHDRAWN", ignore_case = true, default_value = "Expire", value_parser = when_withdrawn())]
    pub when_withdrawn: WhenWithdrawn,

    /// The name of the cluster. With it, roles are assumed with the external id k8s:<cluster>:<namespace> where the spec gives none, and a trust
    /// policy can ask for that.
    #[arg(long, global = true, env = "CLUSTER_NAME", value_parser = cluster_name)]
    pub cluster_name: Option<String>,

    /// The namespaces to work in, with commas between them: each is watched by itself, so that rights in it are enough. Default: all.
    #[arg(long, global = true, env = "WATCH_NAMESPACES", default_value = "", hide_default_value = true, value_parser = namespaces)]
    pub watch_namespaces: Namespaces,

    /// The most calls to AWS per second, for each service, Region and account. Fewer go out while AWS throttles.
    #[arg(long, env = "AWS_CALL_RATE", default_value_t = 50.0, value_parser = positive)]
    pub aws_call_rate: f64,

    /// The most calls to AWS at the same time, for each service, Region and account.
    #[arg(long, env = "AWS_CALL_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub aws_call_concurrency: u16,

    /// Whether the operator may take its own credentials from EC2 instance metadata, which gives those of the node. Its Region may come from
    /// there in any case.
    #[arg(long, global = true, env = "AWS_INSTANCE_METADATA", default_value_t = true, action = clap::ArgAction::Set)]
    pub instance_metadata: bool,
}

impl Configuration {
    /// Does what the command line says.
    ///
    /// # Errors
    /// Whatever keeps it from doing so, in words for people.
    pub fn execute(&self) -> Result<ExitCode, Box<dyn std::error::Error>> {
        match &self.command {
            Some(Command::Crd { definition }) => crd::print(*definition)?,
            Some(Command::Doctor(doctor)) => return doctor::run(doctor),
            None => run::run(&self.operator)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Operator {
    /// How tenants are kept apart.
    #[must_use]
    pub fn tenancy(&self) -> Tenancy {
        Tenancy {
            unlisted_namespaces: self.unlisted_namespaces,
            when_withdrawn: self.when_withdrawn,
            cluster_name: self.cluster_name.clone(),
        }
    }

    /// The most that is asked of AWS.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            rate: self.aws_call_rate,
            concurrency: self.aws_call_concurrency.into(),
        }
    }
}

fn unlisted_namespaces() -> impl TypedValueParser<Value = UnlistedNamespaces> {
    PossibleValuesParser::new(["Allow", "Deny"]).map(|word| match word.eq_ignore_ascii_case("deny") {
        true => UnlistedNamespaces::Deny,
        false => UnlistedNamespaces::Allow,
    })
}

fn when_withdrawn() -> impl TypedValueParser<Value = WhenWithdrawn> {
    PossibleValuesParser::new(["Expire", "Delete"]).map(|word| match word.eq_ignore_ascii_case("delete") {
        true => WhenWithdrawn::Delete,
        false => WhenWithdrawn::Expire,
    })
}

/// The longest name of a cluster: EKS allows 100, and an external id has 1224 characters.
const CLUSTER_NAME_MAX: usize = 256;

/// An external id has `[\w+=,.@:\/-]*`. A colon would let one cluster's name look like another's with a namespace behind it.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
fn cluster_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&byte);
    match (1..=CLUSTER_NAME_MAX).contains(&text.len()) && text.bytes().all(allowed) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "give up to {CLUSTER_NAME_MAX} letters, digits and _ + = , . @ / -, as in prod-1"
        )),
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
        assert_eq!(plain.operator.tenancy().external_id("team"), None);
    }

    #[test]
    fn how_tenants_are_kept_apart_is_said_in_words() {
        let parse = |arguments: &[&str]| {
            let arguments = ["aws-assume-role"].iter().chain(arguments);
            Configuration::try_parse_from(arguments).map(|configuration| configuration.operator.tenancy())
        };
        let tenancy = parse(&[
            "--unlisted-namespaces=Deny",
            "--when-withdrawn=Delete",
            "--cluster-name=prod-1",
        ])
        .unwrap();
        assert_eq!(tenancy.unlisted_namespaces, UnlistedNamespaces::Deny);
        assert_eq!(tenancy.when_withdrawn, WhenWithdrawn::Delete);
        assert_eq!(tenancy.external_id("team").as_deref(), Some("k8s:prod-1:team"));
        assert!(parse(&["--unlisted-namespaces=Perhaps"]).is_err());
        for name in ["prod:team", "", "pröd", "a b"] {
            assert!(parse(&[&format!("--cluster-name={name}")]).is_err(), "{name}");
        }
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
