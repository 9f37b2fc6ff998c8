//! One of several replicas of the operator in a world. Each has a token and an access key of its own, so that its requests can be told from
//! those of the others.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::Api;
use serde_json::Value;

use super::aws_proxy::Call;
use super::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use super::fixtures::SECRET_ACCESS_KEY;
use super::http;
use super::operator::OperatorCommand;
use super::process::Process;
use super::wait_for;
use super::world::{PATIENCE, World};

/// A replica.
pub struct Replica {
    /// Its process.
    pub process: Process,
    name: String,
    url: String,
    access_key_id: String,
    token: String,
}

impl Replica {
    /// Starts one under a name, which is that of its pod.
    pub fn start(world: &World, name: &str) -> Self {
        Self::start_with(world, name, |command| command)
    }

    /// Starts one with what is changed in its command.
    pub fn start_with(world: &World, name: &str, change: impl FnOnce(OperatorCommand) -> OperatorCommand) -> Self {
        let (kubeconfig, token) = world.cluster.replica_kubeconfig(name);
        let access_key_id = format!("AKIA{:0<16}", name.to_uppercase());
        let command = OperatorCommand::new(&kubeconfig, world.aws.url())
            .with_access_key(&access_key_id, SECRET_ACCESS_KEY)
            .env("POD_NAME", name);
        let command = change(command);
        Self {
            process: command.start_as(name, world.folder()),
            name: name.to_owned(),
            url: format!("http://{}", command.http_address()),
            access_key_id,
            token,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it knows all resources and their Secrets.
    pub async fn ready(&self) {
        let url = format!("{}/readyz", self.url);
        wait_for(&format!("{} to be ready", self.name), PATIENCE, async || {
            let (status, _) = http::get(&url).await?;
            status.is_success().then_some(())
        })
        .await;
    }

    /// Its metrics, or nothing where it does not answer.
    pub async fn metrics(&self) -> Option<String> {
        let (status, text) = http::get(&format!("{}/metrics", self.url)).await?;
        status.is_success().then_some(text)
    }

    /// Whether a line is among its metrics.
    pub async fn shows(&self, line: &str) -> bool {
        let metrics = self.metrics().await.unwrap_or_default();
        metrics.lines().any(|found| found == line)
    }

    /// Waits until a line is among its metrics.
    pub async fn will_show(&self, line: &str) {
        wait_for(&format!("{line} of {}", self.name), PATIENCE, async || {
            self.shows(line).await.then_some(())
        })
        .await;
    }

    /// Waits until it says that it leads, or that it does not.
    pub async fn will_lead(&self, leads: bool) {
        self.will_show(&format!("aws_assume_role_leader {}", u8::from(leads)))
            .await;
    }

    /// Its calls of `AssumeRole`.
    pub fn calls(&self, world: &World) -> Vec<Call> {
        let calls = world.aws.calls("AssumeRole").into_iter();
        calls.filter(|call| call.access_key_id == self.access_key_id).collect()
    }

    /// Its requests that the API server wrote down, but for those about the Lease.
    pub fn requests(&self, world: &World) -> Vec<Value> {
        let of_this =
            |event: &Value| event["user"]["extra"]["authentication.kubernetes.io/credential-id"][0] == self.token;
        let events = world.cluster.audit().into_iter();
        events
            .filter(|event| of_this(event) && event["objectRef"]["resource"] != "leases")
            .collect()
    }

    /// Those of them that change something.
    pub fn writes(&self, world: &World) -> Vec<Value> {
        let requests = self.requests(world).into_iter();
        requests
            .filter(|event| {
                ["create", "update", "patch", "delete"]
                    .iter()
                    .any(|verb| event["verb"] == *verb)
            })
            .collect()
    }
}

/// The Leases of the operator's namespace.
pub fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.cluster.client(), OPERATOR_NAMESPACE)
}

/// What the Lease says, if it is there.
pub async fn lease(world: &World) -> Option<LeaseSpec> {
    let lease = leases(world).get_opt(OPERATOR_SERVICE_ACCOUNT).await.unwrap();
    lease.and_then(|lease| lease.spec)
}

/// The name of the replica that holds the Lease, if one does.
pub async fn holder(world: &World) -> Option<String> {
    let holder = lease(world).await?.holder_identity?;
    Some(
        holder
            .rsplit_once('_')
            .map_or(holder.as_str(), |(name, _)| name)
            .to_owned(),
    )
}

/// Waits until a replica holds the Lease.
pub async fn will_hold(world: &World, replica: &Replica) {
    wait_for(&format!("{} to hold the Lease", replica.name()), PATIENCE, async || {
        (holder(world).await.as_deref() == Some(replica.name())).then_some(())
    })
    .await;
}

/// Waits until one of two replicas leads, and gives that one first.
pub async fn leader_first(world: &World, one: Replica, other: Replica) -> (Replica, Replica) {
    let name = wait_for("a holder of the Lease", PATIENCE, async || holder(world).await).await;
    let (leader, standby) = match name == one.name() {
        true => (one, other),
        false => (other, one),
    };
    leader.will_lead(true).await;
    (leader, standby)
}
