//! What the supervisor tells when it is asked how things stand: the resources, one by one.

use k8s_openapi::jiff::Timestamp;

use crate::refresh::outcome::Outcome;
use crate::refresh::plan::due_of;
use crate::refresh::schedule::Validity;
use crate::resource::{AWSAssumeRoleStatus, Condition};
use crate::wanted::{ResourceKey, Watched};

/// How things stand. Made anew for everyone who asks: nothing of a resource outlives it.
#[derive(Clone, Debug)]
pub struct Census {
    /// Whether all resources and all Secrets were listed once.
    pub synced: bool,
    /// How many role actors are alive.
    pub actors: usize,
    /// The present, by AWS's clock.
    pub now: Timestamp,
    /// How much later it is for AWS than by the operator's clock, in seconds.
    pub skew_seconds: i64,
    /// The resources.
    pub resources: Vec<(ResourceKey, Figures)>,
}

/// How one resource stands, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// As it was when its last cycle ended.
    pub state: State,
    /// Whether its Secret held valid credentials then.
    pub ready: bool,
    /// When the credentials in its Secret end.
    pub expiration: Option<Timestamp>,
    /// When they were issued.
    pub issued: Option<Timestamp>,
    /// When they are to be replaced, or were to be.
    pub due: Option<Timestamp>,
    /// Failed attempts in a row.
    pub failures: u32,
}

/// The states of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum State {
    /// Its Secret holds valid credentials, and the last attempt succeeded.
    Ready,
    /// Its Secret holds valid credentials, and the last attempt failed.
    Failing,
    /// It is being worked on for the first time, or waits for something that passes.
    #[default]
    Pending,
    /// Its Secret holds no valid credentials.
    Error,
    /// Its spec says not to refresh.
    Suspended,
}

impl Figures {
    /// What is known of a resource that appears, or that an operator finds when it starts.
    #[must_use]
    pub fn at_first(watched: &Watched) -> Self {
        let figures = Self::of_status(&watched.status);
        let due = figures.due_by(watched);
        Self { due, ..figures }
    }

    /// When the credentials are to be replaced, by the spec.
    fn due_by(&self, watched: &Watched) -> Option<Timestamp> {
        let wanted = watched.wanted.as_ref().ok().filter(|wanted| !wanted.suspend)?;
        let (issued, expiration) = (self.issued?, self.expiration?);
        (issued < expiration).then(|| due_of(&watched.key, wanted, Validity { issued, expiration }))
    }

    /// What a status tells. When its credentials are due it does not say: a retry moves what it says of the next attempt.
    #[must_use]
    pub fn of_status(status: &AWSAssumeRoleStatus) -> Self {
        let is = |type_: &str, wanted: &str| {
            condition(status, type_).is_some_and(|condition: &Condition| condition.status == wanted)
        };
        let suspended = condition(status, "Ready").is_some_and(|condition| condition.reason == "Suspended");
        let state = match status.phase.as_deref() {
            _ if suspended => State::Suspended,
            _ if is("Ready", "True") && is("Refreshed", "False") => State::Failing,
            _ if is("Ready", "True") => State::Ready,
            Some("Error") => State::Error,
            _ => State::Pending,
        };
        let failures = status.failures.and_then(|failures| u32::try_from(failures).ok());
        Self {
            state,
            ready: is("Ready", "True"),
            expiration: status.expiration.as_ref().map(|time| time.0),
            issued: status.last_refresh_time.as_ref().map(|time| time.0),
            due: None,
            // Who does not try does not fail.
            failures: failures.filter(|_| !suspended).unwrap_or_default(),
        }
    }

    /// What is so after a cycle. Its `next` is when the credentials are due only if it succeeded.
    #[must_use]
    pub fn after(watched: &Watched, status: &AWSAssumeRoleStatus, outcome: &Outcome, next: Option<Timestamp>) -> Self {
        let figures = Self::of_status(status);
        let due = match outcome {
            Outcome::Issued { .. } | Outcome::Kept(_) | Outcome::Repaired(_) => next,
            Outcome::Suspended => None,
            Outcome::Failed(_) => figures.due_by(watched),
        };
        Self { due, ..figures }
    }

    /// The state at a moment: credentials end also while nobody looks.
    #[must_use]
    pub fn state_at(&self, now: Timestamp) -> State {
        match self.state {
            State::Ready | State::Failing if !self.is_valid_at(now) => State::Error,
            state => state,
        }
    }

    /// Whether the Secret holds valid credentials at a moment.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.ready && self.expiration.is_some_and(|end| end > now)
    }
}

fn condition<'a>(status: &'a AWSAssumeRoleStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::outcome::Failure;
    use crate::resource::AWSAssumeRole;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn status(ready: (&str, &str), refreshed: &str, phase: &str, failures: i32) -> AWSAssumeRoleStatus {
        let condition = |type_: &str, status: &str, reason: &str| Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            ..Condition::default()
        };
        AWSAssumeRoleStatus {
            conditions: vec![
                condition("Ready", ready.0, ready.1),
                condition("Refreshed", refreshed, ""),
            ],
            phase: Some(phase.into()),
            failures: Some(failures),
            expiration: Some(Time(at(900))),
            last_refresh_time: Some(Time(at(0))),
            ..AWSAssumeRoleStatus::default()
        }
    }

    #[test]
    fn the_state_follows_the_conditions_and_the_clock() {
        let ready = Figures::of_status(&status(("True", "Issued"), "True", "Ready", 0));
        assert_eq!(
            (ready.state_at(at(899)), ready.is_valid_at(at(899))),
            (State::Ready, true)
        );
        assert_eq!(
            (ready.state_at(at(900)), ready.is_valid_at(at(900))),
            (State::Error, false)
        );
        let failing = Figures::of_status(&status(("True", "Issued"), "False", "Ready", 2));
        assert_eq!((failing.state_at(at(1)), failing.failures), (State::Failing, 2));
        let error = Figures::of_status(&status(("False", "AccessDenied"), "False", "Error", 3));
        assert_eq!((error.state_at(at(1)), error.is_valid_at(at(1))), (State::Error, false));
        let suspended = Figures::of_status(&status(("True", "Suspended"), "False", "Ready", 3));
        assert_eq!((suspended.state, suspended.failures), (State::Suspended, 0));
        assert!(suspended.is_valid_at(at(1)) && !suspended.is_valid_at(at(900)));
        let lost = Figures::of_status(&status(("False", "Suspended"), "True", "Error", 0));
        assert_eq!((lost.state, lost.is_valid_at(at(1))), (State::Suspended, false));
        assert_eq!(
            Figures::of_status(&AWSAssumeRoleStatus::default()).state,
            State::Pending
        );
    }

    fn watched(spec: serde_json::Value) -> Watched {
        let resource: AWSAssumeRole = serde_json::from_value(serde_json::json!({
            "apiVersion": "pincette.net/v1",
            "kind": "AWSAssumeRole",
            "metadata": {"name": "mine", "namespace": "team", "uid": "uid", "generation": 1},
            "spec": spec,
        }))
        .unwrap();
        Watched::from_resource(&resource)
    }

    fn map(refresh_before: i32, suspend: bool) -> Watched {
        watched(serde_json::json!({
            "roleName": "r", "secretName": "s", "secretType": "Map", "refreshBeforeSeconds": refresh_before, "suspend": suspend,
        }))
    }

    #[test]
    fn what_is_due_is_known_before_the_first_cycle() {
        let mut watched = map(300, false);
        assert_eq!(Figures::at_first(&watched), Figures::default());
        watched.status = status(("True", "Issued"), "True", "Ready", 0);
        let due = Figures::at_first(&watched).due.unwrap();
        assert!(due > at(500) && due <= at(600), "{due}");
    }

    #[test]
    fn a_failure_does_not_move_what_is_due() {
        let validity = Validity {
            issued: at(0),
            expiration: at(900),
        };
        let issued = status(("True", "Issued"), "True", "Ready", 0);
        let kept = Figures::after(&map(300, false), &issued, &Outcome::Kept(validity), Some(at(600)));
        assert_eq!(kept.due, Some(at(600)));
        // Whatever was before: a start, a suspension, another overlap.
        let failing = status(("True", "Issued"), "False", "Ready", 1);
        let failed = Outcome::Failed(Failure::Chained);
        for (overlap, latest) in [(300, 600), (600, 300)] {
            let due = Figures::after(&map(overlap, false), &failing, &failed, Some(at(895))).due;
            assert!(due.unwrap() <= at(latest), "{due:?}");
        }
        let suspended = Figures::after(&map(300, true), &issued, &Outcome::Suspended, Some(at(900)));
        assert_eq!(suspended.due, None);
    }
}
