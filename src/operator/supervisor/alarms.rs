//! When the actors that rest are to be started again. They have one timer together.

use std::collections::BTreeSet;
use std::sync::Arc;

use ractor::ActorRef;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::SupervisorMessage;

/// The moments, each with the UID of a resource.
#[derive(Default)]
pub(super) struct Alarms {
    moments: BTreeSet<(Instant, Arc<str>)>,
    timer: Option<(Instant, AbortOnDropHandle<()>)>,
}

impl Alarms {
    /// Sets the alarm of a resource. It has none yet.
    pub(super) fn set(&mut self, myself: &ActorRef<SupervisorMessage>, at: Instant, uid: &Arc<str>) {
        self.moments.insert((at, uid.clone()));
        self.start_timer(myself);
    }

    /// Takes the alarm of a resource off.
    pub(super) fn remove(&mut self, at: Instant, uid: &Arc<str>) {
        // The timer may go off for nothing, which does no harm.
        self.moments.remove(&(at, uid.clone()));
    }

    /// Takes off the alarms whose moment has come, and gives their UIDs.
    pub(super) fn due(&mut self, myself: &ActorRef<SupervisorMessage>) -> Vec<Arc<str>> {
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some((at, _)) = self.moments.first()
            && *at <= now
        {
            due.extend(self.moments.pop_first().map(|(_, uid)| uid));
        }
        self.timer = None;
        self.start_timer(myself);
        due
    }

    /// Has the supervisor told of the first moment, unless it is going to be told sooner.
    fn start_timer(&mut self, myself: &ActorRef<SupervisorMessage>) {
        let Some((first, _)) = self.moments.first() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|(at, _)| at <= first) {
            return;
        }
        let (first, myself) = (*first, myself.clone());
        let task = tokio::spawn(async move {
            tokio::time::sleep_until(first).await;
            let _ = myself.cast(SupervisorMessage::Alarm);
        });
        self.timer = Some((first, AbortOnDropHandle::new(task)));
    }
}
