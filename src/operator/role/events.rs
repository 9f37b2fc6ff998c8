//! What the actor shows of its cycles: their recorder, and the events that they are worth.

use ractor::ActorRef;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span, warn};

use super::{RoleMessage, RoleState};
use crate::cluster::{ClusterError, Event};
use crate::refresh::Trigger;
use crate::refresh::events::{LastEvent, Publication};
use crate::telemetry::recorder::CycleRecorder;
use crate::telemetry::spans;

impl RoleState {
    /// Opens the recorder of a cycle, with what only the actor knows: the attempts before it, and its own restarts.
    pub(super) fn recorder(&self, trigger: Trigger) -> CycleRecorder {
        let span = spans::refresh(&self.resource.key, trigger, self.failed_trace.as_ref());
        let failures = self
            .memory
            .status
            .content
            .failures_of_generation(self.resource.generation);
        span.record("aws_assume_role.attempt", i64::from(failures) + 1);
        if self.restarts > 0 {
            span.record("aws_assume_role.actor.restarts", i64::from(self.restarts));
        }
        CycleRecorder::open(span, self.context.metrics.clone())
    }

    /// Publishes an event, in place of one that is still being written. One that cannot be written is dropped: the status says the same.
    pub(super) fn publish(&mut self, myself: &ActorRef<RoleMessage>, event: Event, cycle: Span) {
        let publication = match &mut self.last_event {
            Some(last) => last.publish(&event, Instant::now()),
            None => Publication::New,
        };
        if publication == Publication::Counted {
            return;
        }
        let (cluster, resource) = (self.context.cluster.clone(), self.resource.key.clone());
        let myself = myself.clone();
        self.event_number += 1;
        let number = self.event_number;
        let write = async move {
            let written = match publication {
                Publication::Repeat { name, count } => match cluster.repeat_event(&resource, &name, count).await {
                    // The API server keeps events for a while only.
                    Err(ClusterError::Gone(_)) => cluster.create_event(&resource, &event).await.map(|name| (name, 1)),
                    repeated => repeated.map(|()| (name, count)),
                },
                _ => cluster.create_event(&resource, &event).await.map(|name| (name, 1)),
            };
            let last = match written {
                Ok((name, count)) => Some(Box::new(LastEvent::written(event, name, count, Instant::now()))),
                // So is its namespace, then, or about to be.
                Err(ClusterError::Gone(_) | ClusterError::Terminating(_)) => None,
                Err(error) => {
                    warn!("an event was not published: {error}");
                    None
                }
            };
            let _ = myself.cast(RoleMessage::EventTried(number, last));
        };
        self.event_task = Some(AbortOnDropHandle::new(tokio::spawn(write.instrument(cycle))));
    }
}
