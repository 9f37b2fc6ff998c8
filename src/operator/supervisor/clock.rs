//! Two clocks, compared: the wall clock, by which credentials end, and the one that never jumps, by which timers run.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use ractor::ActorRef;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::{SupervisorMessage, SupervisorState};
use crate::clock::Reading;

/// How often the wall clock is compared with the one that never jumps.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

/// How far the two may drift apart between two looks before the timers are set anew.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(2);

impl SupervisorState {
    /// Timers run on a clock that neither jumps nor runs while the machine is suspended; credentials end by the wall
    /// clock. When the two part, every timer is set anew.
    pub(super) fn compare_clocks(&mut self, myself: &ActorRef<SupervisorMessage>) {
        // AWS's answers show what time it is for AWS: timers that were set before that may be late.
        let skew = self.context.skew.get();
        let measured = (skew - self.skew_seen).abs() > CLOCK_TOLERANCE;
        self.skew_seen = skew;
        let seen = self.clock_seen;
        let now = Reading::of(&*self.context.clock);
        self.clock_seen = now;
        if now.behind_timers_since(seen).abs() <= CLOCK_TOLERANCE {
            if measured {
                info!(
                    skew_seconds = skew.as_secs(),
                    "AWS's clock is another: all timers are set anew"
                );
                self.reset_timers(myself);
            }
            return;
        }
        self.context.skew.step(seen, now);
        let passed = now.instant.saturating_duration_since(seen.instant);
        let shown = now.wall.duration_since(seen.wall);
        warn!(
            passed_seconds = passed.as_secs(),
            shown_seconds = shown.as_secs(),
            "the wall clock jumped: all timers are set anew"
        );
        self.skew_seen = self.context.skew.get();
        self.reset_timers(myself);
    }
}

/// Reminds the supervisor to compare them.
pub(super) fn check_clock(myself: &ActorRef<SupervisorMessage>) -> AbortOnDropHandle<()> {
    let myself = myself.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(CLOCK_CHECK).await;
            if myself.cast(SupervisorMessage::CheckClock).is_err() {
                return;
            }
        }
    }))
}
