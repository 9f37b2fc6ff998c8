//! What is promised of the policies: no role is assumed that none permits at that moment.

use super::{Checks, State};
use crate::place::Place;

/// How long the word of a policy takes, in whole seconds: what was asked for in the second in which it changed may have been permitted.
const WORD: i64 = 1;

/// Whom the policies refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub namespace: &'static str,
    /// Only those whose roles are in the other account.
    pub other_account: bool,
}

impl Refusal {
    fn concerns(&self, place: &Place, other_account: bool) -> bool {
        place.namespace == self.namespace && (other_account || !self.other_account)
    }
}

impl Checks {
    /// From now on nobody whom it concerns may have a role.
    pub fn refuse(&self, refusal: Refusal) {
        self.note(&format!("* refused: {refusal:?}"));
        let now = self.seconds();
        self.state().refusals.push((refusal, now));
    }

    /// From now on they may.
    pub fn permit(&self, refusal: Refusal) {
        self.note(&format!("* permitted again: {refusal:?}"));
        self.state().refusals.retain(|(refused, _)| *refused != refusal);
    }
}

impl State {
    /// What there is to complain of a call for a role that no policy permits.
    pub(super) fn complaint_of_refused(&self, uid: &str, now: i64) -> Option<String> {
        let home = self.homes.get(uid)?;
        let other_account = home.is_of_other_account();
        let refused = self
            .refusals
            .iter()
            .find(|(refusal, since)| refusal.concerns(home, other_account) && now - since > WORD);
        refused.map(|(_, since)| {
            format!(
                "AWS was asked for the credentials of {uid} at {home}, which no policy has permitted for {} s",
                now - since
            )
        })
    }
}
