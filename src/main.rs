//! Wires the operator: flags, clients, the supervisor, signals.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_assume_role::aws::client::SdkAws;
use aws_assume_role::clock::SystemClock;
use aws_assume_role::cluster::client::KubeCluster;
use aws_assume_role::cluster::definition;
use aws_assume_role::configuration::{Command, Configuration, Operator};
use aws_assume_role::resource::AWSAssumeRole;
use aws_assume_role::supervisor::{Supervisor, World};
use aws_assume_role::task::Task;
use aws_assume_role::telemetry::logs;
use clap::Parser;
use kube::CustomResourceExt;
use ractor::Actor;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{error, info};

/// How long stopping may take before the process ends regardless. Within a pod's grace period of 30 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the start waits for the custom resource definition to be brought up to date.
const DEFINITION_PATIENCE: Duration = Duration::from_secs(10);

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let configuration = Configuration::parse();
    let result = match configuration.command {
        Some(Command::Crd) => print_crd(),
        None => run(&configuration.operator),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("aws-assume-role: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Brings the custom resource definition up to date before any status is written, which an older one would not take whole. An API server
/// that is away is not waited for: the task goes on trying.
async fn upgrade_definition(client: kube::Client) -> Task {
    let (done, upgraded) = oneshot::channel();
    let task = Task::spawn(async move {
        definition::upgrade(client).await;
        let _ = done.send(());
    });
    let _ = tokio::time::timeout(DEFINITION_PATIENCE, upgraded).await;
    task
}

/// A client that leaves it to the operator when to try again.
async fn client() -> Result<kube::Client, Failure> {
    let mut config = kube::Config::infer().await?;
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

fn print_crd() -> Result<(), Failure> {
    print!("{}", serde_saphyr::to_string(&AWSAssumeRole::crd())?);
    Ok(())
}

fn run(operator: &Operator) -> Result<(), Failure> {
    logs::start(operator.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(operate(operator));
    // A name that is being looked up would keep the process from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn operate(operator: &Operator) -> Result<(), Failure> {
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let client = client().await?;
    let _definition = match operator.upgrade_crd {
        true => Some(upgrade_definition(client.clone()).await),
        false => None,
    };
    let world = World {
        aws: Arc::new(SdkAws::from_environment().await),
        cluster: Arc::new(KubeCluster::new(client)),
        clock: Arc::new(SystemClock),
        limits: operator.limits(),
    };
    let (supervisor, mut ended) = Supervisor::spawn(None, Supervisor, world).await?;

    tokio::select! {
        _ = terminate.recv() => info!("told to stop"),
        _ = interrupt.recv() => info!("told to stop"),
        _ = &mut ended => {
            error!("the supervisor ended");
            return Err("the supervisor ended by itself".into());
        }
    }
    supervisor.stop_and_wait(None, Some(STOP_TIMEOUT)).await?;
    info!("stopped");
    Ok(())
}
