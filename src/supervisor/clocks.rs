//! Two clocks, compared: the wall clock, which tells the ends of credentials, and the one that never jumps, by which timers run.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use ractor::ActorRef;
use tokio::time::Instant;
use tracing::warn;

use super::{SupervisorMessage, SupervisorState};
use crate::role::RoleMessage;
use crate::task::Task;

/// How often the wall clock is compared with the one that never jumps.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

/// How far the two may drift apart between two looks before the timers are set anew.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

impl SupervisorState {
    /// Timers run on a clock that neither jumps nor runs while the machine is suspended; the ends of credentials are told by the wall
    /// clock. When the two part, every timer is set anew.
    pub(super) fn compare_clocks(&mut self) {
        let (instant, wall) = self.clock_seen;
        self.clock_seen = (Instant::now(), self.services.clock.now());
        let passed = SignedDuration::try_from(self.clock_seen.0 - instant).unwrap_or_default();
        let told = self.clock_seen.1.duration_since(wall);
        if (passed - told).abs() <= CLOCK_TOLERANCE {
            return;
        }
        // A clock that was set back tells so. One that leapt ahead may have been right all the time: so it looks after a suspension.
        if told < passed {
            self.services.skew.set_back(passed - told);
        }
        warn!(
            passed_seconds = passed.as_secs(),
            told_seconds = told.as_secs(),
            "the wall clock jumped: all timers are set anew"
        );
        for role in self.roles.values() {
            role.tell(RoleMessage::ClockStepped);
        }
    }
}

/// Reminds the supervisor to compare them.
pub(super) fn check_clock(myself: &ActorRef<SupervisorMessage>) -> Task {
    let myself = myself.clone();
    Task::spawn(async move {
        loop {
            tokio::time::sleep(CLOCK_CHECK).await;
            if myself.cast(SupervisorMessage::CheckClock).is_err() {
                return;
            }
        }
    })
}
