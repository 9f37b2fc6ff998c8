//! The role actor: one resource, its timer, its AWS session, its Secret, its status.
//!
//! Nothing long happens in a handler. A cycle runs as a task that the actor owns and that reports by a message, so that a deletion or a
//! change of the spec takes effect in the middle of a call; the task and the timer end with the actor.

mod alarm;
mod secret;
mod telling;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use opentelemetry::trace::SpanContext;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument, Span, debug};

use self::alarm::Alarm;
use crate::cycle::{Cycle, Next, Observation, Report, Services, Status};
use crate::refresh::Trigger;
use crate::refresh::event::Published;
use crate::refresh::outcome::Outcome;
use crate::refresh::schedule::SOON;
use crate::secret::ObservedSecret;
use crate::task::Task;
use crate::telemetry::census::Figures;
use crate::telemetry::spans;
use crate::wanted::Watched;

/// The actor's code. Its data is in [`RoleState`].
#[derive(Clone, Copy, Debug)]
pub struct RoleActor;

/// What a role actor is told.
#[derive(Debug)]
pub enum RoleMessage {
    /// The resource was made, changed, or listed again.
    Changed(Arc<Watched>),
    /// A Secret of the resource was seen.
    SecretSeen(Box<ObservedSecret>),
    /// A Secret of the resource is not seen any more: it was deleted, or has lost its label.
    SecretLost(Box<ObservedSecret>),
    /// No Secret of the resource was in the list of all Secrets.
    SecretNotListed,
    /// The timer of that number has run down.
    Due(u64),
    /// The wall clock jumped: the timer is to be set anew.
    ClockStepped,
    /// The cycle of that number is done.
    Finished(u64, Box<Finish>),
    /// The status of the cycle of that number was tried again.
    StatusTried(u64, Box<Status>),
    /// The event of that number was told.
    EventTold(u64, Box<Published>),
    /// The task of that number panicked.
    Panicked(u64),
}

/// The last word of a cycle.
#[derive(Debug)]
pub struct Finish {
    report: Report,
    /// Its root span.
    span: Span,
    /// Its place among the traces.
    trace: Option<SpanContext>,
}

/// What an actor is started with.
pub struct Charge {
    /// What all actors share.
    pub services: Services,
    /// The resource.
    pub watched: Arc<Watched>,
    /// How often its actor was started again.
    pub restarts: u32,
    /// Where the actor tells how it stands.
    pub figures: watch::Sender<Figures>,
}

/// The data of a role actor.
pub struct RoleState {
    services: Services,
    watched: Arc<Watched>,
    restarts: u32,
    figures: watch::Sender<Figures>,
    /// The trace of the last cycle, if that failed.
    failed: Option<SpanContext>,
    /// The event that was told last.
    told: Option<Published>,
    /// The telling of an event. Nothing waits for it.
    telling: Option<Task>,
    /// Counts the events.
    tellings: u64,
    observation: Observation,
    /// The names of Secrets that the resource controls and does not want.
    leftovers: BTreeSet<String>,
    status: Status,
    /// When the next cycle is due.
    next: Option<Next>,
    /// The end of credentials whose time to be replaced has come, whatever the clock says now.
    overdue: Option<Timestamp>,
    alarm: Option<Alarm>,
    work: Option<Task>,
    /// What was seen of the Secret while a cycle was under way.
    seen_meanwhile: Option<Box<ObservedSecret>>,
    lost_meanwhile: bool,
    leftovers_meanwhile: BTreeSet<String>,
    /// When AWS was last asked.
    asked: Option<Instant>,
    /// When a change of the Secret last set a cycle off.
    secret_followed: Option<Instant>,
    /// Counts tasks and timers, so that the word of one that was ended is not taken for that of its successor.
    number: u64,
    /// Failed writes of the status in a row.
    status_failures: u32,
}

/// A cycle came to no end. The supervisor starts the actor again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a cycle panicked")]
pub struct CyclePanicked;

impl Actor for RoleActor {
    type Msg = RoleMessage;
    type State = RoleState;
    type Arguments = Charge;

    async fn pre_start(&self, myself: ActorRef<RoleMessage>, charge: Charge) -> Result<RoleState, ActorProcessingErr> {
        let Charge {
            services,
            watched,
            restarts,
            figures,
        } = charge;
        let mut state = RoleState {
            services,
            restarts,
            figures,
            failed: None,
            told: None,
            telling: None,
            tellings: 0,
            observation: Observation::Unknown,
            leftovers: BTreeSet::new(),
            status: Status {
                content: watched.status.clone(),
                written: true,
            },
            watched,
            next: None,
            overdue: None,
            alarm: None,
            work: None,
            seen_meanwhile: None,
            lost_meanwhile: false,
            leftovers_meanwhile: BTreeSet::new(),
            asked: None,
            secret_followed: None,
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
            RoleMessage::SecretSeen(secret) => state.secret_seen(&myself, secret),
            RoleMessage::SecretLost(secret) => state.secret_lost(&myself, &secret),
            RoleMessage::SecretNotListed => state.secret_not_listed(&myself),
            RoleMessage::Due(number) => state.due(&myself, number),
            RoleMessage::ClockStepped => state.clock_stepped(&myself),
            RoleMessage::Finished(number, finish) if number == state.number => state.finished(&myself, *finish),
            RoleMessage::StatusTried(number, status) if number == state.number => {
                state.work = None;
                state.status_is(*status);
                state.settle(&myself);
            }
            RoleMessage::EventTold(number, published) if number == state.tellings => {
                state.telling = None;
                state.told = Some(*published);
            }
            RoleMessage::Panicked(number) if number == state.number => {
                return Err(CyclePanicked.into());
            }
            RoleMessage::Finished(..)
            | RoleMessage::StatusTried(..)
            | RoleMessage::EventTold(..)
            | RoleMessage::Panicked(_) => {
                debug!(resource = %state.watched.key, "word of a task that was ended");
            }
        }
        Ok(())
    }

    /// The tasks end before the actor has ended, and with them their spans: the last ones leave when all actors have.
    async fn post_stop(&self, _: ActorRef<RoleMessage>, state: &mut RoleState) -> Result<(), ActorProcessingErr> {
        for task in [state.work.take(), state.telling.take()].into_iter().flatten() {
            task.end().await;
        }
        Ok(())
    }
}

impl RoleState {
    /// Takes a new spec or a request up at once. Everything else that changes on a resource, its status first of all, is not news.
    fn changed(&mut self, myself: &ActorRef<RoleMessage>, watched: Arc<Watched>) {
        let same_spec = self.watched.generation == watched.generation && self.watched.wanted == watched.wanted;
        let same_request = self.watched.refresh_request == watched.refresh_request;
        let before = std::mem::replace(&mut self.watched, watched);
        if !same_spec {
            // A cycle that is under way may have written the Secret of the old name already.
            if let (Ok(before), Ok(wanted)) = (&before.wanted, &self.watched.wanted)
                && before.secret_name != wanted.secret_name
            {
                self.leftovers.insert(before.secret_name.clone());
            }
            // The new spec may name another Secret.
            self.observation = Observation::Unknown;
            self.start_cycle(myself, Trigger::SpecChanged);
        } else if !same_request && self.watched.refresh_request.is_some() {
            self.start_cycle(myself, Trigger::Requested);
        }
    }

    /// Starts a cycle, in place of one that is under way. A Secret that such a one may have been writing must be looked at again.
    fn start_cycle(&mut self, myself: &ActorRef<RoleMessage>, trigger: Trigger) {
        if self.work.is_some() {
            self.observation = Observation::Unknown;
        }
        let cycle = Cycle {
            services: self.services.clone(),
            watched: self.watched.clone(),
            trigger,
            observation: self.observation.clone(),
            leftovers: self.leftovers.clone(),
            status: self.status.clone(),
            overdue: self.overdue,
            held_until: self.held_before(),
            asked: self.asked,
            not_before: self.not_before(trigger),
        };
        let account = self.account(trigger);
        self.work(myself, |number| async move {
            let span = account.span().clone();
            let report = cycle.run().instrument(span.clone()).await;
            let trace = account.close(&report.outcome);
            RoleMessage::Finished(number, Box::new(Finish { report, span, trace }))
        });
    }

    /// Until when AWS is left alone. What a person does takes effect at once; everything else keeps its distance from the call before.
    fn not_before(&self, trigger: Trigger) -> Option<Instant> {
        match trigger {
            Trigger::Created | Trigger::SpecChanged | Trigger::Requested => None,
            Trigger::SecretChanged | Trigger::Due | Trigger::Retry => self.asked.map(|asked| asked + SOON),
        }
    }

    /// When the credentials end that the status speaks of, as long as it speaks of this spec. A cycle that cannot look at the Secret
    /// goes by it.
    fn held_before(&self) -> Option<Timestamp> {
        let status = &self.status.content;
        let wanted = self.watched.wanted.as_ref().ok()?;
        let same = status.observed_generation == Some(self.watched.generation)
            && status.secret_name.as_ref() == Some(&wanted.secret_name);
        let ready = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        (same && ready)
            .then_some(status.expiration.as_ref())
            .flatten()
            .map(|end| end.0)
    }

    fn try_status(&mut self, myself: &ActorRef<RoleMessage>) {
        let services = self.services.clone();
        let resource = self.watched.key.clone();
        let mut status = self.status.clone();
        self.work(myself, |number| async move {
            let write = status.write(&services, &resource);
            write.instrument(spans::status_again(&resource)).await;
            RoleMessage::StatusTried(number, Box::new(status))
        });
    }

    /// Runs the one task that the actor has at a time, and has its last word sent back. One that is under way is ended before this one begins.
    fn work<F>(&mut self, myself: &ActorRef<RoleMessage>, work: impl FnOnce(u64) -> F)
    where
        F: Future<Output = RoleMessage> + Send + 'static,
    {
        self.alarm = None;
        self.seen_meanwhile = None;
        self.lost_meanwhile = false;
        self.leftovers.append(&mut self.leftovers_meanwhile);
        self.number += 1;
        let number = self.number;
        let work = work(number);
        let myself = myself.clone();
        let before = self.work.take();
        self.work = Some(Task::spawn(async move {
            if let Some(before) = before {
                before.end().await;
            }
            let word = AssertUnwindSafe(work).catch_unwind().await;
            // An actor that is gone needs no word.
            let _ = myself.cast(word.unwrap_or(RoleMessage::Panicked(number)));
        }));
    }

    fn finished(&mut self, myself: &ActorRef<RoleMessage>, finish: Finish) {
        let Finish { report, span, trace } = finish;
        self.work = None;
        let next = report.next.map(|next| next.at);
        let status = &report.status.content;
        let figures = Figures::after(&self.watched, status, &report.outcome, next);
        self.figures.send_replace(figures);
        self.failed = trace.filter(|_| matches!(report.outcome, Outcome::Failed(_)));
        if let Some(event) = report.event {
            self.tell(myself, event, &span);
        }
        self.observation = report.observation;
        self.leftovers = report.leftovers;
        self.asked = report.asked;
        self.next = report.next;
        self.status_is(report.status);
        self.settle(myself);
    }

    fn status_is(&mut self, status: Status) {
        self.status_failures = match status.written {
            true => 0,
            false => self.status_failures.saturating_add(1),
        };
        self.status = status;
    }

    /// After a task: takes up what happened to the Secret meanwhile, or else waits for the next thing to do.
    fn settle(&mut self, myself: &ActorRef<RoleMessage>) {
        let seen = self.seen_meanwhile.take();
        let lost = std::mem::take(&mut self.lost_meanwhile);
        let more_leftovers = !self.leftovers_meanwhile.is_empty();
        self.leftovers.append(&mut self.leftovers_meanwhile);
        self.set_timer(myself);
        if let Some(secret) = seen {
            self.secret_seen(myself, secret);
        } else if lost && matches!(self.observation, Observation::Seen(Some(_))) {
            // Perhaps the one that is there now, perhaps the one before it: a look tells.
            self.observation = Observation::Unknown;
            self.secret_changed(myself);
        } else if more_leftovers {
            self.secret_changed(myself);
        }
    }
}
