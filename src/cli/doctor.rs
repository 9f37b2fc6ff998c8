//! `aws-assume-role doctor`: why a role does not work.
//!
//! It has to know how the operator is set up. `kubectl exec` starts it with the container's environment and without its arguments, so those are
//! read from the operator itself: it is the container's first process. On a laptop the operator's Deployment tells.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, ValueEnum};

use super::{Configuration, Operator};
use crate::cluster::inquiry::{Deployed, ServiceAccountName};
use crate::doctor::examination::{Question, Settings, Source, examine};
use crate::doctor::target::Target;

/// The operator in its container.
const FIRST_PROCESS: u32 = 1;

/// What to look at, and how to show it.
#[derive(Clone, Debug, Args)]
pub struct Doctor {
    /// A resource, as in my-app or team-a/my-app, or the ARN of a role. Without it only the operator and what is around it are looked at.
    #[arg(value_name = "RESOURCE | ROLE")]
    pub target: Option<String>,

    /// The namespace of the resource, or the one that a resource with the role would be in. Default for a resource: that of the kubeconfig, or
    /// of the pod.
    #[arg(long, short)]
    pub namespace: Option<String>,

    /// The operator's ServiceAccount, where this is run by somebody else: NAMESPACE/NAME. Default: the only one of the chart's name that is found.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub service_account: Option<ServiceAccountName>,

    /// Lines for people, or one JSON object.
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// How the result is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object: `checks`, each with `name`, `outcome` (`ok`, `failed` or `unknown`), `message` and `advice`.
    Json,
}

pub(super) fn run(doctor: &Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let namespace = doctor.namespace.as_deref();
    let target = doctor.target.as_deref().map(|text| Target::parse(text, namespace));
    let own = Configuration::command().try_get_matches_from(std::env::args_os())?;
    let running = operators_arguments();
    let operator = merged(Configuration::command(), running.as_deref().unwrap_or_default(), &own)?;
    let question = Question {
        settings: settings(
            &operator,
            match running {
                Some(_) => Source::RunningOperator,
                None => Source::Command,
            },
        ),
        service_account: doctor.service_account.clone(),
        target: target.transpose()?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let settings_of = |deployed: &Deployed| {
        // Its variables are arguments now. Those of this shell are not its own.
        let command = Configuration::command().mut_args(|argument| argument.env(None::<&'static str>));
        if depends_on_elsewhere(deployed) {
            return None;
        }
        let operator = merged(command, &arguments_in(deployed), &own).ok()?;
        Some(settings(&operator, Source::Deployment(deployed.name.clone())))
    };
    let report = runtime.block_on(examine(question, &settings_of));
    // A name that is being looked up would keep the process from ending.
    runtime.shutdown_background();
    match doctor.output {
        Output::Text => print!("{}", report.text()),
        Output::Json => println!("{}", report.json()?),
    }
    Ok(match report.is_healthy() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn settings(operator: &Operator, source: Source) -> Settings {
    let namespace = operator.leader_election_namespace.clone();
    let namespace = namespace.filter(|namespace| !namespace.is_empty());
    let lease = (namespace, operator.leader_election_lease_name.clone());
    Settings {
        source,
        tenancy: operator.tenancy(),
        watch_namespaces: operator.watch_namespaces.0.clone(),
        upgrades_definition: operator.upgrade_crd,
        lease: operator.leader_election.then_some(lease),
        instance_metadata: operator.instance_metadata,
    }
}

/// The arguments of the operator that is the first process here, if that is one: the same program, without a subcommand.
fn operators_arguments() -> Option<Vec<OsString>> {
    if std::process::id() == FIRST_PROCESS {
        return None;
    }
    let command_line = fs::read(format!("/proc/{FIRST_PROCESS}/cmdline")).ok()?;
    let own = std::env::current_exe().ok()?;
    arguments_of(&command_line, own.file_name()?)
}

/// The arguments in a command line of `/proc`, if it is one of an operator.
fn arguments_of(command_line: &[u8], program: &OsStr) -> Option<Vec<OsString>> {
    let text = command_line.strip_suffix(b"\0").unwrap_or(command_line);
    let mut words = text
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()));
    let first = words.next()?;
    (Path::new(&first).file_name()? == program).then(|| words.collect())
}

/// Whether a setting of the operator has its value in a ConfigMap or the like. Those that the chart takes from the pod are none that matter.
fn depends_on_elsewhere(deployed: &Deployed) -> bool {
    let command = Configuration::command();
    let mut settings = command
        .get_arguments()
        .filter_map(|argument| argument.get_env()?.to_str());
    settings.any(|name| !name.starts_with("POD_") && deployed.elsewhere.iter().any(|other| other == name))
}

/// The arguments that a container is started with, and before them what its variables say, as arguments.
fn arguments_in(deployed: &Deployed) -> Vec<OsString> {
    let command = Configuration::command();
    let variables = command.get_arguments().filter_map(|argument| {
        let value = deployed.environment.get(argument.get_env()?.to_str()?)?;
        Some(format!("--{}={value}", argument.get_long()?))
    });
    let variables: Vec<String> = variables.collect();
    let arguments = variables.iter().chain(&deployed.arguments);
    arguments.map(OsString::from).collect()
}

/// How the operator runs: by its own arguments, unless this command is given others, and by the environment, which both have.
fn merged(command: clap::Command, running: &[OsString], own: &ArgMatches) -> Result<Operator, clap::Error> {
    let command = command.args_override_self(true);
    let mut words = vec![OsString::from("aws-assume-role")];
    words.extend_from_slice(running);
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let given =
            matches!(own.try_contains_id(id), Ok(true)) && own.value_source(id) == Some(ValueSource::CommandLine);
        let Some(flag) = argument.get_long().filter(|_| given) else {
            continue;
        };
        for value in own.get_raw(id).into_iter().flatten() {
            let word = [b"--", flag.as_bytes(), b"=", value.as_bytes()].concat();
            words.push(OsString::from_vec(word));
        }
    }
    let matches = command.try_get_matches_from(words)?;
    Operator::from_arg_matches(&matches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Command;
    use clap::Parser;

    fn operator(running: &[&str], own: &[&str]) -> Operator {
        let running: Vec<OsString> = running.iter().map(OsString::from).collect();
        let words = ["aws-assume-role"].iter().chain(own);
        let own = Configuration::command().try_get_matches_from(words).unwrap();
        merged(Configuration::command(), &running, &own).unwrap()
    }

    #[test]
    fn the_operators_arguments_count_unless_others_are_given() {
        let running = [
            "--cluster-name=prod",
            "--unlisted-namespaces",
            "Deny",
            "--http-address=[::]:8081",
        ];
        let found = operator(
            &running,
            &["doctor", "team/app", "--watch-namespaces=team", "-o", "json"],
        );
        assert_eq!(found.cluster_name.as_deref(), Some("prod"));
        assert_eq!(
            found.unlisted_namespaces,
            crate::refresh::policy::UnlistedNamespaces::Deny
        );
        assert_eq!(found.watch_namespaces.0, ["team"]);
        let found = operator(&running, &["--upgrade-crd=false", "doctor", "--cluster-name", "test"]);
        assert_eq!(
            (found.cluster_name.as_deref(), found.upgrade_crd),
            (Some("test"), false)
        );
        assert_eq!(operator(&[], &["doctor"]).cluster_name, None);
    }

    #[test]
    fn what_a_deployment_says_counts_as_the_operators_arguments() {
        let deployed = Deployed {
            name: "operator".to_owned(),
            arguments: vec!["--cluster-name=prod".to_owned()],
            elsewhere: vec!["POD_NAME".to_owned()],
            environment: [
                ("UNLISTED_NAMESPACES", "Deny"),
                ("CLUSTER_NAME", "test"),
                ("AWS_REGION", "eu-west-1"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        };
        assert!(!depends_on_elsewhere(&deployed));
        let from_config_map = Deployed {
            elsewhere: vec!["CLUSTER_NAME".to_owned()],
            ..deployed.clone()
        };
        assert!(depends_on_elsewhere(&from_config_map));
        let running = arguments_in(&deployed);
        let running: Vec<&str> = running.iter().map(|word| word.to_str().unwrap()).collect();
        let found = operator(&running, &["doctor"]);
        assert_eq!(found.cluster_name.as_deref(), Some("prod"));
        assert_eq!(
            found.unlisted_namespaces,
            crate::refresh::policy::UnlistedNamespaces::Deny
        );
        let found = operator(&running, &["doctor", "--unlisted-namespaces=Allow"]);
        assert_eq!(
            found.unlisted_namespaces,
            crate::refresh::policy::UnlistedNamespaces::Allow
        );
    }

    #[test]
    fn the_operator_is_known_by_its_program() {
        let of = |text: &[u8]| arguments_of(text, OsStr::new("aws-assume-role"));
        let arguments = of(b"/usr/local/bin/aws-assume-role\0--cluster-name=prod\0--log-format\0json\0").unwrap();
        assert_eq!(arguments, ["--cluster-name=prod", "--log-format", "json"]);
        assert_eq!(of(b"aws-assume-role\0"), Some(Vec::new()));
        for other in [&b"/sbin/init\0"[..], b"/pause\0", b"", b"\0"] {
            assert_eq!(of(other), None);
        }
    }

    #[test]
    fn flags_of_the_operator_may_stand_behind_the_subcommand() {
        let words = [
            "aws-assume-role",
            "doctor",
            "app",
            "-n",
            "team",
            "--unlisted-namespaces=Deny",
        ];
        let parsed = Configuration::try_parse_from(words).unwrap();
        assert_eq!(
            parsed.operator.unlisted_namespaces,
            crate::refresh::policy::UnlistedNamespaces::Deny
        );
        let Some(Command::Doctor(doctor)) = parsed.command else {
            panic!("another command");
        };
        assert_eq!(
            (doctor.target.as_deref(), doctor.namespace.as_deref()),
            (Some("app"), Some("team"))
        );
        assert_eq!(doctor.output, Output::Text);
    }
}
