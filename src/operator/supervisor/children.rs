//! What the supervisor knows of each resource, and the role actors: how they start, stop, and start again after a failure.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::boundary::Ruled;
use super::{SupervisorMessage, SupervisorState};
use crate::api::AWSAssumeRoleStatus;
use crate::aws::Identity;
use crate::operator::boundary::Boundary;
use crate::operator::role::packed::Packed;
use crate::operator::role::rest::Rest;
use crate::operator::role::{Beginning, RoleActor, RoleArguments, RoleMessage};
use crate::refresh::standing::{Standing, WentBy};
use crate::secret::ObservedSecret;
use crate::spec::{Resource, ResourceKey, ResourceVersion};

/// The pause before an actor that failed is started again, doubled with each failure.
const RESTART: Duration = Duration::from_secs(1);

/// The longest such pause.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// An actor that lived that long has its earlier failures forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);

/// The most Secrets whose names are remembered for one resource. It has one, and for a moment two.
const SECRETS_MAX: usize = 64;

/// One resource, and the work on it.
pub(super) struct Child {
    pub(super) resource: Arc<Resource>,
    /// The status that the watch showed last, unless what is left of its actor has that one or a later one.
    pub(super) status: Option<Packed<AWSAssumeRoleStatus>>,
    /// The version of the resource that the watch showed last.
    version: Option<ResourceVersion>,
    pub(super) work: Work,
    /// When its actor was last started after a failure, or first.
    started: Instant,
    pub(super) failures: u32,
    /// How often its actor failed, since the operator started.
    restarts: u32,
    /// The names of the Secrets that it controls, as the watch shows them.
    pub(super) secrets: Vec<Box<str>>,
    /// How it stands, as its actor reported last.
    pub(super) standing: Standing,
    /// What the policies say of it.
    pub(super) ruled: Ruled,
    /// Whether it was told of another ruling and has not reported since.
    pub(super) told: bool,
    /// For which state of the policies it was told last that its cycle had gone by another one.
    pub(super) corrected: Option<u64>,
}

/// How far the work on a resource is.
pub(super) enum Work {
    /// It is not taken up yet. The Secret of the wanted name, if the watch has shown it.
    Waiting(Option<Packed<ObservedSecret>>),
    /// Its actor is at work.
    Awake(ActorRef<RoleMessage>),
    /// Its actor has nothing to do, and was told that it may rest. What happens meanwhile is held back.
    Settling(ActorRef<RoleMessage>, Vec<RoleMessage>),
    /// Its actor rests.
    Resting(Box<Rest>),
    /// Its actor failed, and is started again when that task ends.
    Failed { _restart: AbortOnDropHandle<()> },
}

impl Work {
    /// The actor that is at work.
    pub(super) fn actor(&self) -> Option<&ActorRef<RoleMessage>> {
        match self {
            Self::Awake(actor) | Self::Settling(actor, _) => Some(actor),
            Self::Waiting(_) | Self::Resting(_) | Self::Failed { .. } => None,
        }
    }
}

impl Child {
    fn new(resource: Arc<Resource>, status: &AWSAssumeRoleStatus) -> Self {
        Self {
            standing: Standing::at_first(&resource, status),
            status: Packed::new(status),
            version: resource.version,
            resource,
            work: Work::Waiting(None),
            started: Instant::now(),
            failures: 0,
            restarts: 0,
            secrets: Vec::new(),
            ruled: Ruled::default(),
            told: false,
            corrected: None,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.resource.key.namespace
    }

    /// Rules on it by what is known now. Of a spec that cannot be read nothing is asked.
    pub(super) fn rule(&mut self, boundary: &Boundary, operator: Option<&Identity>) {
        if let Ok(spec) = &self.resource.spec {
            self.ruled = boundary.rule_by(&self.resource.key.namespace, spec, operator).into();
        }
    }

    /// Whether its last cycle went by another ruling than the one that holds, and another cycle would do better. One that could not know who the
    /// operator is waits until that is known.
    pub(super) fn is_to_be_corrected(&self, operator_is_unknown: bool) -> bool {
        let went_by = self.standing.went_by;
        self.ruled.contradicts(went_by) && !(operator_is_unknown && went_by == WentBy::Unknown)
    }

    /// What the policies say of it, where it asks for something. A spec that cannot be read asks for nothing.
    pub(super) fn shown_ruling(&self) -> Option<Ruled> {
        self.resource.spec.is_ok().then_some(self.ruled)
    }

    /// Whether its resource is being looked after, by an actor that is at work or rests.
    pub(super) fn has_actor(&self) -> bool {
        matches!(self.work, Work::Awake(_) | Work::Settling(..) | Work::Resting(_))
    }

    /// Keeps no status beside what is left of the actor, which has one too, unless another replica wrote one since.
    pub(super) fn share_status(&mut self) {
        if let Work::Resting(rest) = &self.work {
            self.status = self
                .status
                .take()
                .filter(|status| rest.is_status_news(status, self.version));
        }
    }

    /// Takes down what the watch shows of a Secret while the resource waits to be taken up. Gives whether it waits.
    fn takes_down(&mut self, name: &str, secret: Option<&ObservedSecret>) -> bool {
        let Work::Waiting(known) = &mut self.work else {
            return false;
        };
        if self.resource.secret_name() == Some(name) {
            *known = secret.and_then(Packed::new);
        }
        true
    }

    /// Which resource it is, and how it stands.
    pub(super) fn standing(&self) -> (ResourceKey, Standing) {
        (self.resource.key.clone(), self.standing.clone())
    }
}

impl SupervisorState {
    /// Takes a resource up, or hands its actor the news.
    pub(super) async fn seen(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        mut resource: Resource,
    ) -> Result<(), ActorProcessingErr> {
        let uid = resource.key.uid.clone();
        if resource.terminating {
            self.stop(&uid, "it is being deleted");
            return Ok(());
        }
        if let Some(earlier) = self.names.get(&name_of(&resource.key))
            && *earlier != uid
        {
            let earlier = earlier.clone();
            self.stop(&earlier, "another one was made under its name");
        }
        let status = resource.status.take().unwrap_or_default();
        let resource = Arc::new(resource);
        let operator = self.operator();
        if let Some(child) = self.children.get_mut(&uid) {
            child.version = resource.version;
            if matches!(child.work, Work::Waiting(_)) {
                child.standing = Standing::at_first(&resource, &status);
            }
            child.status = Packed::new(&status);
            child.share_status();
            if resource.asks_for_nothing_new(&child.resource) {
                return Ok(());
            }
            let before = std::mem::replace(&mut child.resource, resource.clone());
            child.rule(&self.context.boundary, operator.as_ref());
            if before.secret_name() != resource.secret_name() {
                if let Work::Waiting(known) = &mut child.work {
                    *known = None;
                }
                self.forget_secret(&before);
                self.expect_secret(&resource);
            }
            return self.send(myself, &uid, RoleMessage::Changed(resource)).await;
        }
        self.names.insert(name_of(&resource.key), uid.clone());
        self.expect_secret(&resource);
        let namespace = resource.key.namespace.clone();
        let mut child = Child::new(resource, &status);
        child.rule(&self.context.boundary, operator.as_ref());
        let can_wait = child.can_wait(self.context.now());
        self.children.insert(uid.clone(), child);
        if self.takes_up(&namespace) || (self.takes_up_urgent(&namespace) && !can_wait) {
            self.take_up(myself, &uid).await?;
        }
        Ok(())
    }

    /// Starts the actor of a resource.
    pub(super) async fn start(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
        beginning: Beginning,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = self.children.get_mut(uid) else {
            return Ok(());
        };
        let arguments = RoleArguments {
            context: self.context.clone(),
            resource: child.resource.clone(),
            version: child.version,
            restarts: child.restarts,
            beginning,
            reports: self.reports.clone(),
        };
        let (actor, _) = RoleActor::spawn_linked(None, RoleActor, arguments, myself.get_cell()).await?;
        self.actors.insert(actor.get_id(), uid.clone());
        child.work = Work::Awake(actor);
        Ok(())
    }

    /// Starts an actor that failed again.
    pub(super) async fn restart(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = self
            .children
            .get_mut(uid)
            .filter(|child| matches!(child.work, Work::Failed { .. }))
        else {
            return Ok(());
        };
        child.started = Instant::now();
        let memory = child.memory(self.secrets.is_listed(child.namespace()));
        self.start(myself, uid, Beginning::First(Box::new(memory))).await
    }

    /// Stops the actor of a resource and forgets both. Its timer and its call in flight end with it.
    pub(super) fn stop(&mut self, uid: &Arc<str>, why: &str) {
        // Its alarm goes with it, and its turn.
        let _ = self.take_rest(uid);
        self.arrivals.leave(uid);
        let Some(child) = self.children.remove(uid) else {
            return;
        };
        let key = &child.resource.key;
        info!(namespace = &*key.namespace, name = &*key.name, "released: {why}");
        if self.names.get(&name_of(key)).is_some_and(|named| named == uid) {
            self.names.remove(&name_of(key));
        }
        self.forget_secret(&child.resource);
        if let Some(actor) = child.work.actor() {
            self.actors.remove(&actor.get_id());
            actor.stop(None);
        }
    }

    /// A Secret that concerns a resource was made or changed.
    pub(super) async fn secret_seen(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
        secret: &ObservedSecret,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = self.children.get_mut(uid) else {
            return Ok(());
        };
        let is_known = child.secrets.iter().any(|name| &**name == secret.name());
        if secret.controller_uid() == Some(uid) && !is_known && child.secrets.len() < SECRETS_MAX {
            child.secrets.push(secret.name().into());
        }
        if child.takes_down(secret.name(), Some(secret)) {
            return Ok(());
        }
        self.send(myself, uid, RoleMessage::SecretSeen(Box::new(secret.clone())))
            .await
    }

    /// A Secret that concerns a resource is not seen any more.
    pub(super) async fn secret_lost(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
        secret: &ObservedSecret,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = self.children.get_mut(uid) else {
            return Ok(());
        };
        child.secrets.retain(|name| &**name != secret.name());
        if child.takes_down(secret.name(), None) {
            return Ok(());
        }
        self.send(myself, uid, RoleMessage::SecretLost(Box::new(secret.clone())))
            .await
    }

    fn expect_secret(&mut self, resource: &Resource) {
        if let Some(place) = secret_of(resource) {
            self.wanted_secrets.insert(place);
        }
    }

    fn forget_secret(&mut self, resource: &Resource) {
        if let Some(place) = secret_of(resource) {
            self.wanted_secrets.remove(&place);
        }
    }

    /// An actor came to an end. One that was not told to is started again after a pause.
    pub(super) fn ended(&mut self, myself: &ActorRef<SupervisorMessage>, actor: ActorId, why: &str) {
        let Some(uid) = self.actors.remove(&actor) else {
            return;
        };
        self.arrivals.leave(&uid);
        let Some(child) = self.children.get_mut(&uid) else {
            return;
        };
        if child.started.elapsed() >= FORGIVEN {
            child.failures = 0;
        }
        let pause = RESTART
            .saturating_mul(2_u32.saturating_pow(child.failures))
            .min(RESTART_MAX);
        child.failures = child.failures.saturating_add(1);
        child.restarts = child.restarts.saturating_add(1);
        self.context.metrics.actor_restarts.inc();
        let key = &child.resource.key;
        error!(
            namespace = &*key.namespace,
            name = &*key.name,
            pause_seconds = pause.as_secs(),
            "the actor of a resource failed and is started again: {why}"
        );
        let myself = myself.clone();
        let restart = tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let _ = myself.cast(SupervisorMessage::Restart(uid));
        });
        child.work = Work::Failed {
            _restart: AbortOnDropHandle::new(restart),
        };
    }
}

/// A Secret that a resource asks for: its namespace, its name, and the UID of the resource.
fn secret_of(resource: &Resource) -> Option<(Arc<str>, Box<str>, Arc<str>)> {
    let name = resource.secret_name()?;
    let key = &resource.key;
    Some((key.namespace.clone(), name.into(), key.uid.clone()))
}

fn name_of(key: &ResourceKey) -> (Arc<str>, Arc<str>) {
    (key.namespace.clone(), key.name.clone())
}
