//! The role actor: one resource, its timer, its AWS session, its Secret, its status.
//!
//! Nothing long happens in a handler. A cycle runs as a task that the actor owns and that reports by a message, so that a deletion or a
//! change of the spec takes effect in the middle of a call; the task and the timer end with the actor.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use opentelemetry::trace::SpanContext;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, warn};

use crate::cluster::ClusterError;
use crate::cycle::{Cycle, Next, Observation, Report, Services, Status, in_span};
use crate::refresh::Trigger;
use crate::refresh::event::{Event, Published};
use crate::refresh::outcome::Outcome;
use crate::refresh::schedule::{FLOOR, Patience, SOON, retry, since};
use crate::secret::ObservedSecret;
use crate::task::Task;
use crate::telemetry::account::Account;
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
    /// An event was told.
    EventTold(Box<Published>),
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

/// A timer that is running.
struct Alarm {
    purpose: Purpose,
    at: Instant,
    number: u64,
    _timer: Task,
}

/// What the actor wakes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// The next cycle.
    Cycle,
    /// A cycle for the Secret's sake, that was put off.
    Secret,
    /// Another attempt to write the status.
    Status,
}

/// A cycle came to no end. The supervisor starts the actor again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a cycle panicked")]
struct CyclePanicked;

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
            RoleMessage::EventTold(published) => {
                state.telling = None;
                state.told = Some(*published);
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

    fn secret_seen(&mut self, myself: &ActorRef<RoleMessage>, secret: Box<ObservedSecret>) {
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

    fn secret_lost(&mut self, myself: &ActorRef<RoleMessage>, secret: &ObservedSecret) {
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

    fn secret_not_listed(&mut self, myself: &ActorRef<RoleMessage>) {
        if self.work.is_none() && matches!(self.observation, Observation::Seen(Some(_))) {
            self.observation = Observation::Unknown;
            self.secret_changed(myself);
        }
    }

    /// Follows a change of the Secret, at once or, when somebody keeps changing it, at the pace of the floor.
    fn secret_changed(&mut self, myself: &ActorRef<RoleMessage>) {
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

    fn due(&mut self, myself: &ActorRef<RoleMessage>, number: u64) {
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

    /// Starts a cycle, in place of one that is under way. A Secret that such a one may have been writing must be looked at again.
    fn start_cycle(&mut self, myself: &ActorRef<RoleMessage>, trigger: Trigger) {
        if self.work.take().is_some() {
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

    /// Opens the account of a cycle, with what only the actor knows: the attempts before it, and its own restarts.
    fn account(&self, trigger: Trigger) -> Account {
        let span = spans::refresh(&self.watched.key, trigger, self.failed.as_ref());
        let failures = self.status.content.failures.unwrap_or_default();
        span.record("aws_assume_role.attempt", i64::from(failures) + 1);
        if self.restarts > 0 {
            span.record("aws_assume_role.actor.restarts", i64::from(self.restarts));
        }
        Account::open(span, self.services.metrics.clone())
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

    /// Runs the one task that the actor has at a time, and has its last word sent back.
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
        self.work = Some(Task::spawn(async move {
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
        self.figures
            .send_modify(|figures| *figures = figures.after(status, &report.outcome, next));
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

    /// Tells an event, in place of one that is still being told. One that cannot be told is let be: the status says the same.
    fn tell(&mut self, myself: &ActorRef<RoleMessage>, event: Event, span: &Span) {
        if let Some(told) = &mut self.told
            && told.count_silently(&event, Instant::now())
        {
            return;
        }
        let (cluster, resource) = (self.services.cluster.clone(), self.watched.key.clone());
        let (before, myself) = (self.told.clone(), myself.clone());
        let telling = async move {
            let publish = cluster.publish(&resource, &event, before.as_ref());
            match in_span(spans::event_write(), publish).await {
                Ok(published) => {
                    let _ = myself.cast(RoleMessage::EventTold(Box::new(published)));
                }
                // So is its namespace, then.
                Err(ClusterError::Gone(_)) => {}
                Err(error) => warn!("an event was not told: {error}"),
            }
        };
        self.telling = Some(Task::spawn(telling.instrument(span.clone())));
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

    /// Sets the timer to the next cycle, or to the next attempt to write the status if that comes sooner.
    fn set_timer(&mut self, myself: &ActorRef<RoleMessage>) {
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

    fn set_alarm(&mut self, myself: &ActorRef<RoleMessage>, purpose: Purpose, at: Instant) {
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
    fn clock_stepped(&mut self, myself: &ActorRef<RoleMessage>) {
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
