//! The one timer of the actor: what it wakes for, and when.

use ractor::ActorRef;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{RoleMessage, RoleState};
use crate::operator::cycle::Observation;
use crate::refresh::Trigger;
use crate::refresh::schedule::{RetryClass, retry, since};

/// A timer that is running.
pub(super) struct Timer {
    pub(super) purpose: Purpose,
    pub(super) at: Instant,
    pub(super) number: u64,
    _task: AbortOnDropHandle<()>,
}

/// What the actor wakes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The next cycle.
    Cycle,
    /// A cycle for the Secret's sake, that was put off.
    Secret,
    /// A cycle that a person set off, that was put off.
    Person(Trigger),
    /// Another attempt to write the status.
    Status,
}

impl RoleState {
    pub(super) fn due(&mut self, myself: &ActorRef<RoleMessage>, number: u64) {
        let Some(timer) = self.timer.take_if(|timer| timer.number == number) else {
            return;
        };
        match timer.purpose {
            Purpose::Cycle => {
                let trigger = match self.memory.status.content.failures {
                    None | Some(0) => Trigger::Due,
                    Some(_) => Trigger::Retry,
                };
                // A retry finds out by itself whether there is anything left to do.
                if let (Trigger::Due, Observation::Seen(Some(secret))) = (trigger, &self.memory.observation) {
                    self.memory.overdue = secret.expiration();
                }
                self.start_cycle(myself, trigger);
            }
            Purpose::Secret => {
                self.last_follow_up = Some(Instant::now());
                self.start_cycle(myself, Trigger::SecretChanged);
            }
            Purpose::Person(trigger) => {
                // It is there: the timer was set for the moment from which on it is.
                let _ = self.allowance.take(Instant::now());
                self.start_cycle(myself, trigger);
            }
            Purpose::Status => self.try_status(myself),
        }
    }

    /// Sets the timer to what comes soonest: the next cycle, one that a person set off, or the next attempt to write the status.
    pub(super) fn set_timer(&mut self, myself: &ActorRef<RoleMessage>) {
        self.timer = None;
        let status_again = (!self.memory.status.written).then(|| {
            let now = self.context.now();
            let seed = &self.resource.key.uid;
            let at = retry(now, RetryClass::Soon, self.status_failures, None, seed);
            (Instant::now() + since(now, at), Purpose::Status)
        });
        // One that a person set off does what the next one would have done.
        let next = self.memory.next.filter(|_| self.postponed.is_none());
        // The wall clock may have jumped since the moment was told by both clocks: the sooner of the two is the safe one.
        let now = self.context.now();
        let cycle = next.map(|next| {
            let by_wall_clock = Instant::now() + since(now, next.at);
            (next.instant.min(by_wall_clock), Purpose::Cycle)
        });
        let person = self.postponed.map(|(at, trigger)| (at, Purpose::Person(trigger)));
        let timers = cycle.into_iter().chain(person).chain(status_again);
        if let Some((at, purpose)) = timers.min_by_key(|(at, _)| *at) {
            self.start_timer(myself, purpose, at);
        }
    }

    pub(super) fn start_timer(&mut self, myself: &ActorRef<RoleMessage>, purpose: Purpose, at: Instant) {
        self.timer_number += 1;
        let number = self.timer_number;
        let myself = myself.clone();
        self.timer = Some(Timer {
            purpose,
            at,
            number,
            _task: AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                let _ = myself.cast(RoleMessage::Due(number));
            })),
        });
    }

    /// The wall clock, by which credentials end, jumped, or the machine was suspended, during which timers stand still. Which of the two,
    /// and whether the clock is right now, cannot be known: the sooner of what the timer and the new time say is the safe one.
    pub(super) fn clock_stepped(&mut self, myself: &ActorRef<RoleMessage>) {
        let Some(next) = &mut self.memory.next else {
            return;
        };
        let by_wall_clock = Instant::now() + since(self.context.now(), next.at);
        if by_wall_clock < next.instant {
            next.instant = by_wall_clock;
            // A timer that goes off sooner, for the Secret's sake or the status's, leads to the cycle by itself.
            let sooner = self.timer.as_ref().is_some_and(|timer| timer.at <= by_wall_clock);
            if self.task.is_none() && !sooner {
                self.set_timer(myself);
            }
        }
    }
}
