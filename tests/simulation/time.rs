//! Virtual time: tokio's paused clock, and an operator's clock that can lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aws_assume_role::clock::Clock;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// When every life begins.
const BEGIN: i64 = 1_900_000_000;

/// The true time, which AWS tells.
#[derive(Clone)]
pub struct Time {
    begin: Instant,
    /// By how many seconds the operator's clock is ahead.
    lie: Arc<AtomicI64>,
    /// When that last changed, in seconds since the beginning.
    changed: Arc<AtomicI64>,
}

/// How long the operator may take to find out that its clock jumped, in seconds.
const NOTICE: u64 = 15;

impl Time {
    pub fn begin() -> Self {
        Self {
            begin: Instant::now(),
            lie: Arc::default(),
            changed: Arc::new(AtomicI64::new(-1000)),
        }
    }

    pub fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.begin.elapsed()).unwrap();
        Timestamp::from_second(BEGIN).unwrap() + passed
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> u64 {
        self.begin.elapsed().as_secs()
    }

    pub fn lie_by(&self, seconds: i64) {
        self.lie.store(seconds, Ordering::SeqCst);
        self.changed
            .store(i64::try_from(self.seconds()).unwrap(), Ordering::SeqCst);
    }

    /// Whether the operator's clock is wrong, or was a moment ago.
    pub fn lies(&self) -> bool {
        let changed = self.changed.load(Ordering::SeqCst);
        let since = i64::try_from(self.seconds()).unwrap() - changed;
        self.lie.load(Ordering::SeqCst) != 0 || since < NOTICE.cast_signed()
    }

    /// The second from which on the operator can know its clock as it is.
    pub fn settled(&self) -> i64 {
        self.changed.load(Ordering::SeqCst) + NOTICE.cast_signed()
    }
}

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Time::now(self) + SignedDuration::from_secs(self.lie.load(Ordering::SeqCst))
    }

    fn since_boot(&self) -> Duration {
        self.begin.elapsed()
    }
}
