//! An actor that has nothing to do for a while rests: it ends, and leaves what it remembers, packed, with the supervisor, which starts it
//! again when its time has come or something happens to its resource. An actor of ractor takes more memory than all that is known of its
//! resource, and most resources need one for a second in ten minutes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use opentelemetry::trace::SpanContext;
use ractor::ActorRef;
use tokio::time::Instant;

use super::packed::Packed;
use super::timer::Purpose;
use super::{RoleMessage, RoleReport, RoleState};
use crate::api::AWSAssumeRoleStatus;
use crate::operator::cycle::{Memory, Next, Observation, Status};
use crate::refresh::events::LastEvent;
use crate::refresh::pace::Allowance;
use crate::refresh::schedule::since;
use crate::secret::ObservedSecret;
use crate::spec::template::TemplateError;
use crate::spec::{Resource, ResourceVersion};

/// An actor rests only if it has nothing to do for that long.
const REST_MIN: Duration = Duration::from_secs(5);

/// What is left of an actor that rests.
#[derive(Debug)]
pub struct Rest {
    /// As the actor knew it. The supervisor may know more by now.
    resource: Arc<Resource>,
    secret: RestingSecret,
    /// As the API server has it.
    status: Packed<AWSAssumeRoleStatus>,
    /// The version of the resource with that status, or a later one.
    version: Option<ResourceVersion>,
    next: Option<Next>,
    overdue: Option<Timestamp>,
    last_call: Option<Instant>,
    last_write: Option<Instant>,
    last_follow_up: Option<Instant>,
    allowance: Allowance,
    /// What few resources have.
    more: Option<Box<More>>,
}

/// What a resource has of which the last cycle failed, or that has templates.
#[derive(Debug)]
struct More {
    failed_trace: Option<SpanContext>,
    last_event: Option<LastEvent>,
    checked: Option<(i64, Result<(), TemplateError>)>,
}

/// What is known of the Secret.
#[derive(Debug)]
enum RestingSecret {
    Unknown,
    Absent,
    Seen(Packed<ObservedSecret>),
}

impl Rest {
    /// That of a resource of which nothing is known but its status and its Secret, and for which nothing has to be done until that moment.
    #[must_use]
    pub fn of(resource: &Arc<Resource>, memory: &Memory, now: Instant) -> Option<Self> {
        let secret = match &memory.observation {
            Observation::Unknown => RestingSecret::Unknown,
            Observation::Seen(None) => RestingSecret::Absent,
            Observation::Seen(Some(secret)) => RestingSecret::Seen(Packed::new(&**secret)?),
        };
        Some(Self {
            resource: resource.clone(),
            secret,
            status: Packed::new(&memory.status.content)?,
            version: memory.status.over,
            next: memory.next,
            overdue: memory.overdue,
            last_call: memory.last_call,
            last_write: memory.last_write,
            last_follow_up: None,
            allowance: Allowance::new(now),
            more: None,
        })
    }

    /// The moment at which there is something to do.
    #[must_use]
    pub fn ends(&self) -> Option<Instant> {
        self.next.map(|next| next.instant)
    }

    /// The status, as the API server has it.
    #[must_use]
    pub fn status(&self) -> &Packed<AWSAssumeRoleStatus> {
        &self.status
    }

    /// Whether the status that the watch shows is news: another one, and later.
    #[must_use]
    pub fn is_status_news(&self, status: &Packed<AWSAssumeRoleStatus>, version: Option<ResourceVersion>) -> bool {
        version > self.version && *status != self.status
    }

    /// The Secret as it was last seen, if there was one.
    #[must_use]
    pub fn secret(&self) -> Option<&Packed<ObservedSecret>> {
        match &self.secret {
            RestingSecret::Seen(secret) => Some(secret),
            RestingSecret::Absent | RestingSecret::Unknown => None,
        }
    }

    /// The wall clock jumped: the sooner of what the clocks say is the safe moment.
    pub fn clock_stepped(&mut self, now: Timestamp) {
        if let Some(next) = &mut self.next {
            next.instant = next.instant.min(Instant::now() + since(now, next.at));
        }
    }

    /// Whether a Secret that was seen, of the name that is wanted, is news.
    #[must_use]
    pub fn is_news(&self, secret: &ObservedSecret) -> bool {
        match &self.secret {
            RestingSecret::Seen(known) => known.unpack().is_none_or(|known| secret.is_newer_than(&known)),
            RestingSecret::Absent | RestingSecret::Unknown => true,
        }
    }

    /// Whether it counts on a Secret that was seen.
    #[must_use]
    pub fn has_seen_a_secret(&self) -> bool {
        matches!(self.secret, RestingSecret::Seen(_))
    }

    fn memory(&self) -> Memory {
        let observation = match &self.secret {
            RestingSecret::Unknown => Observation::Unknown,
            RestingSecret::Absent => Observation::Seen(None),
            // What cannot be unpacked is looked at.
            RestingSecret::Seen(secret) => match secret.unpack() {
                Some(secret) => Observation::Seen(Some(Arc::new(secret))),
                None => Observation::Unknown,
            },
        };
        Memory {
            observation,
            forged: None,
            leftovers: BTreeSet::new(),
            status: Status {
                content: self.status.unpack().unwrap_or_default(),
                written: true,
                over: self.version,
            },
            next: self.next,
            overdue: self.overdue,
            last_call: self.last_call,
            last_write: self.last_write,
            unwritten: None,
            checked: self.more.as_ref().and_then(|more| more.checked.clone()),
        }
    }
}

impl RoleState {
    /// Whether nothing is under way, and nothing has to be done for a while.
    fn is_idle(&self) -> bool {
        let memory = &self.memory;
        let at_work = self.task.is_some() || self.event_task.is_some() || self.postponed.is_some();
        let in_order = memory.status.written
            && memory.unwritten.is_none()
            && memory.forged.is_none()
            && memory.leftovers.is_empty();
        let soon = Instant::now() + REST_MIN;
        let waits = self
            .timer
            .as_ref()
            .is_none_or(|timer| timer.purpose == Purpose::Cycle && timer.at >= soon);
        !at_work && in_order && waits
    }

    /// Tells the supervisor, once, that there is nothing to do.
    pub(super) fn tell_idle(&mut self, myself: &ActorRef<RoleMessage>) {
        let idle = self.is_idle();
        if idle && !self.told_idle {
            self.report(myself, RoleReport::Idle);
        }
        self.told_idle = idle;
    }

    /// Rests, unless something came up.
    pub(super) fn may_rest(&mut self, myself: &ActorRef<RoleMessage>) {
        let rest = self.is_idle().then(|| self.rest()).flatten();
        let rests = rest.is_some();
        self.report(myself, RoleReport::Rests(rest.map(Box::new)));
        if rests {
            self.timer = None;
            myself.stop(None);
        }
    }

    /// What is left of it when it rests.
    fn rest(&self) -> Option<Rest> {
        let now = Instant::now();
        let last_event = self.last_event.as_ref().filter(|last| last.may_recur(now));
        let more = More {
            failed_trace: self.failed_trace.clone(),
            last_event: last_event.cloned(),
            checked: self.memory.checked.clone(),
        };
        let has_more = more.failed_trace.is_some() || more.checked.is_some() || more.last_event.is_some();
        Some(Rest {
            last_follow_up: self.last_follow_up,
            allowance: self.allowance,
            more: has_more.then(|| Box::new(more)),
            ..Rest::of(&self.resource, &self.memory, now)?
        })
    }

    /// Takes up what it left when it began to rest.
    pub(super) fn wake(&mut self, rest: Rest) {
        self.memory = rest.memory();
        self.resource = rest.resource;
        self.last_follow_up = rest.last_follow_up;
        self.allowance = rest.allowance;
        if let Some(more) = rest.more {
            self.failed_trace = more.failed_trace;
            self.last_event = more.last_event;
        }
    }
}
