//! The wall clock, injected: expiry is a moment of wall-clock time, and a simulation brings a clock of its own.

use k8s_openapi::jiff::Timestamp;

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
