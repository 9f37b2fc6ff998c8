//! What the actor tells of its cycles: their account, and the events that they are worth.

use ractor::ActorRef;
use tokio::time::Instant;
use tracing::{Instrument, Span, warn};

use super::{RoleMessage, RoleState};
use crate::cluster::ClusterError;
use crate::refresh::Trigger;
use crate::refresh::event::Event;
use crate::task::Task;
use crate::telemetry::account::Account;
use crate::telemetry::spans;

impl RoleState {
    /// Opens the account of a cycle, with what only the actor knows: the attempts before it, and its own restarts.
    pub(super) fn account(&self, trigger: Trigger) -> Account {
        let span = spans::refresh(&self.watched.key, trigger, self.failed.as_ref());
        // A new spec is a new beginning.
        let status = &self.status.content;
        let same_spec = status.observed_generation == Some(self.watched.generation);
        let failures = status.failures.filter(|_| same_spec).unwrap_or_default();
        span.record("aws_assume_role.attempt", i64::from(failures) + 1);
        if self.restarts > 0 {
            span.record("aws_assume_role.actor.restarts", i64::from(self.restarts));
        }
        Account::open(span, self.services.metrics.clone())
    }

    /// Tells an event, in place of one that is still being told. One that cannot be told is let be: the status says the same.
    pub(super) fn tell(&mut self, myself: &ActorRef<RoleMessage>, event: Event, span: &Span) {
        if let Some(told) = &mut self.told
            && told.count_silently(&event, Instant::now())
        {
            return;
        }
        let (cluster, resource) = (self.services.cluster.clone(), self.watched.key.clone());
        let (before, myself) = (self.told.clone(), myself.clone());
        let goes_on = before
            .as_ref()
            .is_some_and(|before| before.goes_on_with(&event, Instant::now()));
        let write = spans::event_write(span, if goes_on { "PATCH" } else { "POST" });
        self.tellings += 1;
        let number = self.tellings;
        let telling = async move {
            match cluster.publish(&resource, &event, before.as_ref()).await {
                Ok(published) => {
                    let _ = myself.cast(RoleMessage::EventTold(number, Box::new(published)));
                }
                // So is its namespace, then.
                Err(ClusterError::Gone(_)) => {}
                Err(error) => {
                    spans::failed(&Span::current(), (&error).into(), &error);
                    warn!("an event was not told: {error}");
                }
            }
        };
        self.telling = Some(Task::spawn(telling.instrument(write)));
    }
}
