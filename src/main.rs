//! Wires the operator: flags, clients, the supervisor, signals.

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_assume_role::aws::client::SdkAws;
use aws_assume_role::clock::SystemClock;
use aws_assume_role::cluster::client::{KubeCluster, connect};
use aws_assume_role::cluster::definition;
use aws_assume_role::configuration::{Command, Configuration, Operator};
use aws_assume_role::resource::AWSAssumeRole;
use aws_assume_role::supervisor::{Supervisor, SupervisorMessage, World};
use aws_assume_role::task::Task;
use aws_assume_role::telemetry::metrics::Metrics;
use aws_assume_role::telemetry::server::{self, Answer};
use aws_assume_role::telemetry::{self, traces::Traces};
use clap::Parser;
use futures::FutureExt;
use kube::CustomResourceExt;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef};
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

fn print_crd() -> Result<(), Failure> {
    print!("{}", serde_saphyr::to_string(&AWSAssumeRole::crd())?);
    Ok(())
}

fn run(operator: &Operator) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let traces = {
        // The exporter's connection lives on the runtime.
        let _entered = runtime.enter();
        Traces::from_environment()
    };
    let (traces, refused) = match traces {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    telemetry::start(operator.log_format, traces.as_ref());
    telemetry::quiet_panics();
    if let Some(error) = refused {
        error!("there are no traces: {error}");
    }
    let result = runtime.block_on(operate(operator));
    if let Some(traces) = traces {
        traces.flush();
    }
    // A name that is being looked up would keep the process from ending.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn operate(operator: &Operator) -> Result<(), Failure> {
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let metrics = Metrics::default().with_process();
    let running = Arc::new(OnceLock::new());
    let address = operator.http_address;
    let _server = server::serve(address, metrics.clone(), ask(running.clone()))
        .await
        .map_err(|error| format!("{address} cannot be served: {error}. Choose another --http-address."))?;

    let client = connect().await?;
    let _definition = match operator.upgrade_crd {
        true => Some(upgrade_definition(client.clone()).await),
        false => None,
    };
    let world = World {
        aws: Arc::new(SdkAws::from_environment(metrics.clone()).await),
        cluster: Arc::new(KubeCluster::new(client, &operator.pod_name)),
        clock: Arc::new(SystemClock),
        limits: operator.limits(),
        metrics,
    };
    let (supervisor, mut ended) = Supervisor::spawn(None, Supervisor, world).await?;
    // It is set here only.
    let _ = running.set(supervisor.clone());

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

/// Asks the supervisor how things stand, once there is one.
fn ask(running: Arc<OnceLock<ActorRef<SupervisorMessage>>>) -> server::Ask {
    Arc::new(move || {
        let supervisor = running.get().cloned();
        async move {
            let Some(supervisor) = supervisor else {
                return Answer::Starting;
            };
            match supervisor.call(SupervisorMessage::Census, None).await {
                Ok(CallResult::Success(census)) => Answer::Census(census),
                _ => Answer::Gone,
            }
        }
        .boxed()
    })
}
