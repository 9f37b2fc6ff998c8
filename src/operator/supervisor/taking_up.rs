//! How a resource is taken up: with an actor, or without one where everything is in order.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::boundary::Ruled;
use super::children::{Child, Work};
use super::{SupervisorMessage, SupervisorState};
use crate::cluster::Scope;
use crate::operator::cycle::{Memory, Next, Observation};
use crate::operator::role::Beginning;
use crate::operator::role::packed::Packed;
use crate::operator::role::rest::Rest;
use crate::refresh::in_order::in_order;
use crate::refresh::plan::Situation;
use crate::refresh::schedule::since;
use crate::refresh::standing::Standing;

/// For how long nothing may come of the list of the Secrets before the resources are taken up without. Whatever it shows need not be looked at.
pub(super) const SECRETS_LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// For how long the list of the Secrets is waited for while it goes on. Ten thousand take a second or two, and all of them at work at the same
/// time would take a hundred times the memory that they take at rest.
const SECRETS_LIST_MAX: Duration = Duration::from_secs(60);

/// The wait for the list of the Secrets of a scope.
pub(super) struct SecretsWait {
    scope: Scope,
    since: Instant,
    /// Whether the list has shown something since the timer began.
    comes_on: bool,
    _timer: AbortOnDropHandle<()>,
}

impl SecretsWait {
    pub(super) fn begin(myself: &ActorRef<SupervisorMessage>, scope: &Scope) -> Self {
        Self {
            scope: scope.clone(),
            since: Instant::now(),
            comes_on: false,
            _timer: look_later(myself, scope),
        }
    }

    /// The list has shown something.
    pub(super) fn comes_on(&mut self) {
        self.comes_on = true;
    }

    /// It goes on, if the list does.
    fn again(self, myself: &ActorRef<SupervisorMessage>) -> Option<Self> {
        let goes_on = self.comes_on && self.since.elapsed() < SECRETS_LIST_MAX;
        goes_on.then(|| Self {
            comes_on: false,
            _timer: look_later(myself, &self.scope),
            ..self
        })
    }
}

fn look_later(myself: &ActorRef<SupervisorMessage>, scope: &Scope) -> AbortOnDropHandle<()> {
    let (myself, scope) = (myself.clone(), scope.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::time::sleep(SECRETS_LIST_TIMEOUT).await;
        let _ = myself.cast(SupervisorMessage::TakeUp(scope));
    }))
}

impl Child {
    /// Whether its status says that there is nothing to do yet.
    pub(super) fn can_wait(&self, now: Timestamp) -> bool {
        let due = self.standing.due;
        self.standing.is_valid_at(now) && due.is_some_and(|due| due > now)
    }

    /// What is known of a resource that is taken up, or taken up again after a failure.
    pub(super) fn memory(&self, secrets_are_listed: bool) -> Memory {
        let status = self.status.as_ref().and_then(Packed::unpack).unwrap_or_default();
        let observation = match &self.work {
            Work::Waiting(Some(secret)) => secret.unpack().map(|secret| Observation::Seen(Some(Arc::new(secret)))),
            // A new one, then. Its Secret is made without a look, and looked at if there is one after all.
            Work::Waiting(None)
                if secrets_are_listed
                    && status.secret_name.is_none()
                    && self.secrets.is_empty()
                    && !self.resource.is_suspended() =>
            {
                Some(Observation::Seen(None))
            }
            _ => None,
        };
        Memory {
            observation: observation.unwrap_or_default(),
            leftovers: self.secrets.iter().map(|name| name.to_string()).collect(),
            ..Memory::new(status)
        }
    }
}

impl SupervisorState {
    /// The Secrets of a scope take long to be listed. Its resources are taken up without, unless the list goes on.
    pub(super) async fn secrets_are_late(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        scope: Scope,
    ) -> Result<(), ActorProcessingErr> {
        let wait = self.secrets_waits.remove(&scope);
        match wait.and_then(|wait| wait.again(myself)) {
            Some(wait) => {
                self.secrets_waits.insert(scope.clone(), wait);
                self.take_up_urgent(myself, &scope).await
            }
            None => self.secrets_known(myself, &scope).await,
        }
    }

    /// Takes up what of a scope cannot wait until its Secrets are listed.
    pub(super) async fn take_up_urgent(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        scope: &Scope,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.context.now();
        self.take_up_those(myself, scope, |child| !child.can_wait(now)).await?;
        Ok(())
    }

    /// Takes up the resources of a scope that wait for it.
    pub(super) async fn take_up_all(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        scope: &Scope,
    ) -> Result<(), ActorProcessingErr> {
        let uids = self.take_up_those(myself, scope, |_| true).await?;
        let in_order = uids.iter().filter(|uid| {
            let child = self.children.get(*uid);
            child.is_some_and(|child| matches!(child.work, Work::Resting(_)))
        });
        info!(
            namespace = scope.namespace(),
            resources = uids.len(),
            in_order = in_order.count(),
            "the resources are taken up"
        );
        Ok(())
    }

    /// Takes up those of the resources of a scope that wait for it, and gives their UIDs.
    async fn take_up_those(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        scope: &Scope,
        which: impl Fn(&Child) -> bool,
    ) -> Result<Vec<Arc<str>>, ActorProcessingErr> {
        let waiting = self.children_in(scope);
        let waiting = waiting.filter(|(_, child)| {
            let waits = matches!(child.work, Work::Waiting(_)) && which(child);
            waits && self.takes_up_urgent(child.namespace())
        });
        let uids: Vec<_> = waiting.map(|(uid, _)| uid.clone()).collect();
        for uid in &uids {
            self.take_up(myself, uid).await?;
        }
        Ok(uids)
    }

    /// Takes up a resource: its actor starts, unless everything is in order. Then it rests until there is something to do.
    pub(super) async fn take_up(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(memory) = self.rest_in_order(myself, uid) else {
            return Ok(());
        };
        let now = self.context.now();
        let child = self.children.get(uid);
        // Those whose credentials are about to end go in the order in which they do, which the gate before AWS sees to.
        match child.is_some_and(|child| child.standing.is_valid_at(now) && !child.can_wait(now)) {
            true => self.start(myself, uid, Beginning::First(memory)).await,
            false => self.take_up_in_turn(myself, uid).await,
        }
    }

    /// Lays a resource to rest that is in order. Otherwise gives what is known of it.
    pub(super) fn rest_in_order(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
    ) -> Option<Box<Memory>> {
        let child = self.children.get(uid)?;
        let mut memory = Box::new(child.memory(self.secrets.is_listed(child.namespace())));
        let Some((next, standing)) = self.found_in_order(child, &memory) else {
            return Some(memory);
        };
        memory.next = Some(next);
        let Some(rest) = Rest::of(&child.resource, &memory, Instant::now()) else {
            return Some(memory);
        };
        if let Some(child) = self.children.get_mut(uid) {
            child.standing = standing;
        }
        self.lay_to_rest(myself, uid, Box::new(rest));
        None
    }

    /// When there is something to do for a resource, and how it stands, if it is in order.
    fn found_in_order(&self, child: &Child, memory: &Memory) -> Option<(Next, Standing)> {
        let resource = &child.resource;
        let spec = resource.spec.as_ref().ok()?;
        let unlisted = match child.ruled {
            Ruled::Denied(_) => return None,
            // Whose account it is may not be known yet. What is there stays until it is.
            Ruled::Unknown if spec.role.known_arn().is_none() && self.context.aws.known_identity().is_none() => {
                return None;
            }
            ruled => ruled == Ruled::Unlisted,
        };
        let Observation::Seen(Some(secret)) = &memory.observation else {
            return None;
        };
        if memory.leftovers.iter().any(|name| *name != spec.secret_name) {
            return None;
        }
        let region = self.context.aws.region();
        let now = self.context.now();
        let situation = Situation {
            resource: &resource.key,
            generation: resource.generation,
            spec,
            refresh_request: resource.refresh_request.as_deref(),
            status: &memory.status.content,
            region: region.is_known().then_some(&*region.name),
            overdue: None,
            now,
        };
        let found = in_order(resource, situation, secret, unlisted)?;
        let next = Next {
            at: found.next,
            instant: Instant::now() + since(now, found.next),
        };
        Some((next, found.standing))
    }
}
