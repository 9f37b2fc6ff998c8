//! The role actor: one resource, its timer, its AWS session, its Secret, its status.
//!
//! Nothing long happens in a handler. A cycle runs as a task that the actor owns and that reports by a message, so that a deletion or a
//! change of the spec takes effect in the middle of a call; the task and the timer end with the actor.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{Instrument, debug, info_span};

use crate::cycle::{Cycle, Observation, Report, Services, Status};
use crate::refresh::Trigger;
use crate::refresh::schedule::{Patience, retry, since};
use crate::task::Task;
use crate::wanted::Watched;

/// The actor's code. Its data is in [`RoleState`].
#[derive(Clone, Copy, Debug)]
pub struct RoleActor;

/// What a role actor is told.
#[derive(Debug)]
pub enum RoleMessage {
    /// The resource was made, changed, or listed again.
    Changed(Arc<Watched>),
    /// The timer has run down.
    Due,
    /// The wall clock jumped: the timer is to be set anew.
    ClockStepped,
    /// The cycle of that number is done.
    Finished(u64, Box<Report>),
    /// The status of the cycle of that number was tried again.
    StatusTried(u64, Box<Status>),
    /// The task of that number panicked.
    Panicked(u64),
}

/// The data of a role actor.
pub struct RoleState {
    services: Services,
    watched: Arc<Watched>,
    observation: Observation,
    status: Status,
    next: Option<Timestamp>,
    timer: Option<Task>,
    work: Option<Task>,
    /// Counts the tasks, so that the word of one that was ended is not taken for that of its successor.
    number: u64,
    /// Failed writes of the status in a row.
    status_failures: u32,
}

/// A cycle came to no end. The supervisor starts the actor again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a cycle panicked")]
struct CyclePanicked;

impl Actor for RoleActor {
    type Msg = RoleMessage;
    type State = RoleState;
    type Arguments = (Services, Arc<Watched>);

    async fn pre_start(
        &self,
        myself: ActorRef<RoleMessage>,
        (services, watched): (Services, Arc<Watched>),
    ) -> Result<RoleState, ActorProcessingErr> {
        let mut state = RoleState {
            services,
            observation: Observation::Unknown,
            status: Status {
                content: watched.status.clone(),
                written: true,
            },
            watched,
            next: None,
            timer: None,
            work: None,
            number: 0,
            status_failures: 0,
        };
        state.start_cycle(&myself, Trigger::Created);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RoleMessage>,
        message: RoleMessage,
        state: &mut RoleState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RoleMessage::Changed(watched) => state.changed(&myself, watched),
            RoleMessage::Due => state.due(&myself),
            RoleMessage::ClockStepped => state.set_timer(&myself),
            RoleMessage::Finished(number, report) if number == state.number => {
                state.work = None;
                state.observation = report.observation;
                state.next = report.next;
                state.status_is(&myself, report.status);
            }
            RoleMessage::StatusTried(number, status) if number == state.number => {
                state.work = None;
                state.status_is(&myself, *status);
            }
            RoleMessage::Panicked(number) if number == state.number => {
                return Err(CyclePanicked.into());
            }
            RoleMessage::Finished(..) | RoleMessage::StatusTried(..) | RoleMessage::Panicked(_) => {
                debug!(resource = %state.watched.key, "word of a task that was ended");
            }
        }
        Ok(())
    }
}

impl RoleState {
    /// Takes a new spec up at once. Everything else that changes on a resource, its status first of all, is not news.
    fn changed(&mut self, myself: &ActorRef<RoleMessage>, watched: Arc<Watched>) {
        let same = self.watched.generation == watched.generation && self.watched.wanted == watched.wanted;
        self.watched = watched;
        if !same {
            // The new spec may name another Secret.
            self.observation = Observation::Unknown;
            self.start_cycle(myself, Trigger::SpecChanged);
        }
    }

    fn due(&mut self, myself: &ActorRef<RoleMessage>) {
        if self.work.is_some() {
            return;
        }
        if self.next.is_some_and(|next| next <= self.services.clock.now()) {
            let trigger = match self.status.content.failures {
                None | Some(0) => Trigger::Due,
                Some(_) => Trigger::Retry,
            };
            self.start_cycle(myself, trigger);
        } else if self.status.written {
            self.set_timer(myself);
        } else {
            self.try_status(myself);
        }
    }

    /// Starts a cycle, in place of one that is under way. A Secret that such a one may have been writing must be looked at again.
    fn start_cycle(&mut self, myself: &ActorRef<RoleMessage>, trigger: Trigger) {
        if self.work.take().is_some() {
            self.observation = Observation::Unknown;
        }
        let cycle = Cycle {
            services: self.services.clone(),
            resource: self.watched.key.clone(),
            generation: self.watched.generation,
            wanted: self.watched.wanted.clone(),
            observation: self.observation.clone(),
            status: self.status.clone(),
        };
        let key = &self.watched.key;
        let span = info_span!(
            parent: None,
            "refresh",
            namespace = key.namespace,
            name = key.name,
            uid = key.uid,
            trigger = %trigger,
        );
        let number = self.number + 1;
        self.work(myself, async move {
            let report = cycle.run().instrument(span).await;
            RoleMessage::Finished(number, Box::new(report))
        });
    }

    fn try_status(&mut self, myself: &ActorRef<RoleMessage>) {
        let services = self.services.clone();
        let resource = self.watched.key.clone();
        let mut status = self.status.clone();
        let number = self.number + 1;
        self.work(myself, async move {
            status.write(&services, &resource).await;
            RoleMessage::StatusTried(number, Box::new(status))
        });
    }

    /// Runs the one task that the actor has at a time, and has its last word sent back.
    fn work(&mut self, myself: &ActorRef<RoleMessage>, work: impl Future<Output = RoleMessage> + Send + 'static) {
        self.timer = None;
        self.number += 1;
        let number = self.number;
        let myself = myself.clone();
        self.work = Some(Task::spawn(async move {
            let word = AssertUnwindSafe(work)
                .catch_unwind()
                .await
                .unwrap_or(RoleMessage::Panicked(number));
            // An actor that is gone needs no word.
            let _ = myself.cast(word);
        }));
    }

    fn status_is(&mut self, myself: &ActorRef<RoleMessage>, status: Status) {
        self.status_failures = match status.written {
            true => 0,
            false => self.status_failures.saturating_add(1),
        };
        self.status = status;
        self.set_timer(myself);
    }

    /// Sets the timer to the next cycle, or to the next attempt to write the status if that comes sooner.
    fn set_timer(&mut self, myself: &ActorRef<RoleMessage>) {
        self.timer = None;
        if self.work.is_some() {
            return;
        }
        let now = self.services.clock.now();
        let status_again = (!self.status.written).then(|| {
            let failures = self.status_failures;
            retry(now, Patience::Soon, failures, None, &self.watched.key.uid)
        });
        let Some(next) = self.next.into_iter().chain(status_again).min() else {
            return;
        };
        let pause = since(now, next);
        let myself = myself.clone();
        self.timer = Some(Task::spawn(async move {
            tokio::time::sleep(pause).await;
            let _ = myself.cast(RoleMessage::Due);
        }));
    }
}
