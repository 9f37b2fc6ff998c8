//! Runs the operator: wires clients, telemetry and the supervisor, and stops them on a signal.

use std::error::Error;
use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorRef};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::Operator;
use crate::aws::identity::KnownIdentity;
use crate::aws::sdk::SdkAws;
use crate::clock::SystemClock;
use crate::cluster::connection::{ConnectError, connect};
use crate::cluster::crd;
use crate::cluster::kube::KubeCluster;
use crate::cluster::lease::kube::KubeLease;
use crate::fence::Fence;
use crate::operator::boundary::Boundary;
use crate::operator::context::Context;
use crate::operator::leader::{Leader, LeaderArguments, identity};
use crate::operator::renderer::Renderer;
use crate::operator::supervisor::{Supervisor, SupervisorMessage};
use crate::telemetry;
use crate::telemetry::health::Health;
use crate::telemetry::measured_aws::MeasuredAws;
use crate::telemetry::measured_cluster::MeasuredCluster;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::server;
use crate::telemetry::traces::Traces;

/// The most threads for the runtime. Ten thousand resources keep not even one busy, and on a machine with many cores each takes memory.
const WORKERS_MAX: usize = 4;

/// How long stopping may take before the process ends regardless. Within a pod's grace period of 30 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the start waits for the custom resource definition to be brought up to date.
const CRD_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn run(operator: &Operator) -> Result<(), Box<dyn Error>> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(WORKERS_MAX))
        .enable_all()
        .build()?;
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

async fn operate(operator: &Operator) -> Result<(), Box<dyn Error>> {
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let metrics = Metrics::default().with_process();
    let health = Health::default();
    let running = Arc::new(OnceLock::new());
    let address = operator.http_address;
    let _server = server::serve(address, metrics.clone(), health.clone(), ask(running.clone()))
        .await
        .map_err(|error| format!("{address} cannot be served: {error}. Choose another --http-address."))?;

    let client = connect().await?;
    let _upgrade = match operator.upgrade_crd {
        true => Some(upgrade_crd(client.clone()).await),
        false => None,
    };
    let clock = Arc::new(SystemClock);
    let fence = match operator.leader_election {
        true => Fence::new(clock.clone()),
        false => Fence::open(),
    };
    let aws = MeasuredAws::new(
        Arc::new(SdkAws::from_environment(fence.clone(), operator.instance_metadata).await?),
        metrics.clone(),
    );
    let cluster = KubeCluster::new(client, &operator.pod_name, fence.clone());
    let cluster = MeasuredCluster::new(Arc::new(cluster.watching(&operator.watch_namespaces.0)));
    let context = Context::open(
        Arc::new(KnownIdentity::new(Arc::new(aws))),
        Arc::new(cluster),
        clock.clone(),
        operator.limits(),
        Renderer::start().await?,
        metrics,
    )
    .await?;
    let context = Context {
        health: health.clone(),
        boundary: Boundary::new(operator.tenancy()),
        ..context
    };
    let (supervisor, ended) = Supervisor::spawn(None, Supervisor, context).await?;
    // It is set here only.
    let _ = running.set(supervisor.clone());
    let (head, mut ended) = match operator.leader_election {
        true => {
            let arguments = LeaderArguments {
                supervisor,
                leases: Arc::new(lease(operator).await?),
                fence,
                clock,
                health,
                identity: identity(&operator.pod_name),
            };
            let (leader, ended) = Leader::spawn(None, Leader, arguments).await?;
            (leader.get_cell(), ended)
        }
        false => {
            supervisor.cast(SupervisorMessage::Lead)?;
            (supervisor.get_cell(), ended)
        }
    };

    tokio::select! {
        _ = terminate.recv() => info!("told to stop"),
        _ = interrupt.recv() => info!("told to stop"),
        _ = &mut ended => {
            error!("the supervisor ended");
            return Err("the supervisor ended by itself".into());
        }
    }
    head.stop_and_wait(None, Some(STOP_TIMEOUT)).await?;
    info!("stopped");
    Ok(())
}

/// The Lease, with connections of its own.
async fn lease(operator: &Operator) -> Result<KubeLease, ConnectError> {
    let namespace = operator.leader_election_namespace.as_deref();
    let namespace = namespace.filter(|namespace| !namespace.is_empty());
    Ok(KubeLease::new(
        connect().await?,
        namespace,
        &operator.leader_election_lease_name,
    ))
}

/// Brings the custom resource definition up to date before any status is written, which an older one would not take whole. An API server
/// that is away is not waited for: the task goes on trying.
async fn upgrade_crd(client: kube::Client) -> AbortOnDropHandle<()> {
    let (done, upgraded) = oneshot::channel();
    let task = tokio::spawn(async move {
        crd::upgrade(client).await;
        let _ = done.send(());
    });
    let _ = tokio::time::timeout(CRD_TIMEOUT, upgraded).await;
    AbortOnDropHandle::new(task)
}

/// Asks the supervisor how things stand, once there is one.
fn ask(running: Arc<OnceLock<ActorRef<SupervisorMessage>>>) -> server::Ask {
    Arc::new(move || {
        let supervisor = running.get().cloned();
        async move {
            match supervisor?.call(SupervisorMessage::Snapshot, None).await {
                Ok(CallResult::Success(snapshot)) => Some(snapshot),
                _ => None,
            }
        }
        .boxed()
    })
}
