//! The operator as a process.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::control_plane::OPERATOR_NAMESPACE;
use super::free_port;
use super::process::Process;

/// How the operator is started: its cluster, and the environment that gives it an AWS identity.
pub struct OperatorCommand {
    command: Command,
    http_address: String,
}

impl OperatorCommand {
    /// The built operator, living by a kubeconfig, with its HTTP server on a free port and no AWS identity yet.
    pub fn new(kubeconfig: &Path, aws_endpoint: &str) -> Self {
        Self::of(&binary(), kubeconfig, aws_endpoint)
    }

    /// The same of another binary.
    pub fn of(program: &Path, kubeconfig: &Path, aws_endpoint: &str) -> Self {
        let http_address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", kubeconfig)
            .env("AWS_ENDPOINT_URL", aws_endpoint)
            .env("AWS_REGION", "eu-west-1")
            .env("HTTP_ADDRESS", &http_address)
            // As the chart sets it: the Lease is there, and the rights to it.
            .env("POD_NAMESPACE", OPERATOR_NAMESPACE)
            // There is no instance metadata here, and nobody is to be asked for it.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("RUST_BACKTRACE", "1");
        Self { command, http_address }
    }

    /// Started by another program that takes these arguments and then its own.
    #[must_use]
    pub fn started_by(mut self, program: &Path, arguments: &[String]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        self.command = command;
        self
    }

    /// With arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[String]) -> Self {
        self.command.args(arguments);
        self
    }

    /// With one more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With an access key as its identity.
    #[must_use]
    pub fn with_access_key(self, id: &str, secret: &str) -> Self {
        self.env("AWS_ACCESS_KEY_ID", id).env("AWS_SECRET_ACCESS_KEY", secret)
    }

    /// With its traces sent to a collector, without much of a delay.
    #[must_use]
    pub fn with_traces(self, endpoint: &str, protocol: &str) -> Self {
        self.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
    }

    /// Where its HTTP server will be: a host and a port.
    pub fn http_address(&self) -> &str {
        &self.http_address
    }

    /// Starts it with its files in `folder`.
    pub fn start(&self, folder: &Path) -> Process {
        self.start_as("operator", folder)
    }

    /// Starts it with its files in `folder`, under a name.
    pub fn start_as(&self, name: &str, folder: &Path) -> Process {
        Process::start(name, folder, &self.command)
    }
}

/// The operator's binary, which Cargo puts beside the folder of the tests and examples that use it.
pub fn binary() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.parent().unwrap().parent().unwrap().join("aws-assume-role");
    assert!(path.exists(), "{} is missing: run cargo build", path.display());
    path
}
