//! The role actor: one resource, its timer, its AWS session, its Secret, its status.
//!
//! Nothing long happens in a handler. A cycle runs as a task that the actor owns and that reports by a message, so that a deletion or a
//! change of the spec takes effect in the middle of a call. Task and timer end with the actor. One that has nothing to do for a while
//! rests ([`rest`]).

mod events;
mod messages;
pub mod packed;
pub mod rest;
mod secret;
mod timer;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use opentelemetry::trace::SpanContext;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, debug};

pub use self::messages::{Beginning, Finish, Reports, RoleArguments, RoleMessage, RoleReport};
use self::secret::SecretNews;
use self::timer::Timer;
use super::context::Context;
use super::cycle::{Cycle, Memory, Observation, Status};
use crate::refresh::Trigger;
use crate::refresh::events::LastEvent;
use crate::refresh::outcome::Outcome;
use crate::refresh::pace::Allowance;
use crate::refresh::standing::Standing;
use crate::spec::Resource;
use crate::telemetry::spans;

/// The actor's code. Its data is in [`RoleState`].
#[derive(Clone, Copy, Debug)]
pub struct RoleActor;

/// The data of a role actor.
pub struct RoleState {
    context: Context,
    resource: Arc<Resource>,
    restarts: u32,
    reports: Reports,
    /// Whether the supervisor knows that there is nothing to do.
    told_idle: bool,
    /// What the last cycle left for the next.
    memory: Memory,
    /// The trace of the last cycle, if that failed.
    failed_trace: Option<SpanContext>,
    /// The cycle under way, or the write of a status.
    task: Option<AbortOnDropHandle<()>>,
    /// Counts the tasks: a late report of one that was aborted is not taken for that of its successor.
    task_number: u64,
    /// What happened to the Secrets while a task was under way.
    meanwhile: Meanwhile,
    timer: Option<Timer>,
    /// Counts the timers.
    timer_number: u64,
    last_event: Option<LastEvent>,
    /// The write of an event. Nothing waits for it.
    event_task: Option<AbortOnDropHandle<()>>,
    /// Counts the events.
    event_number: u64,
    /// The cycles that a person may set off.
    allowance: Allowance,
    /// A cycle that a person set off and that has to wait.
    postponed: Option<(Instant, Trigger)>,
    /// When a change of the Secret last set a cycle off.
    last_follow_up: Option<Instant>,
    /// Failed writes of the status in a row.
    status_failures: u32,
}

/// What happened to the Secrets of a resource while a task was under way.
#[derive(Debug, Default)]
struct Meanwhile {
    /// The last news of the Secret.
    secret: Option<SecretNews>,
    /// The names of Secrets that appeared and are not wanted.
    leftovers: BTreeSet<String>,
    /// Whether the operator's own Region became another.
    region_changed: bool,
}

/// A cycle panicked. The supervisor starts the actor again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a cycle panicked")]
pub struct CyclePanicked;

impl Actor for RoleActor {
    type Msg = RoleMessage;
    type State = RoleState;
    type Arguments = RoleArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<RoleMessage>,
        arguments: RoleArguments,
    ) -> Result<RoleState, ActorProcessingErr> {
        let RoleArguments {
            context,
            resource,
            version,
            restarts,
            beginning,
            reports,
        } = arguments;
        let mut state = RoleState {
            context,
            restarts,
            reports,
            told_idle: false,
            memory: Memory::default(),
            allowance: Allowance::new(Instant::now()),
            postponed: None,
            resource,
            failed_trace: None,
            task: None,
            task_number: 0,
            meanwhile: Meanwhile::default(),
            timer: None,
            timer_number: 0,
            last_event: None,
            event_task: None,
            event_number: 0,
            last_follow_up: None,
            status_failures: 0,
        };
        match beginning {
            Beginning::First(memory) => {
                state.memory = *memory;
                state.memory.status.over = version;
                state.start_cycle(&myself, Trigger::Created);
            }
            Beginning::Rested(rest) => {
                state.wake(*rest);
                state.memory.status.over = state.memory.status.over.max(version);
                state.set_timer(&myself);
            }
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RoleMessage>,
        message: RoleMessage,
        state: &mut RoleState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RoleMessage::Changed(resource) => state.changed(&myself, resource),
            RoleMessage::SecretSeen(secret) => state.secret_seen(&myself, secret, Instant::now()),
            RoleMessage::SecretLost(secret) => state.secret_lost(&myself, &secret),
            RoleMessage::SecretNotListed => state.secret_not_listed(&myself),
            RoleMessage::Due(number) => state.due(&myself, number),
            RoleMessage::ClockStepped => state.clock_stepped(&myself),
            RoleMessage::RegionChanged => state.region_changed(&myself),
            RoleMessage::Finished(number, finish) if number == state.task_number => state.finished(&myself, *finish),
            RoleMessage::StatusTried(number, status) if number == state.task_number => {
                state.task = None;
                state.status_tried(*status);
                state.settle(&myself);
            }
            RoleMessage::Panicked(number) if number == state.task_number => return Err(CyclePanicked.into()),
            RoleMessage::EventTried(number, event) if number == state.event_number => {
                state.event_task = None;
                if let Some(event) = event {
                    state.last_event = Some(*event);
                }
            }
            RoleMessage::Finished(..)
            | RoleMessage::StatusTried(..)
            | RoleMessage::Panicked(_)
            | RoleMessage::EventTried(..) => {
                debug!(resource = %state.resource.key, "report of a task that was aborted");
            }
            // A cycle under way may be about to ask for what is not permitted any more, or wait for what is by now.
            RoleMessage::PolicyChanged => state.start_cycle(&myself, Trigger::PolicyChanged),
            RoleMessage::MayRest => state.may_rest(&myself),
        }
        state.tell_idle(&myself);
        Ok(())
    }

    /// The tasks end before the actor has ended, and with them their spans: the last ones leave when all actors have.
    async fn post_stop(&self, _: ActorRef<RoleMessage>, state: &mut RoleState) -> Result<(), ActorProcessingErr> {
        for task in [state.task.take(), state.event_task.take()].into_iter().flatten() {
            end(task).await;
        }
        Ok(())
    }
}

/// Aborts a task and waits until it has let go of everything it held. Dropping the handle only asks for that.
async fn end(task: AbortOnDropHandle<()>) {
    task.abort();
    // Aborted, done before, or panicked: it has ended.
    let _ = task.await;
}

impl RoleState {
    /// Takes a new spec or a request up at once. Everything else that changes on a resource, its status first of all, is not news.
    fn changed(&mut self, myself: &ActorRef<RoleMessage>, resource: Arc<Resource>) {
        let before = std::mem::replace(&mut self.resource, resource);
        if !self.resource.asks_for_the_same_as(&before) {
            // A cycle that is under way may have written the Secret of the old name already.
            if let (Some(old), Some(new)) = (before.secret_name(), self.resource.secret_name())
                && old != new
            {
                self.memory.leftovers.insert(old.to_owned());
            }
            // The new spec may name another Secret.
            self.memory.observation = Observation::Unknown;
            self.start_for_a_person(myself, Trigger::SpecChanged);
        } else if self.resource.refresh_request.is_some() && self.resource.refresh_request != before.refresh_request {
            self.start_for_a_person(myself, Trigger::Requested);
        }
    }

    /// Starts a cycle that a person set off, at once or, when there were many, a little later. One that is under way for another spec ends in any
    /// case: it does what is not asked for any more.
    fn start_for_a_person(&mut self, myself: &ActorRef<RoleMessage>, trigger: Trigger) {
        match self.allowance.take(Instant::now()) {
            Ok(()) => self.start_cycle(myself, trigger),
            Err(allowed) => {
                self.postponed = Some((allowed, trigger));
                if trigger == Trigger::SpecChanged && self.task.take().is_some() {
                    // Its report will not be taken.
                    self.task_number += 1;
                    self.aborted();
                }
                // After a task that goes on the timer is set in any case.
                if self.task.is_none() {
                    self.set_timer(myself);
                }
            }
        }
    }

    /// Starts a cycle, in place of one that is under way. A Secret that such a one may have been writing must be looked at again.
    fn start_cycle(&mut self, myself: &ActorRef<RoleMessage>, trigger: Trigger) {
        if self.task.is_some() {
            self.aborted();
        }
        self.postponed = None;
        self.memory.leftovers.append(&mut self.meanwhile.leftovers);
        self.memory.status.see(&self.resource);
        let cycle = Cycle::new(
            self.context.clone(),
            self.resource.clone(),
            trigger,
            self.memory.clone(),
        );
        // The cycle says when the next is due. Until then none is, also if it comes to no end.
        self.memory.next = None;
        let recorder = self.recorder(trigger);
        self.run(myself, |number| async move {
            let span = recorder.span().clone();
            let report = cycle.run().instrument(span.clone()).await;
            let trace = recorder.close(&report.outcome);
            RoleMessage::Finished(number, Box::new(Finish { report, span, trace }))
        });
    }

    /// What is known after a task that was aborted: it may have been writing the Secret, and may have called AWS.
    fn aborted(&mut self) {
        self.memory.observation = Observation::Unknown;
        self.memory.last_call = Some(Instant::now());
    }

    fn try_status(&mut self, myself: &ActorRef<RoleMessage>) {
        let context = self.context.clone();
        let resource = self.resource.key.clone();
        let mut status = self.memory.status.clone();
        status.see(&self.resource);
        self.run(myself, |number| async move {
            let write = status.write(&context, &resource);
            write.instrument(spans::status_again(&resource)).await;
            RoleMessage::StatusTried(number, Box::new(status))
        });
    }

    /// Runs the one task that the actor has at a time, and has its report sent back. One that is under way is ended before this one begins.
    fn run<F>(&mut self, myself: &ActorRef<RoleMessage>, work: impl FnOnce(u64) -> F)
    where
        F: Future<Output = RoleMessage> + Send + 'static,
    {
        self.timer = None;
        self.meanwhile.secret = None;
        self.memory.leftovers.append(&mut self.meanwhile.leftovers);
        self.task_number += 1;
        let number = self.task_number;
        let work = work(number);
        let myself = myself.clone();
        let before = self.task.take();
        self.task = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Some(before) = before {
                end(before).await;
            }
            let report = AssertUnwindSafe(work).catch_unwind().await;
            // An actor that is gone needs no report.
            let _ = myself.cast(report.unwrap_or(RoleMessage::Panicked(number)));
        })));
    }

    fn finished(&mut self, myself: &ActorRef<RoleMessage>, finish: Finish) {
        let Finish { report, span, trace } = finish;
        self.task = None;
        let status = &report.memory.status.content;
        let next = report.memory.next.map(|next| next.at);
        let standing = Standing {
            went_by: report.went_by,
            ..Standing::after(&self.resource, status, &report.outcome, next)
        };
        self.report(myself, RoleReport::Stands(standing));
        self.failed_trace = trace.filter(|_| matches!(report.outcome, Outcome::Failed(_)));
        if let Some(event) = report.event {
            self.publish(myself, event, span);
        }
        let status = report.memory.status.clone();
        self.memory = report.memory;
        self.status_tried(status);
        self.settle(myself);
    }

    fn report(&self, myself: &ActorRef<RoleMessage>, report: RoleReport) {
        // A supervisor that is gone ends this actor too.
        let _ = self.reports.cast((myself.get_id(), report));
    }

    fn status_tried(&mut self, status: Status) {
        self.status_failures = match status.written {
            true => 0,
            false => self.status_failures.saturating_add(1),
        };
        self.memory.status = status;
    }

    /// After a task: takes up what happened to the Secrets meanwhile, or else waits for the next thing to do.
    fn settle(&mut self, myself: &ActorRef<RoleMessage>) {
        let meanwhile = std::mem::take(&mut self.meanwhile);
        self.memory.leftovers.extend(meanwhile.leftovers);
        self.set_timer(myself);
        match meanwhile.secret {
            Some(SecretNews::Seen(secret, at)) => self.secret_seen(myself, secret, at),
            // Perhaps the one that is there now, perhaps the one before it: a look tells.
            Some(SecretNews::Lost) if matches!(self.memory.observation, Observation::Seen(Some(_))) => {
                self.memory.observation = Observation::Unknown;
                self.secret_changed(myself);
            }
            _ => {}
        }
        if meanwhile.region_changed {
            self.region_changed(myself);
        }
        // New ones, or such as could not be deleted. Until the Secret that is wanted is written they stay.
        let in_order = !self.memory.status.content.has_failed() && !self.resource.is_suspended();
        if in_order && !self.memory.leftovers.is_empty() {
            self.secret_changed(myself);
        }
    }
}

#[cfg(test)]
mod secret_tests;
#[cfg(test)]
mod tests;
