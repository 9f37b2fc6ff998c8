//! The supervisor: owns the watches, what they tell, and the set of role actors, one per resource UID.
//!
//! The watches go on from the start. There are actors only while it leads ([`leading`]): it starts one when a resource appears, hands it every
//! change, stops it when the resource goes, and starts it again, later each time, when it fails ([`children`]). It hands on what
//! happens to the Secrets ([`secrets`]), and what follows from the policies ([`boundary`]). Many that come at once are taken up in turn
//! ([`arrivals`]). An actor that has nothing to do rests ([`resting`]) until its [alarm](alarms). While it stands by it knows
//! the same of each resource and does nothing about it, so that it can lead from one moment to the next.

mod alarms;
mod arrivals;
mod boundary;
mod children;
mod clock;
mod leading;
mod resting;
mod secrets;
mod taking_up;
mod watches;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::alarms::Alarms;
use self::arrivals::Arrivals;
use self::boundary::{BoundaryState, Ruled};
use self::children::Child;
use self::clock::check_clock;
use self::taking_up::SecretsWait;
use self::watches::{Watch, forward};
use super::context::Context;
use super::role::{CyclePanicked, Reports, RoleMessage, RoleReport};
use crate::aws::Region;
use crate::clock::Reading;
use crate::cluster::{NamespaceEvent, PolicyEvent, Scope, SecretEvent, WatchEvent};
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
    /// Something happened to the policies.
    PolicyWatched(PolicyEvent),
    /// Something happened to the namespaces, by the watch on all of them or on that one.
    NamespaceWatched(Scope, NamespaceEvent),
    /// The resources are to be ruled on anew.
    Reassess,
    /// A watch has ended, which none ever should.
    WatchEnded,
    /// From now on this operator acts: it leads.
    Lead,
    /// From now on it does not. The answer comes when no actor is left.
    StandBy(RpcReplyPort<()>),
    /// The resources of a scope may be taken up, also if its Secrets are not listed yet.
    TakeUp(Scope),
    /// The pause before starting the actor of that UID again is over.
    Restart(Arc<str>),
    /// The time of an actor that rests has come.
    Alarm,
    /// The actor of that ID reports.
    Reported(ActorId, RoleReport),
    /// It is time to look at the clocks.
    CheckClock,
    /// Somebody asks how things stand.
    Snapshot(RpcReplyPort<Snapshot>),
}

impl From<(ActorId, RoleReport)> for SupervisorMessage {
    fn from((actor, report): (ActorId, RoleReport)) -> Self {
        Self::Reported(actor, report)
    }
}

/// Not a report.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a report")]
pub struct NoReport;

impl TryFrom<SupervisorMessage> for (ActorId, RoleReport) {
    type Error = NoReport;

    fn try_from(message: SupervisorMessage) -> Result<Self, NoReport> {
        match message {
            SupervisorMessage::Reported(actor, report) => Ok((actor, report)),
            _ => Err(NoReport),
        }
    }
}

/// The data of the supervisor.
pub struct SupervisorState {
    context: Context,
    /// By UID, in an order that is the same at every run.
    children: BTreeMap<Arc<str>, Child>,
    /// The UIDs by the actors that work on them.
    actors: HashMap<ActorId, Arc<str>>,
    /// The UIDs by namespace and name: a resource made again under its name has another UID.
    names: HashMap<(Arc<str>, Arc<str>), Arc<str>>,
    /// Namespace and name of each Secret that is asked for, with the UID of who asks.
    wanted_secrets: BTreeSet<(Arc<str>, Box<str>, Arc<str>)>,
    /// When the actors that rest are to be started again.
    alarms: Alarms,
    /// Those without credentials, that are taken up in turn.
    arrivals: Arrivals,
    /// Where the actors report.
    reports: Reports,
    /// Whether it acts, and not only watches.
    leads: bool,
    /// The scopes whose Secrets are known, or have taken too long to be listed. Their resources are taken up then.
    known_secrets: BTreeSet<Scope>,
    /// The waits for the lists of the Secrets.
    secrets_waits: BTreeMap<Scope, SecretsWait>,
    resources: Watch,
    secrets: Watch,
    /// The policies and the namespaces.
    boundary: BoundaryState,
    /// The operator's own Region, as it was last seen.
    region_seen: Region,
    clock_seen: Reading,
    /// How far AWS's clock was from the operator's when that was last looked at.
    skew_seen: SignedDuration,
    _resource_watch: AbortOnDropHandle<()>,
    /// That of a scope begins when its resources are listed, so that each Secret finds its resource.
    secret_watches: BTreeMap<Scope, AbortOnDropHandle<()>>,
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
        let scopes = context.cluster.scopes();
        let now = context.now();
        let state = SupervisorState {
            _resource_watch: forward(resources, &myself, |event| SupervisorMessage::Watched(Box::new(event))),
            boundary: BoundaryState::watch(&*context.cluster, &myself),
            secret_watches: BTreeMap::new(),
            _clock: check_clock(&myself),
            region_seen: context.aws.region(),
            clock_seen: Reading::of(&*context.clock),
            skew_seen: context.skew.get(),
            context,
            children: BTreeMap::new(),
            actors: HashMap::new(),
            names: HashMap::new(),
            wanted_secrets: BTreeSet::new(),
            alarms: Alarms::default(),
            arrivals: Arrivals::default(),
            reports: myself.get_derived(),
            leads: false,
            known_secrets: BTreeSet::new(),
            secrets_waits: BTreeMap::new(),
            resources: Watch::new(scopes.clone(), now),
            secrets: Watch::new(scopes, now),
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
            SupervisorMessage::SecretWatched(event) => state.secret_watched(&myself, event).await?,
            SupervisorMessage::PolicyWatched(event) => state.policy_watched(&myself, event).await?,
            SupervisorMessage::NamespaceWatched(scope, event) => state.namespace_watched(&myself, scope, event).await?,
            SupervisorMessage::Reassess => state.reassess(&myself).await?,
            SupervisorMessage::WatchEnded => return Err(WatchEnded.into()),
            SupervisorMessage::Lead => state.lead(&myself).await?,
            SupervisorMessage::StandBy(reply) => {
                state.stand_by().await?;
                let _ = reply.send(());
            }
            SupervisorMessage::TakeUp(scope) => state.secrets_are_late(&myself, scope).await?,
            SupervisorMessage::Restart(uid) => state.restart(&myself, &uid).await?,
            SupervisorMessage::Alarm => state.alarm(&myself).await?,
            SupervisorMessage::Reported(actor, report) => state.reported(&myself, actor, report).await?,
            SupervisorMessage::CheckClock => {
                state.compare_clocks(&myself);
                state.compare_regions(&myself).await?;
                state.check_boundary(&myself).await?;
                state.beat();
            }
            // Who has given up waiting needs no answer.
            SupervisorMessage::Snapshot(reply) if reply.is_closed() => {}
            SupervisorMessage::Snapshot(reply) => {
                let _ = reply.send(state.snapshot());
            }
        }
        state.admit(&myself).await
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
            // Its report comes behind this event, which is handled first.
            SupervisionEvent::ActorTerminated(actor, _, _) if state.is_settling(actor.get_id()) => None,
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
        state.admit(&myself).await
    }
}

impl SupervisorState {
    async fn watched(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        event: WatchEvent,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            WatchEvent::Heard(scope) => {
                self.resources.hear(&scope, self.context.now());
                self.beat();
            }
            WatchEvent::ListStarted(scope) => self.resources.start(&scope),
            WatchEvent::Listed(resource) => {
                let key = &resource.key;
                self.resources.comes_on(&key.namespace);
                self.resources.show(&key.namespace, &key.uid);
                self.seen(myself, resource).await?;
            }
            WatchEvent::ListDone(scope) => self.listed(myself, &scope).await?,
            WatchEvent::Applied(resource) => self.seen(myself, resource).await?,
            WatchEvent::Deleted(key) => self.stop(&key.uid, "it was deleted"),
        }
        Ok(())
    }

    /// Tells the probes that the mailbox is worked off, and how the watches are.
    fn beat(&self) {
        self.context.health.beat(Heartbeat {
            at: Instant::now(),
            watches: [self.resources.health("resources"), self.secrets.health("Secrets")],
            policies_listed: self.boundary.is_listed(),
        });
    }

    /// The Region may become known late, when instance metadata answers at last.
    async fn compare_regions(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        let region = self.context.aws.region();
        if region.name != self.region_seen.name {
            self.region_seen = region;
            let uids: Vec<_> = self.children.keys().cloned().collect();
            for uid in uids {
                self.send(myself, &uid, RoleMessage::RegionChanged).await?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Snapshot {
        let resources = self.children.values().map(Child::standing);
        let now = self.context.now();
        Snapshot {
            actors: self.children.values().filter(|child| child.has_actor()).count(),
            now,
            skew_seconds: self.context.skew.get().as_secs(),
            gate: self.context.gate.standing(),
            watches: [
                ("resources", self.resources.heard().unwrap_or(now)),
                ("secrets", self.secrets.heard().unwrap_or(now)),
            ],
            // Where there is no list of the resources there is none of the Secrets either.
            unwatched_scopes: self.secrets.unlisted().count(),
            rulings: Ruled::count(self.children.values().filter_map(Child::shown_ruling)),
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
mod leading_tests;
#[cfg(test)]
mod resting_tests;
#[cfg(test)]
mod scopes_tests;
#[cfg(test)]
mod tests;
