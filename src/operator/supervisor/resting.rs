//! The resources whose actors rest: how they come to it, and what wakes them.

use std::sync::Arc;

use ractor::{ActorId, ActorProcessingErr, ActorRef};

use super::children::Work;
use super::{SupervisorMessage, SupervisorState};
use crate::operator::role::rest::Rest;
use crate::operator::role::{Beginning, RoleMessage, RoleReport};
use crate::secret::ObservedSecret;
use crate::spec::{Resource, Spec};

impl SupervisorState {
    /// An actor reports.
    pub(super) async fn reported(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        id: ActorId,
        report: RoleReport,
    ) -> Result<(), ActorProcessingErr> {
        let Some(uid) = self.actors.get(&id).cloned() else {
            return Ok(());
        };
        let Some(child) = self.children.get_mut(&uid) else {
            return Ok(());
        };
        match report {
            RoleReport::Stands(standing) => {
                child.standing = standing;
                child.told = false;
                self.arrivals.leave(&uid);
                self.check_ruling(myself, &uid).await?;
            }
            RoleReport::Idle => {
                if let Work::Awake(actor) = &child.work
                    && actor.cast(RoleMessage::MayRest).is_ok()
                {
                    child.work = Work::Settling(actor.clone(), Vec::new());
                }
            }
            RoleReport::Rests(rest) => {
                let Work::Settling(actor, held) = &mut child.work else {
                    return Ok(());
                };
                let (actor, held) = (actor.clone(), std::mem::take(held));
                match rest {
                    Some(rest) => {
                        self.actors.remove(&id);
                        self.lay_to_rest(myself, &uid, rest);
                    }
                    None => child.work = Work::Awake(actor),
                }
                for message in held {
                    self.send(myself, &uid, message).await?;
                }
            }
        }
        Ok(())
    }

    /// Whether an actor was told that it may rest.
    pub(super) fn is_settling(&self, id: ActorId) -> bool {
        let uid = self.actors.get(&id);
        uid.and_then(|uid| self.children.get(uid))
            .is_some_and(|child| matches!(child.work, Work::Settling(..)))
    }

    /// Keeps what is left of the actor of a resource until its time comes.
    pub(super) fn lay_to_rest(&mut self, myself: &ActorRef<SupervisorMessage>, uid: &Arc<str>, rest: Box<Rest>) {
        let Some(child) = self.children.get_mut(uid) else {
            return;
        };
        if let Some(at) = rest.ends() {
            self.alarms.set(myself, at, uid);
        }
        child.work = Work::Resting(rest);
        child.share_status();
    }

    /// Takes up what was left of the actor of a resource, if it rests.
    pub(super) fn take_rest(&mut self, uid: &Arc<str>) -> Option<Box<Rest>> {
        let child = self.children.get_mut(uid)?;
        if !matches!(child.work, Work::Resting(_)) {
            return None;
        }
        let Work::Resting(rest) = std::mem::replace(&mut child.work, Work::Waiting(None)) else {
            return None;
        };
        child.status.get_or_insert_with(|| rest.status().clone());
        if let Some(at) = rest.ends() {
            self.alarms.remove(at, uid);
        }
        Some(rest)
    }

    /// Starts the actors whose time has come.
    pub(super) async fn alarm(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        for uid in self.alarms.due(myself) {
            if let Some(rest) = self.take_rest(&uid) {
                self.start(myself, &uid, Beginning::Rested(rest)).await?;
            }
        }
        Ok(())
    }

    /// Sends the actor of a resource a message. One that rests is started for it, if it is news. One that has just failed learns everything
    /// when it is started again.
    pub(super) async fn send(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
        message: RoleMessage,
    ) -> Result<(), ActorProcessingErr> {
        let Some(child) = self.children.get_mut(uid) else {
            return Ok(());
        };
        match &mut child.work {
            Work::Awake(actor) => {
                let _ = actor.cast(message);
            }
            Work::Settling(_, held) => held.push(message),
            Work::Resting(rest) if is_news(&message, rest, &child.resource) => {
                if let Some(rest) = self.take_rest(uid) {
                    self.start(myself, uid, Beginning::Rested(rest)).await?;
                    if let Some(actor) = self.children.get(uid).and_then(|child| child.work.actor()) {
                        let _ = actor.cast(message);
                    }
                }
            }
            // What is taken up later is looked at then.
            Work::Waiting(known) if matches!(message, RoleMessage::SecretNotListed) => *known = None,
            Work::Resting(_) | Work::Waiting(_) | Work::Failed { .. } => {}
        }
        Ok(())
    }

    /// The wall clock jumped: all timers are set anew, also those of the actors that rest.
    pub(super) fn reset_timers(&mut self, myself: &ActorRef<SupervisorMessage>) {
        let now = self.context.now();
        for (uid, child) in &mut self.children {
            match &mut child.work {
                Work::Awake(actor) => {
                    let _ = actor.cast(RoleMessage::ClockStepped);
                }
                Work::Settling(_, held) => held.push(RoleMessage::ClockStepped),
                Work::Resting(rest) => {
                    let before = rest.ends();
                    rest.clock_stepped(now);
                    if let (Some(before), Some(after)) = (before, rest.ends())
                        && before != after
                    {
                        self.alarms.remove(before, uid);
                        self.alarms.set(myself, after, uid);
                    }
                }
                Work::Waiting(_) | Work::Failed { .. } => {}
            }
        }
    }
}

/// Whether an actor that rests has to hear of something. What it would make nothing of need not wake it.
fn is_news(message: &RoleMessage, rest: &Rest, resource: &Resource) -> bool {
    let is_wanted = |secret: &ObservedSecret| resource.secret_name() == Some(secret.name());
    match message {
        RoleMessage::SecretSeen(secret) => !is_wanted(secret) || rest.is_news(secret),
        RoleMessage::SecretNotListed => rest.has_seen_a_secret(),
        RoleMessage::RegionChanged => resource.spec.as_ref().is_ok_and(Spec::shows_own_region),
        _ => true,
    }
}
