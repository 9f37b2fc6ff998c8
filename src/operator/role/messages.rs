//! What a role actor is told, what it tells, and what it begins with.

use std::sync::Arc;

use opentelemetry::trace::SpanContext;
use ractor::{ActorId, DerivedActorRef};
use tracing::Span;

use super::rest::Rest;
use crate::operator::context::Context;
use crate::operator::cycle::{Memory, Report, Status};
use crate::refresh::events::LastEvent;
use crate::refresh::standing::Standing;
use crate::secret::ObservedSecret;
use crate::spec::{Resource, ResourceVersion};

/// The messages of a role actor.
#[derive(Debug)]
pub enum RoleMessage {
    /// The resource was made, changed, or listed again.
    Changed(Arc<Resource>),
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
    /// The operator's own Region is another.
    RegionChanged,
    /// The cycle of that number has ended.
    Finished(u64, Box<Finish>),
    /// The write of the status of that number was tried.
    StatusTried(u64, Box<Status>),
    /// The write of the event of that number was tried. The event, if it was published.
    EventTried(u64, Option<Box<LastEvent>>),
    /// The task of that number panicked.
    Panicked(u64),
    /// Another ruling of the policies holds for the resource.
    PolicyChanged,
    /// The supervisor is ready to take what is left of an actor that rests.
    MayRest,
}

/// What an actor tells its supervisor.
#[derive(Debug)]
pub enum RoleReport {
    /// How its resource stands now.
    Stands(Standing),
    /// It has nothing to do for a while.
    Idle,
    /// The answer to [`RoleMessage::MayRest`]: what is left of it, or nothing where it has something to do by now.
    Rests(Option<Box<Rest>>),
}

/// Where actors report, each under its own ID.
pub type Reports = DerivedActorRef<(ActorId, RoleReport)>;

/// The end of a cycle.
#[derive(Debug)]
pub struct Finish {
    pub(super) report: Report,
    /// Its root span.
    pub(super) span: Span,
    /// The context of that span, where traces are on.
    pub(super) trace: Option<SpanContext>,
}

/// What an actor is started with.
pub struct RoleArguments {
    /// What all actors share.
    pub context: Context,
    /// The resource.
    pub resource: Arc<Resource>,
    /// Its version as it was last seen.
    pub version: Option<ResourceVersion>,
    /// How often its actor was started again.
    pub restarts: u32,
    /// What it begins with.
    pub beginning: Beginning,
    /// Where it reports.
    pub reports: Reports,
}

/// What an actor begins with.
pub enum Beginning {
    /// What is known of its resource, which is worked on at once.
    First(Box<Memory>),
    /// What it left when it began to rest.
    Rested(Box<Rest>),
}
