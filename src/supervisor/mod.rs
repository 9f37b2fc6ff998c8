//! The supervisor: owns the watch on the resources and the set of role actors, one per resource UID.
//!
//! It starts an actor when a resource appears, hands it every change, stops it when the resource goes, and starts it again, later each
//! time, when it fails.

mod clocks;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::jiff::Timestamp;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use self::clocks::check_clock;
use crate::aws::Aws;
use crate::aws::gate::{Gate, Limits};
use crate::clock::{Clock, Skew};
use crate::cluster::{Cluster, SecretEvent, WatchEvent};
use crate::cycle::Services;
use crate::role::{Charge, CyclePanicked, RoleActor, RoleMessage};
use crate::secret::ObservedSecret;
use crate::task::Task;
use crate::telemetry::census::{Census, Figures};
use crate::telemetry::metrics::Metrics;
use crate::wanted::{ResourceKey, Watched};

/// The pause before an actor that failed is started again, doubled with each failure.
const RESTART: Duration = Duration::from_secs(1);

/// The longest such pause.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// An actor that lived that long has its earlier failures forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);

/// How long the actors may take to end when the supervisor does. They abort their tasks and wait for them, which takes no time.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The actor's code. Its data is in [`SupervisorState`].
#[derive(Clone, Copy, Debug)]
pub struct Supervisor;

/// What the supervisor is told.
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
    Census(RpcReplyPort<Census>),
}

/// The two outside worlds, the time, and how much is asked of AWS.
#[derive(Clone)]
pub struct World {
    /// AWS.
    pub aws: Arc<dyn Aws>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The most that is asked of AWS.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Metrics,
}

/// The data of the supervisor.
pub struct SupervisorState {
    services: Services,
    /// By UID, in an order that is the same at every run.
    roles: BTreeMap<String, Role>,
    /// The UIDs by the actors that stand for them.
    actors: HashMap<ActorId, String>,
    /// The UIDs by namespace and name: a resource made again under its name has another UID.
    names: HashMap<(String, String), String>,
    /// The UIDs that a list under way has shown so far.
    listed: Option<HashSet<String>>,
    /// The UIDs whose Secrets a list of the Secrets under way has shown so far.
    secrets_listed: Option<HashSet<String>>,
    /// Whether all resources, and all Secrets, were listed once.
    synced: [bool; 2],
    clock_seen: (Instant, Timestamp),
    _watches: [Task; 2],
    _clock: Task,
}

/// One resource and the actor that stands for it, when one does.
struct Role {
    watched: Arc<Watched>,
    actor: Option<ActorRef<RoleMessage>>,
    started: Instant,
    failures: u32,
    /// How often its actor failed, since the operator started.
    restarts: u32,
    /// How it stands, as its actor told last.
    figures: watch::Receiver<Figures>,
    _restart: Option<Task>,
}

impl Role {
    /// Tells its actor something. One that has just failed is told everything by its restart.
    fn tell(&self, message: RoleMessage) {
        if let Some(actor) = &self.actor {
            let _ = actor.cast(message);
        }
    }
}

/// The watch ended.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the watch on the resources has ended")]
struct WatchEnded;

/// The gate ended: without it no call to AWS can be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the gate before AWS has ended: {0}")]
struct GateEnded(String);

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = World;

    async fn pre_start(
        &self,
        myself: ActorRef<SupervisorMessage>,
        world: World,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        let services = Services {
            gate: Gate::open(world.limits, world.metrics.clone(), myself.get_cell()).await?,
            aws: world.aws,
            cluster: world.cluster,
            clock: world.clock,
            skew: Skew::default(),
            metrics: world.metrics,
        };
        let resources = services.cluster.watch();
        let secrets = services.cluster.watch_secrets();
        Ok(SupervisorState {
            _watches: [
                forward(resources, &myself, |event| SupervisorMessage::Watched(Box::new(event))),
                forward(secrets, &myself, SupervisorMessage::SecretWatched),
            ],
            _clock: check_clock(&myself),
            clock_seen: (Instant::now(), services.clock.now()),
            services,
            roles: BTreeMap::new(),
            actors: HashMap::new(),
            names: HashMap::new(),
            listed: None,
            secrets_listed: None,
            synced: [false; 2],
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Watched(event) => state.watched(&myself, *event).await,
            SupervisorMessage::SecretWatched(event) => {
                state.secret_watched(event);
                Ok(())
            }
            SupervisorMessage::WatchEnded => Err(WatchEnded.into()),
            SupervisorMessage::Restart(uid) => state.start(&myself, &uid).await,
            SupervisorMessage::CheckClock => {
                state.compare_clocks();
                Ok(())
            }
            SupervisorMessage::Census(reply) => {
                // Who has given up waiting needs none.
                if !reply.is_closed() {
                    let _ = reply.send(state.census());
                }
                Ok(())
            }
        }
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
            if actor.get_id() == state.services.gate.cell().get_id() {
                return Err(GateEnded(why).into());
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
            WatchEvent::ListStarted => self.listed = Some(HashSet::new()),
            WatchEvent::Listed(watched) => {
                if let Some(listed) = &mut self.listed {
                    listed.insert(watched.key.uid.clone());
                }
                self.seen(myself, watched).await?;
            }
            WatchEvent::ListDone => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<_> = self
                    .roles
                    .keys()
                    .filter(|uid| !listed.contains(*uid))
                    .cloned()
                    .collect();
                for uid in gone {
                    self.stop(&uid, "it is not in the list any more");
                }
                self.synced[0] = true;
                self.services.metrics.leader.set(1);
                info!(resources = self.roles.len(), "the resources are listed");
            }
            WatchEvent::Applied(watched) => self.seen(myself, watched).await?,
            WatchEvent::Deleted(key) => self.stop(&key.uid, "it was deleted"),
        }
        Ok(())
    }

    /// Hands what happened to a Secret to the actor of the resource that controls it.
    fn secret_watched(&mut self, event: SecretEvent) {
        match event {
            SecretEvent::ListStarted => self.secrets_listed = Some(HashSet::new()),
            SecretEvent::Listed(secret) => {
                if let (Some(listed), Some(owner)) = (&mut self.secrets_listed, secret.controller_uid()) {
                    listed.insert(owner.to_owned());
                }
                self.tell_owner(secret, RoleMessage::SecretSeen);
            }
            SecretEvent::ListDone => {
                self.synced[1] = true;
                let listed = self.secrets_listed.take().unwrap_or_default();
                for (_, role) in self.roles.iter().filter(|(uid, _)| !listed.contains(*uid)) {
                    role.tell(RoleMessage::SecretNotListed);
                }
            }
            SecretEvent::Applied(secret) => self.tell_owner(secret, RoleMessage::SecretSeen),
            SecretEvent::Deleted(secret) => self.tell_owner(secret, RoleMessage::SecretLost),
        }
    }

    fn tell_owner(&self, secret: Box<ObservedSecret>, message: fn(Box<ObservedSecret>) -> RoleMessage) {
        if let Some(role) = secret.controller_uid().and_then(|uid| self.roles.get(uid)) {
            role.tell(message(secret));
        }
    }

    /// Takes a resource up, or hands its actor the news.
    async fn seen(&mut self, myself: &ActorRef<SupervisorMessage>, watched: Watched) -> Result<(), ActorProcessingErr> {
        let uid = watched.key.uid.clone();
        if watched.deleted {
            self.stop(&uid, "it is being deleted");
            return Ok(());
        }
        if let Some(earlier) = self.names.get(&name_of(&watched.key))
            && *earlier != uid
        {
            let earlier = earlier.clone();
            self.stop(&earlier, "another one was made under its name");
        }
        let watched = Arc::new(watched);
        if let Some(role) = self.roles.get_mut(&uid) {
            role.watched = watched.clone();
            role.tell(RoleMessage::Changed(watched));
            return Ok(());
        }
        self.names.insert(name_of(&watched.key), uid.clone());
        self.roles.insert(
            uid.clone(),
            Role {
                figures: watch::channel(Figures::at_first(&watched)).1,
                watched,
                actor: None,
                started: Instant::now(),
                failures: 0,
                restarts: 0,
                _restart: None,
            },
        );
        self.start(myself, &uid).await
    }

    /// Starts the actor of a resource that has none.
    async fn start(&mut self, myself: &ActorRef<SupervisorMessage>, uid: &str) -> Result<(), ActorProcessingErr> {
        let Some(role) = self.roles.get_mut(uid).filter(|role| role.actor.is_none()) else {
            return Ok(());
        };
        let told = role.figures.borrow().clone();
        let (figures, told) = watch::channel(told);
        role.figures = told;
        let charge = Charge {
            services: self.services.clone(),
            watched: role.watched.clone(),
            restarts: role.restarts,
            figures,
        };
        let (actor, _) = RoleActor::spawn_linked(None, RoleActor, charge, myself.get_cell()).await?;
        self.actors.insert(actor.get_id(), uid.to_owned());
        role.actor = Some(actor);
        role.started = Instant::now();
        role._restart = None;
        Ok(())
    }

    /// Stops the actor of a resource and forgets both. Its timer and its call in flight end with it.
    fn stop(&mut self, uid: &str, why: &str) {
        let Some(role) = self.roles.remove(uid) else {
            return;
        };
        let key = &role.watched.key;
        info!(namespace = key.namespace, name = key.name, "released: {why}");
        if self.names.get(&name_of(key)).is_some_and(|named| named == uid) {
            self.names.remove(&name_of(key));
        }
        if let Some(actor) = role.actor {
            self.actors.remove(&actor.get_id());
            actor.stop(None);
        }
    }

    /// An actor came to an end. One that was not told to is started again after a pause.
    fn ended(&mut self, myself: &ActorRef<SupervisorMessage>, actor: ActorId, why: &str) {
        let Some(uid) = self.actors.remove(&actor) else {
            return;
        };
        let Some(role) = self.roles.get_mut(&uid) else {
            return;
        };
        if role.started.elapsed() >= FORGIVEN {
            role.failures = 0;
        }
        let pause = RESTART
            .saturating_mul(2_u32.saturating_pow(role.failures))
            .min(RESTART_MAX);
        role.failures = role.failures.saturating_add(1);
        role.restarts = role.restarts.saturating_add(1);
        self.services.metrics.actor_restarts.inc();
        role.actor = None;
        let key = &role.watched.key;
        error!(
            namespace = key.namespace,
            name = key.name,
            pause_seconds = pause.as_secs(),
            "the actor of a resource failed and is started again: {why}"
        );
        let myself = myself.clone();
        role._restart = Some(Task::spawn(async move {
            tokio::time::sleep(pause).await;
            let _ = myself.cast(SupervisorMessage::Restart(uid));
        }));
    }

    fn census(&self) -> Census {
        let resources = self.roles.values().map(|role| {
            let figures = role.figures.borrow().clone();
            (role.watched.key.clone(), figures)
        });
        Census {
            synced: self.synced.iter().all(|synced| *synced),
            actors: self.actors.len(),
            now: self.services.now(),
            skew_seconds: self.services.skew.get().as_secs(),
            resources: resources.collect(),
        }
    }
}

/// What may be told of a failure. That of a handler that panicked holds what the panic said, which may quote anything.
fn failure(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    match error.downcast_ref::<CyclePanicked>() {
        Some(panicked) => panicked.to_string(),
        None => "a handler failed".to_owned(),
    }
}

fn name_of(key: &ResourceKey) -> (String, String) {
    (key.namespace.clone(), key.name.clone())
}

/// Sends what a watch brings to the supervisor, in order.
fn forward<T: Send + 'static>(
    mut events: BoxStream<'static, T>,
    myself: &ActorRef<SupervisorMessage>,
    message: fn(T) -> SupervisorMessage,
) -> Task {
    let myself = myself.clone();
    Task::spawn(async move {
        while let Some(event) = events.next().await {
            if myself.cast(message(event)).is_err() {
                return;
            }
        }
        let _ = myself.cast(SupervisorMessage::WatchEnded);
    })
}
