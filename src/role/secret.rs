//! Following the Secret: what the actor does when it sees that somebody changed it.

use std::sync::Arc;

use ractor::ActorRef;
use tokio::time::Instant;

use super::alarm::Purpose;
use super::{RoleMessage, RoleState};
use crate::cycle::Observation;
use crate::refresh::Trigger;
use crate::refresh::schedule::FLOOR;
use crate::secret::ObservedSecret;

impl RoleState {
    pub(super) fn secret_seen(&mut self, myself: &ActorRef<RoleMessage>, secret: Box<ObservedSecret>) {
        let Ok(wanted) = &self.watched.wanted else {
            return;
        };
        if secret.name() != wanted.secret_name {
            // A Secret of an earlier name, which a cycle deletes.
            let name = secret.name().to_owned();
            match self.work.is_some() {
                true => self.leftovers_meanwhile.insert(name),
                false => self.leftovers.insert(name),
            };
            self.secret_changed(myself);
        } else if self.work.is_some() {
            self.lost_meanwhile = false;
            self.seen_meanwhile = Some(secret);
        } else if let Observation::Seen(Some(known)) = &self.observation
            && !secret.is_newer_than(known)
        {
            // The operator's own write, or what was before it.
        } else {
            self.observation = Observation::Seen(Some(Arc::from(secret)));
            self.secret_changed(myself);
        }
    }

    pub(super) fn secret_lost(&mut self, myself: &ActorRef<RoleMessage>, secret: &ObservedSecret) {
        self.leftovers.remove(secret.name());
        self.leftovers_meanwhile.remove(secret.name());
        if self.work.is_some() {
            self.seen_meanwhile = None;
            self.lost_meanwhile = true;
        } else if let Observation::Seen(Some(known)) = &self.observation
            && known.metadata.uid == secret.metadata.uid
        {
            self.observation = Observation::Unknown;
            self.secret_changed(myself);
        }
    }

    pub(super) fn secret_not_listed(&mut self, myself: &ActorRef<RoleMessage>) {
        if self.work.is_none() && matches!(self.observation, Observation::Seen(Some(_))) {
            self.observation = Observation::Unknown;
            self.secret_changed(myself);
        }
    }

    /// Follows a change of the Secret, at once or, when somebody keeps changing it, at the pace of the floor.
    pub(super) fn secret_changed(&mut self, myself: &ActorRef<RoleMessage>) {
        if self.work.is_some() || matches!(&self.watched.wanted, Ok(wanted) if wanted.suspend) {
            return;
        }
        let now = Instant::now();
        match self.secret_followed.map(|followed| followed + FLOOR) {
            Some(allowed) if allowed > now => {
                // A cycle that is due sooner sees to it.
                if self.alarm.as_ref().is_none_or(|alarm| alarm.at > allowed) {
                    self.set_alarm(myself, Purpose::Secret, allowed);
                }
            }
            _ => {
                self.secret_followed = Some(now);
                self.start_cycle(myself, Trigger::SecretChanged);
            }
        }
    }
}
