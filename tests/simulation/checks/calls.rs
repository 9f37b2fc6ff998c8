//! What is promised of the calls to AWS: none for nothing, none for what is deleted, and none but at a pace for who keeps asking.

use std::collections::VecDeque;

use k8s_openapi::jiff::Timestamp;

use super::{Checks, State};
use crate::place::Place;
use crate::process::Process;

/// The least time between two calls for one resource that nothing set off, in seconds.
const LEAST_PAUSE: i64 = 4;

/// How many calls a person may set off in a row, and how long it takes until there is another one, in seconds.
const PERSON_BURST: i64 = 5;
const PERSON_INTERVAL: i64 = 10;

/// The most calls for a resource within a minute: those that a person sets off, and one in five seconds that failures and edits of the Secret do.
const MINUTE_MAX: usize = 5 + 6 + 12;

/// How long before the writing of credentials the reason for the next ones may lie, in seconds: it may come while a call is under way.
const UNDER_WAY: i64 = 180;

/// The calls for one resource.
#[derive(Default)]
pub(super) struct Calls {
    last: Option<i64>,
    /// Those of the last minute.
    recent: VecDeque<i64>,
    /// How many more may come without a pause, for reasons that have not been used up.
    allowed: u32,
    /// When all that a person may set off will be there again.
    full: i64,
    /// When there last was a reason for new credentials before their time.
    reason: Option<i64>,
    /// The credentials that it got last.
    fresh: Option<Fresh>,
}

/// Credentials that were written, and are good.
struct Fresh {
    place: Place,
    /// When AWS was asked for them.
    asked: Timestamp,
    expiration: Timestamp,
}

impl Fresh {
    /// Whether they are so young that no spec can ask for their replacement.
    fn is_young(&self, now: Timestamp) -> bool {
        let lifetime = self.expiration.duration_since(self.asked).as_secs();
        let age = now.duration_since(self.asked).as_secs();
        age * 10 < lifetime * 4
    }
}

impl Calls {
    /// Takes one out of what a person may set off, if it is there.
    fn take_from_person(&mut self, now: i64) -> bool {
        let full = self.full.max(now) + PERSON_INTERVAL;
        let there = full <= now + PERSON_INTERVAL * PERSON_BURST;
        if there {
            self.full = full;
        }
        there
    }
}

impl Checks {
    /// Something happened for which a resource may ask AWS at once.
    pub fn allow_call(&self, uid: &str) {
        self.note(&format!("{uid} has a reason for a call"));
        let now = self.seconds();
        let mut state = self.state();
        let calls = state.calls.entry(uid.to_owned()).or_default();
        calls.allowed += 1;
        calls.reason = Some(now);
    }

    /// Something happened for which a resource may ask AWS before it is time, but not at once.
    pub fn has_reason(&self, uid: &str) {
        let now = self.seconds();
        self.state().calls.entry(uid.to_owned()).or_default().reason = Some(now);
    }

    /// The operator may have forgotten when it last asked AWS.
    pub fn pauses_forgotten(&self) {
        for calls in self.state().calls.values_mut() {
            calls.allowed += 1;
        }
    }

    /// The clock jumped: what is due is not what it was.
    pub fn allow_calls_of_all(&self) {
        let now = self.seconds();
        for calls in self.state().calls.values_mut() {
            calls.allowed += 1;
            calls.reason = Some(now);
        }
    }

    pub fn resource_deleted(&self, uid: &str) {
        self.state().deleted.insert(uid.to_owned());
    }

    /// A process makes a call for a resource.
    pub fn called(&self, uid: &str, process: &Process) {
        self.note(&format!("a call to AWS for {uid}"));
        self.may_be_misled(process);
        let complaint = self.state().called(uid, self.time.now(), self.time.lies());
        if let Some(complaint) = complaint {
            self.fail(&complaint);
        }
    }
}

impl State {
    fn called(&mut self, uid: &str, at: Timestamp, clock_lies: bool) -> Option<String> {
        let now = at.as_second();
        if self.deleted.contains(uid) {
            return Some(format!("AWS was asked for the credentials of {uid}, which was deleted"));
        }
        if let Some(complaint) = self.complaint_of_refused(uid, now) {
            return Some(complaint);
        }
        let hostile = self.homes.get(uid).is_some_and(Place::is_hostile);
        let calls = self.calls.entry(uid.to_owned()).or_default();
        calls.recent.push_back(now);
        while calls.recent.front().is_some_and(|before| *before <= now - 60) {
            calls.recent.pop_front();
        }
        self.figures.busiest_minute = self.figures.busiest_minute.max(calls.recent.len());
        if calls.recent.len() > MINUTE_MAX {
            return Some(format!(
                "AWS was asked for {uid} {} times within a minute",
                calls.recent.len()
            ));
        }
        let too_soon = calls.last.is_some_and(|last| now - last < LEAST_PAUSE);
        calls.last = Some(now);
        if too_soon {
            let excused = calls.allowed > 0;
            calls.allowed = calls.allowed.saturating_sub(1);
            if !excused && !hostile {
                return Some(format!(
                    "AWS was asked for {uid} twice within {LEAST_PAUSE} s for no reason"
                ));
            }
            if !excused && !calls.take_from_person(now) {
                return Some(format!(
                    "AWS was asked for {uid} more often than {PERSON_BURST} times in a row and once in {PERSON_INTERVAL} s"
                ));
            }
        }
        let wasted = calls.fresh.as_ref().filter(|fresh| {
            let reason = calls.reason.unwrap_or(i64::MIN);
            fresh.is_young(at) && reason < fresh.asked.as_second() - UNDER_WAY
        });
        if let Some(fresh) = wasted
            && !hostile
            && !clock_lies
        {
            return Some(format!(
                "AWS was asked for {uid} for no reason: what Secret {} got is {} s old and good until {}",
                fresh.place,
                at.duration_since(fresh.asked).as_secs(),
                fresh.expiration,
            ));
        }
        None
    }

    /// A resource got new credentials.
    pub(super) fn has_fresh(&mut self, uid: &str, place: &Place, written: Timestamp, expiration: Timestamp) {
        let calls = self.calls.entry(uid.to_owned()).or_default();
        let asked = calls.last.and_then(|last| Timestamp::from_second(last).ok());
        let asked = asked.unwrap_or(written);
        calls.fresh = Some(Fresh {
            place: place.clone(),
            asked,
            expiration,
        });
    }

    /// A Secret is gone, and with it the credentials of its owner.
    pub(super) fn has_lost(&mut self, owner: &str, place: &Place) {
        if let Some(calls) = self.calls.get_mut(owner) {
            calls.fresh.take_if(|fresh| fresh.place == *place);
        }
    }
}
