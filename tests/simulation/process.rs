//! A process of the operator, which can be stopped for a while, as by SIGSTOP, and with it all that it hears and does.
//!
//! Its tasks and timers cannot be stopped in virtual time. So they come no further than to the next thing that they ask of the world outside: it
//! is not asked before the process goes on, and then the fence stands before it, as it would. Its clocks stand still as well, so that the leader
//! finds out no sooner than the role actors go on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_assume_role::clock::{Clock, Skew};
use aws_assume_role::fence::Fence;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::time::Time;

/// A handle on a process. Each copy is of the same.
#[derive(Clone)]
pub struct Process {
    /// Which one it is. No other has it, nor one that is started later.
    pub number: u64,
    clock: Arc<ProcessClock>,
    fence: Fence,
    skew: Arc<OnceLock<Skew>>,
}

/// The clock of a process.
pub struct ProcessClock {
    time: Time,
    /// Since when it is stopped, by the clock for the lease.
    stopped: watch::Sender<Option<Duration>>,
}

impl Process {
    /// One that shares its work with others, and acts when it is let.
    pub fn new(number: u64, time: &Time) -> Self {
        let clock = Arc::new(ProcessClock {
            time: time.clone(),
            stopped: watch::Sender::new(None),
        });
        Self {
            number,
            fence: Fence::new(clock.clone()),
            clock,
            skew: Arc::default(),
        }
    }

    /// One that is alone.
    pub fn alone(time: &Time) -> Self {
        Self {
            fence: Fence::open(),
            ..Self::new(0, time)
        }
    }

    pub fn clock(&self) -> Arc<ProcessClock> {
        self.clock.clone()
    }

    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    pub fn has_skew(&self, skew: Skew) {
        let _ = self.skew.set(skew);
    }

    /// What it thinks of its wall clock.
    pub fn skew(&self) -> Option<&Skew> {
        self.skew.get()
    }

    pub fn stop(&self) {
        let now = self.clock.since_boot();
        self.clock.stopped.send_replace(Some(now));
    }

    pub fn go_on(&self) {
        self.clock.stopped.send_replace(None);
    }

    /// Waits while it is stopped.
    pub async fn runs(&self) {
        if self.clock.stopped.borrow().is_some() {
            let _ = self.clock.stopped.subscribe().wait_for(Option::is_none).await;
        }
    }

    /// Stands before each call that only a leader makes.
    pub async fn leave(&self) {
        self.runs().await;
        self.fence.pass().await;
    }
}

impl Clock for ProcessClock {
    fn now(&self) -> Timestamp {
        let ahead = self.time.since_boot() - self.since_boot();
        Clock::now(&self.time) - SignedDuration::try_from(ahead).unwrap()
    }

    fn since_boot(&self) -> Duration {
        let stopped = *self.stopped.borrow();
        stopped.unwrap_or_else(|| self.time.since_boot())
    }
}
