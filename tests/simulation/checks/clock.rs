//! What is promised of the time: where the operator's clock is right and AWS has said so, nothing moves it.

use aws_assume_role::clock::Skew;
use k8s_openapi::jiff::Timestamp;

use super::Checks;

impl Checks {
    /// Another operator has another idea of its clock.
    pub fn watch_skew(&self, skew: Skew) {
        let mut state = self.state();
        state.skew = Some(skew);
        state.told = None;
    }

    /// AWS answered the operator, and said what time it was.
    pub fn told_time(&self, answered: Option<Timestamp>) {
        if answered.is_some_and(|answered| answered.as_second() == self.seconds()) {
            let second = i64::try_from(self.time.seconds()).unwrap();
            self.state().told = Some(second);
        }
    }

    /// Checks from time to time that no single answer moved it.
    pub fn check_skew(&self) {
        let settled = self.time.settled();
        let state = self.state();
        if self.time.lies() || state.told.is_none_or(|told| told <= settled) {
            return;
        }
        let skew = state.skew.as_ref().map(|skew| skew.get().as_secs()).unwrap_or_default();
        drop(state);
        if skew != 0 {
            self.fail(&format!(
                "the operator takes its clock for {skew} s behind, and it is right"
            ));
        }
    }
}
