//! What is promised of Secrets: only their owner's are written, and the credentials in them do not expire while that can be avoided.

use k8s_openapi::jiff::Timestamp;

use super::{Checks, State};
use crate::place::Place;

/// How long a refresh must have been possible within the overlap before an expiration counts as avoidable, in seconds: the longest pause
/// between attempts, a call that hangs, and the restart of an actor.
const LONG_ENOUGH: i64 = 210;

/// How long a watch may hear nothing, in seconds.
const LONGEST_SILENCE: i64 = 300;

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
    fn can_be_refreshed(&self, place: &Place) -> bool {
        let held = self.held.get(place);
        held.is_some_and(|held| !self.outages.affect(&held.owner))
    }
}

impl Checks {
    pub fn may_write(&self, place: &Place, owner: Option<&str>, by: &str) {
        if owner != Some(by) {
            self.fail(&format!("Secret {place} of {owner:?} was written by {by}"));
        }
        self.may_repair(place, owner);
    }

    pub fn may_repair(&self, place: &Place, owner: Option<&str>) {
        let Some(owner) = owner else {
            self.fail(&format!("Secret {place} of nobody was touched"));
        };
        let home = self.state().homes.get(owner).cloned();
        if home.is_none_or(|home| home.namespace != place.namespace) {
            self.fail(&format!(
                "Secret {place} was touched, which says that {owner} of another namespace controls it"
            ));
        }
    }

    pub fn secret_written(&self, place: &Place, owner: &str, content: &str) {
        let now = self.time.now();
        let expiration = self.aws.session_end(content).or_else(|| self.aws.token_end(content));
        let Some(expiration) = expiration else {
            self.fail(&format!(
                "Secret {place} got credentials that AWS does not know: {content:?}"
            ));
        };
        self.note(&format!("{place} written for {owner}, until {expiration}"));
        self.check_replaced(place, now);
        self.may_repair(place, Some(owner));
        let mut state = self.state();
        state.figures.refreshes += 1;
        state.has_fresh(owner, place, now, expiration);
        if let Some(came) = state.newcomers.remove(owner) {
            let waited = state.outages.longest_without(owner, came, now.as_second());
            let slowest = &mut state.figures.slowest_newcomer;
            *slowest = (*slowest).max(waited);
            if waited >= 2 * LONG_ENOUGH + LONGEST_SILENCE {
                drop(state);
                self.fail(&format!(
                    "Secret {place} of {owner} got its first credentials after {waited} s in which nothing excused it"
                ));
            }
        }
        let held = HeldCredentials {
            owner: owner.to_owned(),
            expiration,
            written: now,
        };
        if let Some(before) = state.held.insert(place.clone(), held)
            && before.owner == owner
            && !place.is_hostile()
        {
            let margin = before.expiration.as_second() - now.as_second();
            state.figures.replaced(margin);
            if before.expiration > now && state.could_be_refreshed(&before) >= LONG_ENOUGH {
                state.figures.replaced_without_excuse(margin);
            }
        }
    }

    pub fn secret_gone(&self, place: &Place) {
        self.note(&format!("{place} gone"));
        self.check_replaced(place, self.time.now());
        let mut state = self.state();
        if let Some(held) = state.held.remove(place) {
            state.has_lost(&held.owner, place);
        }
    }

    /// Checks of credentials that go now, and had expired by then, whether that could have been avoided.
    fn check_replaced(&self, place: &Place, now: Timestamp) {
        let mut state = self.state();
        let Some(held) = state.held.get(place) else {
            return;
        };
        if held.expiration >= now || place.is_hostile() {
            return;
        }
        let possible = state.could_be_refreshed(held);
        if possible < LONG_ENOUGH {
            state.figures.excused += 1;
            return;
        }
        let complaint = format!(
            "Secret {place} of {} held credentials that ended {} s ago, written {} s before that; a refresh could have been made for {possible} s",
            held.owner,
            now.as_second() - held.expiration.as_second(),
            held.expiration.as_second() - held.written.as_second(),
        );
        state.figures.expired_seconds += now.duration_since(held.expiration).as_secs().unsigned_abs();
        drop(state);
        self.fail(&complaint);
    }

    /// Checks that somebody's edit of credentials does not stand for long when they could have been replaced.
    pub fn is_put_right_in_time(&self, place: &Place, owner: &str, since: i64) {
        let now = self.seconds();
        let possible = self.state().outages.longest_without(owner, since, now);
        if possible >= 2 * LONG_ENOUGH + LONGEST_SILENCE {
            self.fail(&format!(
                "Secret {place} of {owner} is as somebody spoilt it {} s ago",
                now - since
            ));
        }
    }

    /// The Secrets whose credentials ended so many seconds ago, each with its owner.
    pub fn ended_for(&self, seconds: i64) -> Vec<(Place, Place)> {
        let now = self.seconds();
        let state = self.state();
        let ended = state
            .held
            .iter()
            .filter(|(_, held)| held.expiration.as_second() + seconds < now);
        let owned = ended.filter_map(|(place, held)| Some((place.clone(), state.homes.get(&held.owner)?.clone())));
        owned.collect()
    }

    /// Checks all Secrets, from time to time.
    pub fn check_secrets(&self) {
        let now = self.time.now();
        let mut state = self.state();
        let expired = state.held.iter().filter(|(_, held)| held.expiration < now);
        let expired = expired.map(|(place, _)| place).filter(|place| !place.is_hostile());
        let waiting: Vec<Place> = expired.filter(|place| state.can_be_refreshed(place)).cloned().collect();
        let complaint = waiting.iter().find_map(|place| state.complaint_of_expired(place, now));
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
    fn complaint_of_expired(&self, place: &Place, now: Timestamp) -> Option<String> {
        let held = self.held.get(place)?;
        let begin = held.expiration.as_second() - held.overlap();
        let possible = self.outages.longest_without(&held.owner, begin, now.as_second());
        (possible >= 2 * LONG_ENOUGH).then(|| {
            format!(
                "Secret {place} of {} holds credentials that ended {} s ago, and nothing hinders a refresh",
                held.owner,
                now.as_second() - held.expiration.as_second()
            )
        })
    }
}
