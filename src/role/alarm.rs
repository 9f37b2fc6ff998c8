//! The one timer of the actor: what it wakes for, and when.

use ractor::ActorRef;
use tokio::time::Instant;

use super::{RoleMessage, RoleState};
use crate::cycle::Observation;
use crate::refresh::Trigger;
use crate::refresh::schedule::{Patience, retry, since};
use crate::task::Task;

/// A timer that is running.
pub(super) struct Alarm {
    pub(super) purpose: Purpose,
    pub(super) at: Instant,
    pub(super) number: u64,
    _timer: Task,
}

/// What the actor wakes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The next cycle.
    Cycle,
    /// A cycle for the Secret's sake, that was put off.
    Secret,
    /// Another attempt to write the status.
    Status,
}

impl RoleState {
    pub(super) fn due(&mut self, myself: &ActorRef<RoleMessage>, number: u64) {
        let Some(alarm) = self.alarm.take_if(|alarm| alarm.number == number) else {
            return;
        };
        match alarm.purpose {
            Purpose::Cycle => {
                let trigger = match self.status.content.failures {
                    None | Some(0) => Trigger::Due,
                    Some(_) => Trigger::Retry,
                };
                // A retry finds out by itself whether there is anything left to do.
                if let (Trigger::Due, Observation::Seen(Some(secret))) = (trigger, &self.observation) {
                    self.overdue = secret.expiration();
                }
                self.start_cycle(myself, trigger);
            }
            Purpose::Secret => {
                self.secret_followed = Some(Instant::now());
                self.start_cycle(myself, Trigger::SecretChanged);
            }
            Purpose::Status => self.try_status(myself),
        }
    }

    /// Sets the timer to the next cycle, or to the next attempt to write the status if that comes sooner.
    pub(super) fn set_timer(&mut self, myself: &ActorRef<RoleMessage>) {
        self.alarm = None;
        let status_again = (!self.status.written).then(|| {
            let now = self.services.now();
            let at = retry(now, Patience::Soon, self.status_failures, None, &self.watched.key.uid);
            (Instant::now() + since(now, at), Purpose::Status)
        });
        let cycle = self.next.map(|next| (next.instant, Purpose::Cycle));
        if let Some((at, purpose)) = cycle.into_iter().chain(status_again).min_by_key(|(at, _)| *at) {
            self.set_alarm(myself, purpose, at);
        }
    }

    pub(super) fn set_alarm(&mut self, myself: &ActorRef<RoleMessage>, purpose: Purpose, at: Instant) {
        self.number += 1;
        let number = self.number;
        let myself = myself.clone();
        self.alarm = Some(Alarm {
            purpose,
            at,
            number,
            _timer: Task::spawn(async move {
                tokio::time::sleep_until(at).await;
                let _ = myself.cast(RoleMessage::Due(number));
            }),
        });
    }

    /// The clock that tells the ends of credentials jumped, or the machine was suspended, during which timers stand still. Which of the two,
    /// and whether the clock is right now, cannot be known: the sooner of what the timer and the new time say is the safe one.
    pub(super) fn clock_stepped(&mut self, myself: &ActorRef<RoleMessage>) {
        let Some(next) = &mut self.next else {
            return;
        };
        let told = Instant::now() + since(self.services.now(), next.at);
        if told < next.instant {
            next.instant = told;
            // An alarm that goes off sooner, for the Secret's sake or the status's, leads to the cycle by itself.
            let sooner = self.alarm.as_ref().is_some_and(|alarm| alarm.at <= told);
            if self.work.is_none() && !sooner {
                self.set_timer(myself);
            }
        }
    }
}
