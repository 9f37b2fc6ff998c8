//! The supervisor: owns the watches and the set of role actors, one per resource UID.
//!
//! It starts an actor when a resource appears, hands it every change, stops it when the resource goes, and starts it again, later each
//! time, when it fails ([`children`]).

mod children;
mod clock;
mod watches;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use self::children::Child;
use self::clock::check_clock;
use self::watches::{Watch, forward};
use super::context::Context;
use super::role::{CyclePanicked, RoleMessage};
use crate::aws::Region;
use crate::cluster::{SecretEvent, WatchEvent};
use crate::secret::ObservedSecret;
use crate::telemetry::health::Heartbeat;
use crate::telemetry::snapshot::Snapshot;

/// How long the actors may take to end when the supervisor does. They abort their tasks and wait for them, which takes no time.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The actor's code. Its data is in [`SupervisorState`].
#[derive(Clone, Copy, Debug)]
pub struct Supervisor;

/// The messages of the supervisor.
#[derive(Debug)]
pub enum SupervisorMessage {
    /// Something happened to the resources.
    Watched(Box<WatchEvent>),
    /// Something happened to the Secrets.
    SecretWatched(SecretEvent),
    /// A watch has ended, which none ever should.
    WatchEnded,
    /// The pause before starting the actor of that UID again is over.
    Restart(String),
    /// It is time to look at the clocks.
    CheckClock,
    /// Somebody asks how things stand.
    Snapshot(RpcReplyPort<Snapshot>),
}

/// The data of the supervisor.
pub struct SupervisorState {
    context: Context,
    /// By UID, in an order that is the same at every run.
    children: BTreeMap<String, Child>,
    /// The UIDs by the actors that work on them.
    actors: HashMap<ActorId, String>,
    /// The UIDs by namespace and name: a resource made again under its name has another UID.
    names: HashMap<(String, String), String>,
    /// The UIDs by namespace and the name of the Secret that they ask for.
    wanted_secrets: HashMap<(String, String), BTreeSet<String>>,
    resources: Watch,
    secrets: Watch,
    /// The operator's own Region, as it was last seen.
    region_seen: Region,
    clock_seen: (Instant, Timestamp),
    /// How far AWS's clock was from the operator's when that was last looked at.
    skew_seen: SignedDuration,
    _resource_watch: AbortOnDropHandle<()>,
    /// It begins when the resources are listed, so that each Secret finds its resource.
    secret_watch: Option<AbortOnDropHandle<()>>,
    _clock: AbortOnDropHandle<()>,
}

/// A watch ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a watch has ended")]
struct WatchEnded;

/// What all actors share ended: without the gate no call to AWS can be made, without the renderer no template rendered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the {0} has ended: {1}")]
struct SharedEnded(&'static str, String);

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = Context;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        context: Context,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        context.gate.cell().link(myself.get_cell());
        if let Some(renderer) = context.renderer.cell() {
            renderer.link(myself.get_cell());
        }
        let resources = context.cluster.watch();
        let now = context.now();
        let state = SupervisorState {
            _resource_watch: forward(resources, &myself, |event| SupervisorMessage::Watched(Box::new(event))),
            secret_watch: None,
            _clock: check_clock(&myself),
            region_seen: context.aws.region(),
            clock_seen: (Instant::now(), context.clock.now()),
            skew_seen: context.skew.get(),
            context,
            children: BTreeMap::new(),
            actors: HashMap::new(),
            names: HashMap::new(),
            wanted_secrets: HashMap::new(),
            resources: Watch::new(now),
            secrets: Watch::new(now),
        };
        state.beat();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Watched(event) => state.watched(&myself, *event).await?,
            SupervisorMessage::SecretWatched(event) => state.secret_watched(event),
            SupervisorMessage::WatchEnded => return Err(WatchEnded.into()),
            SupervisorMessage::Restart(uid) => state.start(&myself, &uid).await?,
            SupervisorMessage::CheckClock => {
                state.compare_clocks();
                state.compare_regions();
                state.beat();
            }
            // Who has given up waiting needs no answer.
            SupervisorMessage::Snapshot(reply) if reply.is_closed() => {}
            SupervisorMessage::Snapshot(reply) => {
                let _ = reply.send(state.snapshot());
            }
        }
        Ok(())
    }

    /// The role actors end before the supervisor has ended, and with them what they were doing.
    async fn post_stop(
        &self,
        myself: ActorRef<SupervisorMessage>,
        _: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        myself.get_cell().stop_children_and_wait(None, Some(STOP_TIMEOUT)).await;
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let ended = match &event {
            SupervisionEvent::ActorFailed(actor, error) => Some((actor, failure(error.as_ref()))),
            SupervisionEvent::ActorTerminated(actor, _, _) => Some((actor, "it stopped".to_owned())),
            _ => None,
        };
        if let Some((actor, why)) = ended {
            let shared = [
                ("gate before AWS", Some(state.context.gate.cell())),
                ("renderer of templates", state.context.renderer.cell()),
            ];
            for (name, cell) in shared {
                if cell.is_some_and(|cell| cell.get_id() == actor.get_id()) {
                    return Err(SharedEnded(name, why).into());
                }
            }
            state.ended(&myself, actor.get_id(), &why);
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn watched(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        event: WatchEvent,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            WatchEvent::Heard => {
                self.resources.hear(self.context.now());
                self.beat();
            }
            WatchEvent::ListStarted => self.resources.start(),
            WatchEvent::Listed(resource) => {
                self.resources.show(&resource.key.uid);
                self.seen(myself, resource).await?;
            }
            WatchEvent::ListDone => {
                let listed = self.resources.finish();
                let uids = self.children.keys();
                let gone: Vec<_> = uids.filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in gone {
                    self.stop(&uid, "it is not in the list any more");
                }
                self.context.metrics.leader.set(1);
                if self.secret_watch.is_none() {
                    let secrets = self.context.cluster.watch_secrets();
                    self.secret_watch = Some(forward(secrets, myself, SupervisorMessage::SecretWatched));
                }
                self.beat();
                info!(resources = self.children.len(), "the resources are listed");
            }
            WatchEvent::Applied(resource) => self.seen(myself, resource).await?,
            WatchEvent::Deleted(key) => self.stop(&key.uid, "it was deleted"),
        }
        Ok(())
    }

    /// Hands what happened to a Secret to the actors whom it concerns.
    fn secret_watched(&mut self, event: SecretEvent) {
        match event {
            SecretEvent::Heard => {
                self.secrets.hear(self.context.now());
                self.beat();
            }
            SecretEvent::ListStarted => self.secrets.start(),
            SecretEvent::Listed(secret) => {
                for uid in self.concerned(&secret) {
                    self.secrets.show(&uid);
                    self.secret_seen(&uid, &secret);
                }
            }
            SecretEvent::ListDone => {
                let listed = self.secrets.finish();
                for (_, child) in self.children.iter().filter(|(uid, _)| !listed.contains(*uid)) {
                    child.send(RoleMessage::SecretNotListed);
                }
                self.beat();
            }
            SecretEvent::Applied(secret) => {
                for uid in self.concerned(&secret) {
                    self.secret_seen(&uid, &secret);
                }
            }
            SecretEvent::Deleted(secret) => {
                for uid in self.concerned(&secret) {
                    self.secret_lost(&uid, &secret);
                }
            }
        }
    }

    /// The UIDs of the resources that a Secret concerns: the one that controls it, and those that ask for one of its name. Only resources of its
    /// own namespace: an owner reference can hold any UID.
    fn concerned(&self, secret: &ObservedSecret) -> BTreeSet<String> {
        let place = (secret.namespace().to_owned(), secret.name().to_owned());
        let mut uids = self.wanted_secrets.get(&place).cloned().unwrap_or_default();
        let owner = secret.controller_uid();
        let owner = owner.filter(|uid| {
            self.children
                .get(*uid)
                .is_some_and(|child| child.namespace() == place.0)
        });
        uids.extend(owner.map(str::to_owned));
        uids
    }

    /// Tells the probes that the mailbox is worked off, and how the watches are.
    fn beat(&self) {
        self.context.health.beat(Heartbeat {
            at: Instant::now(),
            watches: [self.resources.health("resources"), self.secrets.health("Secrets")],
        });
    }

    /// The Region may become known late, when instance metadata answers at last.
    fn compare_regions(&mut self) {
        let region = self.context.aws.region();
        if region.name != self.region_seen.name {
            self.region_seen = region;
            for child in self.children.values() {
                child.send(RoleMessage::RegionChanged);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let resources = self.children.values().map(Child::standing);
        Snapshot {
            actors: self.actors.len(),
            now: self.context.now(),
            skew_seconds: self.context.skew.get().as_secs(),
            gate: self.context.gate.standing(),
            watches: [("resources", self.resources.heard()), ("secrets", self.secrets.heard())],
            resources: resources.collect(),
        }
    }
}

/// What may be said of a failure. That of a handler that panicked holds what the panic said, which may quote anything.
fn failure(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<CyclePanicked>() {
        Some(panicked) => panicked.to_string(),
        None => "a handler failed".to_owned(),
    }
}

#[cfg(test)]
mod tests;
