//! Starting and ending the local environment.
//!
//! One process, the keeper, starts all parts and holds them: when it ends, however it ends, they end. `up` starts the keeper and waits
//! until everything is there; `down` tells it to stop.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{SignalKind, signal};

use support::control_plane::ControlPlane;
use support::jaeger::Jaeger;
use support::moto::Moto;
use support::operator::binary;
use support::root;

use crate::operator::{ACCESS_KEY_ID, Operator, SECRET_ACCESS_KEY, on_a_node};

const REGION: &str = "eu-west-1";

/// How long all of it may take to start. The node and the Pods on it have bounds of their own, which come first.
const START_TIMEOUT: Duration = Duration::from_secs(400);

/// Where the files are.
pub fn folder() -> PathBuf {
    root().join("target/dev")
}

fn keeper_pid() -> Option<String> {
    let pid = fs::read_to_string(folder().join("keeper.pid")).ok()?;
    let alive = Command::new("kill")
        .args(["-0", pid.trim()])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    alive.then(|| pid.trim().to_owned())
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// Starts the environment, or finds it running.
pub fn up() -> Result<(), String> {
    let ready = folder().join("ready");
    if keeper_pid().is_some() {
        let stale = changed(&binary()) > changed(&folder().join("keeper.pid"));
        let other = folder().join("node-1").exists() != on_a_node();
        if ready.exists() && !stale && !other {
            println!("The local environment is running already.");
            return Ok(());
        }
        if stale || other {
            let why = if stale {
                "The operator was built anew"
            } else {
                "It is another environment"
            };
            println!("{why}: the local environment starts again.");
            down()?;
        }
    }
    let started = Instant::now();
    if keeper_pid().is_none() {
        let _ = fs::remove_dir_all(folder());
        fs::create_dir_all(folder()).map_err(|error| error.to_string())?;
        let log = File::create(folder().join("keeper.log")).map_err(|error| error.to_string())?;
        let keeper = Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
            .arg("keep")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(|error| error.to_string())?)
            .stderr(log)
            // Not to be ended by what is typed at the terminal later.
            .process_group(0)
            .spawn()
            .map_err(|error| error.to_string())?;
        fs::write(folder().join("keeper.pid"), keeper.id().to_string()).map_err(|error| error.to_string())?;
    }
    let node = if on_a_node() {
        "kube-scheduler, a node with containerd and a kubelet, "
    } else {
        ""
    };
    println!(
        "Starting etcd, kube-apiserver, moto, Jaeger, the chart, kube-controller-manager, {node}and the operator ..."
    );
    while !ready.exists() {
        if keeper_pid().is_none() || started.elapsed() > START_TIMEOUT {
            let log = fs::read_to_string(folder().join("keeper.log")).unwrap_or_default();
            return Err(format!("the local environment did not start:\n{log}"));
        }
        sleep(Duration::from_millis(50));
    }
    println!(
        "The local environment is up after {:.1} s.",
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Tells how to use it.
pub fn tell() {
    println!(
        "
  source target/dev/env                                   kubectl, helm and the variables of the environment
  kubectl apply -f docs/examples                          one resource per type
  kubectl get awsassumeroles -o wide
  tail -f target/dev/operator.log                         what the operator does
  curl \"$JAEGER_URL/api/traces?service=aws-assume-role\"   how it did it: the traces, as JSON
  curl $OPERATOR_URL/metrics                              how it is: the metrics
  make down                                               ends it all
"
    );
}

/// Ends the environment, if it runs.
pub fn down() -> Result<(), String> {
    let Some(pid) = keeper_pid() else {
        println!("The local environment is not running.");
        return Ok(());
    };
    let started = Instant::now();
    let _ = Command::new("kill").args(["-TERM", &pid]).status();
    while keeper_pid().is_some() {
        if started.elapsed() > Duration::from_secs(30) {
            return Err(format!("the local environment (process {pid}) does not end"));
        }
        sleep(Duration::from_millis(50));
    }
    let _ = fs::remove_file(folder().join("keeper.pid"));
    println!("The local environment is down.");
    Ok(())
}

/// The keeper: starts everything, says so, and holds it until it is told to stop.
pub async fn keep() -> Result<(), String> {
    let folder = folder();
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let (cluster, moto, jaeger) = tokio::join!(
        ControlPlane::start(&folder),
        Moto::start(&folder),
        Jaeger::start(&folder)
    );
    let operator = match on_a_node() {
        true => Operator::start_on_a_node(&folder, &cluster, &moto, &jaeger).await,
        false => Operator::start(&folder, &cluster, &moto, &jaeger),
    };
    write_env(&folder, &cluster, &moto, &jaeger, &operator).map_err(|error| error.to_string())?;
    File::create(folder.join("ready")).map_err(|error| error.to_string())?;
    terminate.recv().await;
    let _ = fs::remove_file(folder.join("ready"));
    drop(operator);
    Ok(())
}

fn write_env(
    folder: &Path,
    cluster: &ControlPlane,
    moto: &Moto,
    jaeger: &Jaeger,
    operator: &Operator,
) -> std::io::Result<()> {
    let lines = [
        format!("export KUBECONFIG='{}'", cluster.kubeconfig().display()),
        format!("export AWS_ENDPOINT_URL='{}'", moto.url()),
        format!("export AWS_ACCESS_KEY_ID='{ACCESS_KEY_ID}'"),
        format!("export AWS_SECRET_ACCESS_KEY='{SECRET_ACCESS_KEY}'"),
        format!("export AWS_REGION='{REGION}'"),
        format!("export AWS_DEFAULT_REGION='{REGION}'"),
        format!("export JAEGER_URL='{}'", jaeger.url()),
        format!("export OTEL_EXPORTER_OTLP_ENDPOINT='{}'", jaeger.grpc_endpoint()),
        "export OTEL_EXPORTER_OTLP_PROTOCOL='grpc'".to_owned(),
        format!("export OPERATOR_URL='{}'", operator.url),
        format!("export PATH='{}':\"$PATH\"", root().join("target/parts/bin").display()),
    ];
    fs::write(folder.join("env"), lines.join("\n") + "\n")
}
