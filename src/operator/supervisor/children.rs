//! The role actors of the supervisor: how they start, stop, and start again after a failure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info};

use super::{SupervisorMessage, SupervisorState};
use crate::operator::role::{RoleActor, RoleArguments, RoleMessage};
use crate::refresh::standing::Standing;
use crate::secret::ObservedSecret;
use crate::spec::{Resource, ResourceKey};

/// The pause before an actor that failed is started again, doubled with each failure.
const RESTART: Duration = Duration::from_secs(1);

/// The longest such pause.
const RESTART_MAX: Duration = Duration::from_secs(60);

/// An actor that lived that long has its earlier failures forgiven.
const FORGIVEN: Duration = Duration::from_secs(600);

/// The most Secrets whose names are remembered for one resource. It has one, and for a moment two.
const SECRETS_MAX: usize = 64;

/// One resource, and the actor that works on it when there is one.
pub(super) struct Child {
    resource: Arc<Resource>,
    actor: Option<ActorRef<RoleMessage>>,
    started: Instant,
    failures: u32,
    /// How often its actor failed, since the operator started.
    restarts: u32,
    /// The names of the Secrets that it controls, as the watch shows them.
    secrets: BTreeSet<String>,
    /// How it stands, as its actor published last.
    standing: watch::Receiver<Standing>,
    _restart: Option<AbortOnDropHandle<()>>,
}

impl Child {
    fn new(resource: Arc<Resource>) -> Self {
        Self {
            standing: watch::channel(Standing::at_first(&resource)).1,
            resource,
            actor: None,
            started: Instant::now(),
            failures: 0,
            restarts: 0,
            secrets: BTreeSet::new(),
            _restart: None,
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.resource.key.namespace
    }

    /// Sends its actor a message. One that has just failed learns everything at its restart.
    pub(super) fn send(&self, message: RoleMessage) {
        if let Some(actor) = &self.actor {
            let _ = actor.cast(message);
        }
    }

    /// Which resource it is, and how it stands.
    pub(super) fn standing(&self) -> (ResourceKey, Standing) {
        (self.resource.key.clone(), self.standing.borrow().clone())
    }
}

impl SupervisorState {
    /// Takes a resource up, or hands its actor the news.
    pub(super) async fn seen(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        resource: Resource,
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
        let resource = Arc::new(resource);
        if let Some(child) = self.children.get_mut(&uid) {
            let before = std::mem::replace(&mut child.resource, resource.clone());
            child.send(RoleMessage::Changed(resource.clone()));
            if before.secret_name() != resource.secret_name() {
                self.forget_secret(&before);
                self.expect_secret(&resource);
            }
            return Ok(());
        }
        self.names.insert(name_of(&resource.key), uid.clone());
        self.expect_secret(&resource);
        self.children.insert(uid.clone(), Child::new(resource));
        self.start(myself, &uid).await
    }

    /// Starts the actor of a resource that has none.
    pub(super) async fn start(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &str,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = self.children.get_mut(uid).filter(|child| child.actor.is_none()) else {
            return Ok(());
        };
        let last = child.standing.borrow().clone();
        let (standing, receiver) = watch::channel(last);
        child.standing = receiver;
        let arguments = RoleArguments {
            context: self.context.clone(),
            resource: child.resource.clone(),
            restarts: child.restarts,
            leftovers: child.secrets.clone(),
            standing,
        };
        let (actor, _) = RoleActor::spawn_linked(None, RoleActor, arguments, myself.get_cell()).await?;
        self.actors.insert(actor.get_id(), uid.to_owned());
        child.actor = Some(actor);
        child.started = Instant::now();
        child._restart = None;
        Ok(())
    }

    /// Stops the actor of a resource and forgets both. Its timer and its call in flight end with it.
    pub(super) fn stop(&mut self, uid: &str, why: &str) {
        let Some(child) = self.children.remove(uid) else {
            return;
        };
        let key = &child.resource.key;
        info!(namespace = key.namespace, name = key.name, "released: {why}");
        if self.names.get(&name_of(key)).is_some_and(|named| named == uid) {
            self.names.remove(&name_of(key));
        }
        self.forget_secret(&child.resource);
        if let Some(actor) = child.actor {
            self.actors.remove(&actor.get_id());
            actor.stop(None);
        }
    }

    /// A Secret that concerns a resource was made or changed.
    pub(super) fn secret_seen(&mut self, uid: &str, secret: &ObservedSecret) {
        if let Some(child) = self.children.get_mut(uid) {
            if secret.controller_uid() == Some(uid) && child.secrets.len() < SECRETS_MAX {
                child.secrets.insert(secret.name().to_owned());
            }
            child.send(RoleMessage::SecretSeen(Box::new(secret.clone())));
        }
    }

    /// A Secret that concerns a resource is not seen any more.
    pub(super) fn secret_lost(&mut self, uid: &str, secret: &ObservedSecret) {
        if let Some(child) = self.children.get_mut(uid) {
            child.secrets.remove(secret.name());
            child.send(RoleMessage::SecretLost(Box::new(secret.clone())));
        }
    }

    fn expect_secret(&mut self, resource: &Resource) {
        if let Some(place) = secret_of(resource) {
            let uids = self.wanted_secrets.entry(place).or_default();
            uids.insert(resource.key.uid.clone());
        }
    }

    fn forget_secret(&mut self, resource: &Resource) {
        if let Some(place) = secret_of(resource)
            && let Some(uids) = self.wanted_secrets.get_mut(&place)
        {
            uids.remove(&resource.key.uid);
            if uids.is_empty() {
                self.wanted_secrets.remove(&place);
            }
        }
    }

    /// An actor came to an end. One that was not told to is started again after a pause.
    pub(super) fn ended(&mut self, myself: &ActorRef<SupervisorMessage>, actor: ActorId, why: &str) {
        let Some(uid) = self.actors.remove(&actor) else {
            return;
        };
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
        child.actor = None;
        let key = &child.resource.key;
        error!(
            namespace = key.namespace,
            name = key.name,
            pause_seconds = pause.as_secs(),
            "the actor of a resource failed and is started again: {why}"
        );
        let myself = myself.clone();
        child._restart = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let _ = myself.cast(SupervisorMessage::Restart(uid));
        })));
    }
}

/// Where the Secret is that a resource asks for.
fn secret_of(resource: &Resource) -> Option<(String, String)> {
    let name = resource.secret_name()?;
    Some((resource.key.namespace.clone(), name.to_owned()))
}

fn name_of(key: &ResourceKey) -> (String, String) {
    (key.namespace.clone(), key.name.clone())
}
