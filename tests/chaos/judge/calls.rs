//! The calls to AWS: bounded for each role, none for nothing, none for what is gone.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::secrets::Snapshot;
use super::timeline::Timeline;
use super::{Finding, Moment};

/// The most calls for a role within a minute: those that a person sets off (five at once, then one every ten seconds), and one in five
/// seconds that failures and edits of the Secret do; and a few of operators that begin anew.
const MINUTE_MAX: usize = 5 + 6 + 12 + 7;

/// For how long what people do is a reason for calls.
const REASON: Duration = Duration::from_secs(20);

/// Credentials are too young to be replaced without a reason when they have so much of their life to go.
const YOUNG: f64 = 0.78;

/// How long a role may still be asked for when nobody wants it any more.
const LATE: Duration = Duration::from_secs(60);

/// One role.
#[derive(Debug, Default)]
struct Role {
    /// The calls of the last minute.
    recent: VecDeque<Moment>,
    reason: Option<Moment>,
    /// The end of the credentials in its Secret.
    expiration: Option<Timestamp>,
    /// Since when no resource asks for it.
    unwanted: Option<Moment>,
    told: bool,
}

/// The calls so far.
#[derive(Debug)]
pub struct Calls {
    roles: BTreeMap<String, Role>,
    lifetime: Duration,
    aws_now: Timestamp,
    /// When the snapshot was complete that tells what the Secrets hold.
    seen: Moment,
    /// The most calls for one role within a minute.
    pub busiest: usize,
    pub number: usize,
}

impl Calls {
    /// Sessions last so long.
    pub fn new(lifetime: Duration) -> Self {
        Self {
            roles: BTreeMap::new(),
            lifetime,
            aws_now: Timestamp::UNIX_EPOCH,
            seen: Moment::ZERO,
            busiest: 0,
            number: 0,
        }
    }

    /// Somebody does something that may cause a call for a role.
    pub fn reason(&mut self, role_arn: &str, at: Moment) {
        self.roles.entry(role_arn.to_owned()).or_default().reason = Some(at);
    }

    /// What the calls that follow find.
    pub fn see(&mut self, at: Moment, snapshot: &Snapshot) {
        self.aws_now = snapshot.aws_now;
        self.seen = at;
        for role in self.roles.values_mut() {
            role.expiration = None;
            role.unwanted.get_or_insert(at);
        }
        for resource in &snapshot.resources {
            let role = self.roles.entry(resource.role_arn.clone()).or_default();
            role.unwanted = None;
            let held = snapshot.wanted(resource).and_then(|secret| secret.held.as_ref());
            role.expiration = held
                .filter(|held| held.role_arn == resource.role_arn)
                .map(|held| held.expiration);
        }
    }

    /// A call is made.
    pub fn called(&mut self, at: Moment, role_arn: &str, timeline: &Timeline) -> Option<Finding> {
        self.number += 1;
        let young = self.lifetime.mul_f64(YOUNG);
        let role = self.roles.entry(role_arn.to_owned()).or_default();
        role.recent.push_back(at);
        while role
            .recent
            .front()
            .is_some_and(|first| at - *first >= Duration::from_secs(60))
        {
            role.recent.pop_front();
        }
        self.busiest = self.busiest.max(role.recent.len());
        let calm = timeline.calm_since(at).is_some();
        let has_reason = role.reason.is_some_and(|reason| at <= reason + REASON);
        // A snapshot that was taken while the call was made may show what came of it.
        let is_young = at > self.seen && role.expiration.is_some_and(|end| end - young > self.aws_now);
        let what = if role.recent.len() > MINUTE_MAX {
            format!(
                "AWS was asked for {role_arn} {} times within a minute",
                role.recent.len()
            )
        } else if role.unwanted.is_some_and(|since| at > since + LATE) && calm {
            format!("AWS was asked for {role_arn}, which no resource has wanted for a minute")
        } else if is_young && calm && !has_reason {
            format!(
                "AWS was asked for {role_arn} without a reason: its Secret has credentials until {}, and it is {}",
                role.expiration.unwrap_or_default(),
                self.aws_now
            )
        } else {
            return None;
        };
        let subject = role_arn.rsplit('/').next().unwrap_or_default().to_owned();
        (!std::mem::replace(&mut role.told, true)).then_some(Finding { at, what, subject })
    }
}

#[cfg(test)]
mod tests {
    use super::super::secrets::tests::snapshot;
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    /// Sessions of a minute, and one that was just given.
    fn calls() -> Calls {
        let mut calls = Calls::new(at(60));
        calls.see(at(0), &snapshot());
        calls
    }

    #[test]
    fn a_call_for_young_credentials_needs_a_reason() {
        let timeline = Timeline::default();
        assert!(calls().called(at(1), "arn-a", &timeline).is_some());
        let mut with_reason = calls();
        with_reason.reason("arn-a", at(0));
        assert_eq!(with_reason.called(at(20), "arn-a", &timeline), None);
        assert!(with_reason.called(at(21), "arn-a", &timeline).is_some());

        let mut older = calls();
        let mut seen = snapshot();
        seen.aws_now += at(20);
        older.see(at(20), &seen);
        assert_eq!(older.called(at(21), "arn-a", &timeline), None);

        let mut hindered = timeline;
        hindered.begin(at(0), at(0));
        assert_eq!(calls().called(at(1), "arn-a", &hindered), None);
    }

    #[test]
    fn what_is_gone_is_not_asked_for() {
        let mut calls = calls();
        let mut seen = snapshot();
        seen.resources.clear();
        calls.see(at(10), &seen);
        let timeline = Timeline::default();
        assert_eq!(calls.called(at(70), "arn-a", &timeline), None);
        assert!(calls.called(at(71), "arn-a", &timeline).is_some());
    }

    #[test]
    fn many_calls_are_found_whatever_the_reason() {
        let mut calls = Calls::new(at(60));
        let mut hindered = Timeline::default();
        hindered.begin(at(0), at(0));
        let found = (0..120).filter(|second| calls.called(at(*second), "arn-b", &hindered).is_some());
        assert_eq!(found.count(), 1);
        assert_eq!(calls.busiest, 60);
        let found = (0..120).filter(|second| calls.called(at(second * 3), "arn-c", &hindered).is_some());
        assert_eq!(found.count(), 0);
    }
}
