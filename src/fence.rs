//! The leave to act, which has an end: a leader that was stopped for longer than its lease lasts, or on a machine that was suspended, makes
//! no call when it comes back, however late it finds out that another one leads by now.
//!
//! Every call to AWS and every write to the cluster passes it ([`Fence::pass`]) just before it is sent. Who leads moves the end; once the end
//! has passed, that leave is over for good.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// The end of a leave that is over.
const SHUT: u64 = 0;

/// The end of one that never is.
const NEVER: u64 = u64::MAX;

/// The leave to act. Each copy is the same.
#[derive(Clone)]
pub struct Fence {
    clock: Arc<dyn Clock>,
    /// In nanoseconds since the start of the machine.
    end: Arc<AtomicU64>,
}

impl Fence {
    /// One that lets nobody pass until it is opened.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            end: Arc::new(AtomicU64::new(SHUT)),
        }
    }

    /// One that is open for ever, for an operator that shares its work with nobody.
    #[must_use]
    pub fn open() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            end: Arc::new(AtomicU64::new(NEVER)),
        }
    }

    /// Opens it until a moment, in time since the start of the machine.
    pub fn open_until(&self, end: Duration) {
        self.end.store(nanoseconds(end), Ordering::SeqCst);
    }

    /// Moves the end. `false` if it has passed already: then somebody may have been turned away, and it stays shut.
    #[must_use]
    pub fn extend(&self, end: Duration) -> bool {
        let moved = |before: u64| match before {
            NEVER => Some(NEVER),
            before => self.is_before(before).then_some(nanoseconds(end)),
        };
        let result = self.end.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved);
        if result.is_err() {
            self.shut();
        }
        result.is_ok()
    }

    /// Shuts it at once.
    pub fn shut(&self) {
        self.end.store(SHUT, Ordering::SeqCst);
    }

    /// Whether calls may be made. Whoever is turned away because the end has passed shuts it, so that the end cannot be moved after that.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let closed = |before: u64| (!self.is_before(before)).then_some(SHUT);
        let result = self.end.fetch_update(Ordering::SeqCst, Ordering::SeqCst, closed);
        result.is_err()
    }

    /// Lets a call pass. Where it is shut this comes to no end: whoever asks is about to be stopped, and has nothing to say of it.
    pub async fn pass(&self) {
        if !self.is_open() {
            pending::<()>().await;
        }
    }

    fn is_before(&self, end: u64) -> bool {
        end == NEVER || nanoseconds(self.clock.since_boot()) < end
    }
}

/// Enough for five centuries.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    /// A clock that goes on when it is told to.
    #[derive(Default)]
    struct Seconds(AtomicU64);

    impl Clock for Seconds {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }

        fn since_boot(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fence() -> (Arc<Seconds>, Fence) {
        let clock = Arc::new(Seconds::default());
        clock.0.store(100, Ordering::SeqCst);
        (clock.clone(), Fence::new(clock))
    }

    fn passes(fence: &Fence) -> bool {
        fence.pass().now_or_never().is_some()
    }

    #[test]
    fn nobody_passes_before_it_is_opened_and_after_its_end() {
        let (clock, fence) = fence();
        assert!(!passes(&fence));
        fence.open_until(seconds(110));
        assert!(passes(&fence));
        clock.0.store(109, Ordering::SeqCst);
        assert!(fence.extend(seconds(119)) && passes(&fence));
        clock.0.store(118, Ordering::SeqCst);
        assert!(passes(&fence));
        clock.0.store(119, Ordering::SeqCst);
        assert!(!passes(&fence));
    }

    #[test]
    fn an_end_that_has_passed_cannot_be_moved() {
        let (clock, fence) = fence();
        fence.open_until(seconds(110));
        clock.0.store(110, Ordering::SeqCst);
        assert!(!fence.extend(seconds(200)) && !passes(&fence));
        fence.open_until(seconds(120));
        assert!(passes(&fence), "another leave");
        fence.shut();
        assert!(!fence.extend(seconds(200)) && !passes(&fence));
    }

    #[test]
    fn whoever_is_turned_away_shuts_it() {
        let (clock, fence) = fence();
        fence.open_until(seconds(110));
        clock.0.store(111, Ordering::SeqCst);
        assert!(!fence.is_open());
        clock.0.store(105, Ordering::SeqCst);
        assert!(!fence.extend(seconds(200)) && !fence.is_open());
    }

    #[test]
    fn one_that_is_open_for_ever_lets_everybody_pass() {
        let fence = Fence::open();
        assert!(fence.extend(seconds(1)) && passes(&fence));
    }
}
