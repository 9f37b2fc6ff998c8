//! Following the Secret: what the actor does when it sees that somebody changed it.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::time::Instant;

use super::timer::{Purpose, Timer};
use super::{RoleMessage, RoleState};
use crate::operator::cycle::Observation;
use crate::refresh::Trigger;
use crate::refresh::pace::earliest_follow_up;
use crate::secret::ObservedSecret;
use crate::spec::Spec;

/// How long after a write of the operator's another one, in the same second by the API server's clock, can be told from it.
const SAME_SECOND: Duration = Duration::from_secs(2);

/// What happened to the Secret.
#[derive(Debug)]
pub(super) enum SecretNews {
    /// It was seen so, at that moment.
    Seen(Box<ObservedSecret>, Instant),
    /// It is not seen any more, or was not in a list.
    Lost,
}

impl RoleState {
    pub(super) fn secret_seen(&mut self, myself: &ActorRef<RoleMessage>, secret: Box<ObservedSecret>, at: Instant) {
        let Some(wanted) = self.resource.secret_name() else {
            return;
        };
        if secret.name() != wanted {
            // A Secret of an earlier name, which a cycle deletes.
            let leftovers = match self.task.is_some() {
                true => &mut self.meanwhile.leftovers,
                false => &mut self.memory.leftovers,
            };
            leftovers.insert(secret.name().to_owned());
            self.secret_changed(myself);
        } else if self.task.is_some() {
            self.meanwhile.secret = Some(SecretNews::Seen(secret, at));
        } else if let Observation::Seen(Some(known)) = &self.memory.observation
            && !secret.is_newer_than(known)
        {
            // The operator's own write, or what was before it.
        } else {
            let mut secret = secret;
            if let Observation::Seen(Some(known)) = &self.memory.observation
                && secret.is_forged_since(known, self.has_just_written(at))
            {
                self.memory.forged.clone_from(&secret.metadata.uid);
            }
            secret.forged = self.memory.is_forged(&secret);
            self.memory.observation = Observation::Seen(Some(Arc::from(secret)));
            self.secret_changed(myself);
        }
    }

    pub(super) fn secret_lost(&mut self, myself: &ActorRef<RoleMessage>, secret: &ObservedSecret) {
        self.memory.leftovers.remove(secret.name());
        self.meanwhile.leftovers.remove(secret.name());
        if self.resource.secret_name() != Some(secret.name()) {
            return;
        }
        let about_the_known_one = match &self.memory.observation {
            Observation::Seen(Some(known)) => known.metadata.uid == secret.metadata.uid,
            Observation::Seen(None) => false,
            // Perhaps the one that was in the way is gone.
            Observation::Unknown => true,
        };
        if self.task.is_some() {
            self.meanwhile.secret = Some(SecretNews::Lost);
        } else if about_the_known_one {
            self.memory.observation = Observation::Unknown;
            self.secret_changed(myself);
        }
    }

    pub(super) fn secret_not_listed(&mut self, myself: &ActorRef<RoleMessage>) {
        if self.task.is_some() {
            // What was seen of it since is newer than the list.
            self.meanwhile.secret.get_or_insert(SecretNews::Lost);
        } else if matches!(self.memory.observation, Observation::Seen(Some(_))) {
            self.memory.observation = Observation::Unknown;
            self.secret_changed(myself);
        }
    }

    /// Whether the operator wrote the Secret within the second or two before that moment, by a clock that does not jump.
    fn has_just_written(&self, at: Instant) -> bool {
        let written = self.memory.last_write;
        written.is_some_and(|written| at.saturating_duration_since(written) <= SAME_SECOND)
    }

    /// A Secret that shows the operator's own Region may show another one by now. The cycle finds out.
    pub(super) fn region_changed(&mut self, myself: &ActorRef<RoleMessage>) {
        if !self.resource.spec.as_ref().is_ok_and(Spec::shows_own_region) {
            return;
        }
        match self.task.is_some() {
            true => self.meanwhile.region_changed = true,
            false => self.secret_changed(myself),
        }
    }

    /// Follows a change of the Secret, at once or, when somebody keeps changing it, at a pace.
    pub(super) fn secret_changed(&mut self, myself: &ActorRef<RoleMessage>) {
        if self.task.is_some() {
            return;
        }
        let now = Instant::now();
        match earliest_follow_up(self.last_follow_up, now) {
            Some(allowed) => {
                // A cycle that is due sooner sees to it.
                let sooner = |timer: &Timer| timer.at <= allowed && timer.purpose != Purpose::Status;
                if !self.timer.as_ref().is_some_and(sooner) {
                    self.start_timer(myself, Purpose::Secret, allowed);
                }
            }
            None => {
                self.last_follow_up = Some(now);
                self.start_cycle(myself, Trigger::SecretChanged);
            }
        }
    }
}
