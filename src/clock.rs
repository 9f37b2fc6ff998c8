//! The wall clock, injected: expiry is a moment of wall-clock time, and a simulation brings a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Tells the time of day, in UTC.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// How much later it is for AWS than by the operator's own clock, as its last answer told. One number for all resources: there is one
/// clock here and one there.
#[derive(Clone, Debug, Default)]
pub struct Skew(Arc<AtomicI64>);

impl Skew {
    /// The present one, in whole seconds.
    #[must_use]
    pub fn get(&self) -> SignedDuration {
        SignedDuration::from_secs(self.0.load(Ordering::Relaxed))
    }

    /// What an answer of AWS told.
    pub fn set(&self, skew: SignedDuration) {
        self.0.store(skew.as_secs(), Ordering::Relaxed);
    }

    /// The operator's clock was set back by so much, while AWS's went on.
    pub fn set_back(&self, by: SignedDuration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}
