//! A clock that may run faster than the machine's, the same for AWS, for the operator and for the SDKs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::jiff::Timestamp;

use crate::root;

/// The clock. It showed the machine's time when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Since the epoch.
    start: Duration,
    factor: u32,
}

fn machine() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

impl Clock {
    /// A clock that runs that much faster from now on.
    pub fn faster(factor: u32) -> Self {
        Self {
            start: machine(),
            factor,
        }
    }

    /// The machine's own.
    pub fn machine() -> Self {
        Self::faster(1)
    }

    /// What it shows.
    pub fn now(&self) -> Timestamp {
        let shown = self.start + machine().saturating_sub(self.start) * self.factor;
        Timestamp::from_nanosecond(i128::try_from(shown.as_nanos()).unwrap()).unwrap()
    }

    /// How long the machine waits while so much time passes on this clock.
    pub fn wait(&self, time: Duration) -> Duration {
        time / self.factor
    }

    /// What starts a program that lives by this clock, with its arguments. Nothing for the machine's own.
    pub fn launcher(&self) -> Vec<String> {
        match self.factor {
            1 => Vec::new(),
            factor => vec![
                root().join("tests/sdks/faster").to_str().unwrap().to_owned(),
                self.start.as_nanos().to_string(),
                factor.to_string(),
            ],
        }
    }
}
