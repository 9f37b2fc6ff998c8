//! What is promised of the time: where the operator's clock is right and AWS has said so, nothing moves it.

use k8s_openapi::jiff::Timestamp;

use super::Checks;
use crate::process::Process;

impl Checks {
    /// AWS answered a process, and said what time it was. Another process has another idea of its clock.
    pub fn told_time(&self, process: &Process, answered: Option<Timestamp>) {
        let right = answered.is_some_and(|answered| answered.as_second() == self.seconds());
        let second = i64::try_from(self.time.seconds()).unwrap();
        let mut state = self.state();
        let known = state.told.take().filter(|(known, _)| known.number == process.number);
        state.told = match right {
            true => Some((process.clone(), second)),
            false => known,
        };
    }

    /// A process makes a call. If it takes its clock for behind, and AWS has not told it the time since somebody set it, then any of its timers may
    /// go off too soon: one that stands by hears nothing of AWS, and what it makes of a clock that is set back errs on the side of safety.
    pub(super) fn may_be_misled(&self, process: &Process) {
        let settled = self.time.settled();
        let told = self.state().told.clone();
        let was_told = told.is_some_and(|(known, told)| known.number == process.number && told > settled);
        if !was_told && process.skew().is_some_and(|skew| !skew.get().is_zero()) {
            self.allow_calls_of_all();
        }
    }

    /// Checks from time to time that no single answer moved it.
    pub fn check_skew(&self) {
        let settled = self.time.settled();
        let state = self.state();
        let told = state.told.clone();
        drop(state);
        let Some((process, _)) = told.filter(|(_, told)| !self.time.lies() && *told > settled) else {
            return;
        };
        let skew = process.skew().map(|skew| skew.get().as_secs()).unwrap_or_default();
        if skew != 0 {
            self.fail(&format!(
                "the operator takes its clock for {skew} s behind, and it is right"
            ));
        }
    }
}
