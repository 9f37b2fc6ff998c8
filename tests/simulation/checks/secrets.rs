//! What is promised of Secrets: only their owner's are written, and the credentials in them do not expire while that can be avoided.

use k8s_openapi::jiff::Timestamp;

use super::{Checks, State};

/// How long a refresh must have been possible within the overlap before an expiration counts as avoidable, in seconds: the longest pause
/// between attempts, a call that hangs, and the restart of an actor.
const LONG_ENOUGH: i64 = 210;

/// What is known of the credentials in a Secret.
pub(super) struct HeldCredentials {
    owner: String,
    expiration: Timestamp,
    written: Timestamp,
}

impl HeldCredentials {
    /// The overlap that is promised at least: a third of the lifetime. The default is longer for short lifetimes.
    fn overlap(&self) -> i64 {
        (self.expiration.as_second() - self.written.as_second()) / 3
    }
}

impl State {
    /// For how many seconds of the overlap a refresh could have been made.
    fn could_be_refreshed(&self, held: &HeldCredentials) -> i64 {
        let end = held.expiration.as_second();
        self.outages.longest_without(&held.owner, end - held.overlap(), end)
    }

    /// Whether the credentials in a Secret could be refreshed now.
    fn can_be_refreshed(&self, name: &str) -> bool {
        let held = self.held.get(name);
        held.is_some_and(|held| !self.outages.affect(&held.owner))
    }
}

impl Checks {
    pub fn may_write(&self, name: &str, owner: Option<&str>, by: &str) {
        if owner != Some(by) {
            self.fail(&format!("Secret {name} of {owner:?} was written by {by}"));
        }
    }

    pub fn may_repair(&self, name: &str, owner: Option<&str>) {
        if owner.is_none() {
            self.fail(&format!("Secret {name} of nobody was touched"));
        }
    }

    pub fn secret_written(&self, name: &str, owner: &str, content: &str) {
        let now = self.time.now();
        let expiration = self.aws.session_end(content).or_else(|| self.aws.token_end(content));
        let Some(expiration) = expiration else {
            self.fail(&format!(
                "Secret {name} got credentials that AWS does not know: {content:?}"
            ));
        };
        self.note(&format!("{name} written for {owner}, until {expiration}"));
        self.check_replaced(name, now);
        let mut state = self.state();
        state.figures.refreshes += 1;
        let held = HeldCredentials {
            owner: owner.to_owned(),
            expiration,
            written: now,
        };
        if let Some(before) = state.held.insert(name.to_owned(), held)
            && before.owner == owner
            && before.expiration > now
            && state.could_be_refreshed(&before) >= LONG_ENOUGH
        {
            let margin = before.expiration.as_second() - now.as_second();
            let smallest = &mut state.figures.smallest_margin;
            *smallest = Some(smallest.map_or(margin, |known| known.min(margin)));
        }
    }

    pub fn secret_gone(&self, name: &str) {
        self.note(&format!("{name} gone"));
        self.check_replaced(name, self.time.now());
        self.state().held.remove(name);
    }

    /// Checks of credentials that go now, and had expired by then, whether that could have been avoided.
    fn check_replaced(&self, name: &str, now: Timestamp) {
        let mut state = self.state();
        let Some(held) = state.held.get(name) else {
            return;
        };
        if held.expiration >= now {
            return;
        }
        let possible = state.could_be_refreshed(held);
        if possible < LONG_ENOUGH {
            state.figures.excused += 1;
            return;
        }
        let complaint = format!(
            "Secret {name} of {} held credentials that ended {} s ago, written {} s before that; a refresh could have been made for {possible} s",
            held.owner,
            now.as_second() - held.expiration.as_second(),
            held.expiration.as_second() - held.written.as_second(),
        );
        state.figures.expired_seconds += now.duration_since(held.expiration).as_secs().unsigned_abs();
        drop(state);
        self.fail(&complaint);
    }

    /// Checks all Secrets, from time to time.
    pub fn check_secrets(&self) {
        let now = self.time.now();
        let mut state = self.state();
        let expired = state.held.iter().filter(|(_, held)| held.expiration < now);
        let expired = expired.map(|(name, _)| name.clone());
        let waiting: Vec<String> = expired.filter(|name| state.can_be_refreshed(name)).collect();
        let complaint = waiting.iter().find_map(|name| state.complaint_of_expired(name, now));
        if let Some(complaint) = complaint {
            drop(state);
            self.fail(&complaint);
        }
        if waiting.is_empty()
            && !state.outages.is_general()
            && let Some(since) = state.outages.recovering.take()
        {
            let took = u64::try_from(now.as_second() - since).unwrap_or_default();
            state.figures.worst_recovery = state.figures.worst_recovery.max(Some(took));
        }
    }
}

impl State {
    /// What there is to complain of expired credentials that are still there. It is an offence only once there was enough time after the
    /// last outage.
    fn complaint_of_expired(&self, name: &str, now: Timestamp) -> Option<String> {
        let held = self.held.get(name)?;
        let begin = held.expiration.as_second() - held.overlap();
        let possible = self.outages.longest_without(&held.owner, begin, now.as_second());
        (possible >= 2 * LONG_ENOUGH).then(|| {
            format!(
                "Secret {name} of {} holds credentials that ended {} s ago, and nothing hinders a refresh",
                held.owner,
                now.as_second() - held.expiration.as_second()
            )
        })
    }
}
