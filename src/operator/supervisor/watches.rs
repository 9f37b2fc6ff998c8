//! A watch as the supervisor knows it: how far it has come with its lists, when it was last heard, and the task that brings its events.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::jiff::Timestamp;
use ractor::ActorRef;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::SupervisorMessage;
use crate::telemetry::health::WatchHealth;

/// What is known of a watch.
pub(super) struct Watch {
    /// The UIDs of the resources that a list under way has shown so far.
    shown: Option<HashSet<Arc<str>>>,
    /// Whether a list has been complete once.
    listed: bool,
    /// When it was last heard, by the clock of the timers and by AWS's.
    heard: (Instant, Timestamp),
}

impl Watch {
    /// One that begins now. So it counts as heard: it has not been silent yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            shown: None,
            listed: false,
            heard: (Instant::now(), now),
        }
    }

    /// The API server was heard.
    pub(super) fn hear(&mut self, now: Timestamp) {
        self.heard = (Instant::now(), now);
    }

    /// When it was last heard, by AWS's clock.
    pub(super) fn heard(&self) -> Timestamp {
        self.heard.1
    }

    /// How it is, for the probes.
    pub(super) fn health(&self, watch: &'static str) -> WatchHealth {
        WatchHealth {
            watch,
            listed: self.listed,
            heard: self.heard.0,
        }
    }

    /// Whether a list has been complete once.
    pub(super) fn is_listed(&self) -> bool {
        self.listed
    }

    /// A list begins.
    pub(super) fn start(&mut self) {
        self.shown = Some(HashSet::new());
    }

    /// The list shows something of the resource with that UID.
    pub(super) fn show(&mut self, uid: &Arc<str>) {
        if let Some(shown) = &mut self.shown {
            shown.insert(uid.clone());
        }
    }

    /// The list is complete. Gives what it showed.
    pub(super) fn finish(&mut self) -> HashSet<Arc<str>> {
        self.listed = true;
        self.shown.take().unwrap_or_default()
    }
}

/// Sends what a watch brings to the supervisor, in order. The supervisor learns of its end, also when that is a panic: it would act on what
/// it knew then for ever, and nobody would notice.
pub(super) fn forward<T: Send + 'static>(
    mut events: BoxStream<'static, T>,
    myself: &ActorRef<SupervisorMessage>,
    message: fn(T) -> SupervisorMessage,
) -> AbortOnDropHandle<()> {
    let myself = myself.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let forwarded = async {
            while let Some(event) = events.next().await {
                if myself.cast(message(event)).is_err() {
                    return;
                }
            }
        };
        // What it panicked with may quote anything. The panic hook tells the place.
        let _ = AssertUnwindSafe(forwarded).catch_unwind().await;
        let _ = myself.cast(SupervisorMessage::WatchEnded);
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;
    use ractor::{Actor, ActorProcessingErr};

    use super::*;
    use crate::cluster::SecretEvent;

    /// Ends when it is told that a watch has ended, as the supervisor does.
    struct Ends;

    impl Actor for Ends {
        type Msg = SupervisorMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<SupervisorMessage>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            myself: ActorRef<SupervisorMessage>,
            message: SupervisorMessage,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            if matches!(message, SupervisorMessage::WatchEnded) {
                myself.stop(None);
            }
            Ok(())
        }
    }

    async fn is_told_of(events: BoxStream<'static, SecretEvent>) -> bool {
        let (actor, ended) = Actor::spawn(None, Ends, ()).await.unwrap();
        let _watch = forward(events, &actor, SupervisorMessage::SecretWatched);
        tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok()
    }

    #[tokio::test]
    async fn a_watch_that_ends_or_panics_is_told_of() {
        let heard = || stream::iter([SecretEvent::Heard]);
        assert!(is_told_of(heard().boxed()).await);
        let panics = stream::once(async { panic!("a planted panic") });
        assert!(is_told_of(heard().chain(panics).boxed()).await);
    }
}
