//! What is promised of the operator's own identity: another one is in use within a minute once it is to be had.

use super::Checks;

/// How long the operator may take until it has credentials of AWS again, in seconds: the longest pause between two attempts, and a slow call.
const LONGEST: i64 = 90;

/// An identity that was revoked.
#[derive(Default)]
pub(super) struct Recovery {
    /// Whether AWS refused the operator, so that it knows.
    refused: bool,
    /// Since when another identity is to be had.
    since: Option<i64>,
}

impl Recovery {
    /// Something else keeps the operator from AWS: how long it takes tells nothing.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Checks {
    /// AWS refused the operator's own identity.
    pub fn identity_refused(&self) {
        let mut state = self.state();
        state.identity.refused |= state.outages.goes_on("identity");
    }

    /// The operator can have another identity.
    pub fn identity_is_to_be_had(&self) {
        let now = self.seconds();
        let mut state = self.state();
        if state.outages.is_general() {
            state.identity.forget();
        } else if state.identity.refused {
            state.identity.since = Some(now);
        }
    }

    /// A call failed for another reason, and the next one comes later for it.
    pub fn something_else_failed(&self) {
        self.state().identity.since = None;
    }

    /// AWS took the operator for somebody.
    pub fn identity_taken(&self) {
        let now = self.seconds();
        let mut state = self.state();
        let Some(since) = state.identity.since else {
            return;
        };
        state.identity.forget();
        let took = now - since;
        let worst = &mut state.figures.worst_identity;
        *worst = (*worst).max(u64::try_from(took).ok());
        drop(state);
        if took > LONGEST {
            self.fail(&format!(
                "another identity was to be had for {took} s until it was used"
            ));
        }
    }
}
