//! How one resource stands, in numbers and one word.

use k8s_openapi::jiff::Timestamp;

use super::outcome::Outcome;
use super::plan::due_of;
use super::schedule::Validity;
use crate::api::{AWSAssumeRoleStatus, Phase};
use crate::spec::Resource;

/// How one resource stands, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
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
    /// What the last cycle took for granted of the policies.
    pub went_by: WentBy,
}

/// What a cycle takes for granted of the policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WentBy {
    /// It did not get that far.
    #[default]
    Nothing,
    /// What they say was not known.
    Unknown,
    /// The role was permitted.
    Permission,
    /// The role was refused.
    Refusal,
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

impl Standing {
    /// What is known of a resource that appears, or that an operator finds when it starts.
    #[must_use]
    pub fn at_first(resource: &Resource, status: &AWSAssumeRoleStatus) -> Self {
        let standing = Self::of_status(status);
        let due = standing.due_by(resource);
        Self { due, ..standing }
    }

    /// When the credentials are to be replaced, by the spec.
    fn due_by(&self, resource: &Resource) -> Option<Timestamp> {
        let spec = resource.spec.as_ref().ok().filter(|_| !resource.is_suspended())?;
        let (issued, expiration) = (self.issued?, self.expiration?);
        (issued < expiration).then(|| due_of(&resource.key, spec, Validity { issued, expiration }))
    }

    /// What a status tells. When its credentials are due it does not say: a retry moves what it says of the next attempt.
    #[must_use]
    pub fn of_status(status: &AWSAssumeRoleStatus) -> Self {
        let suspended = status.is_suspended();
        let state = match status.phase() {
            _ if suspended => State::Suspended,
            _ if status.is_ready() && status.has_failed() => State::Failing,
            _ if status.is_ready() => State::Ready,
            Some(Phase::Error) => State::Error,
            _ => State::Pending,
        };
        let failures = status.failures.and_then(|failures| u32::try_from(failures).ok());
        Self {
            state,
            ready: status.is_ready(),
            expiration: status.expiration.as_ref().map(|time| time.0),
            issued: status.last_refresh_time.as_ref().map(|time| time.0),
            due: None,
            // Who does not try does not fail.
            failures: failures.filter(|_| !suspended).unwrap_or_default(),
            went_by: WentBy::Nothing,
        }
    }

    /// What is so after a cycle. Its `next` is when the credentials are due only if it succeeded.
    #[must_use]
    pub fn after(
        resource: &Resource,
        status: &AWSAssumeRoleStatus,
        outcome: &Outcome,
        next: Option<Timestamp>,
    ) -> Self {
        let standing = Self::of_status(status);
        let due = match outcome {
            Outcome::Issued { .. } | Outcome::Kept(_) | Outcome::Repaired(..) => next,
            Outcome::Suspended(_) => None,
            Outcome::Failed(_) => standing.due_by(resource),
        };
        Self { due, ..standing }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{AWSAssumeRole, Condition};
    use crate::refresh::outcome::Failure;
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
        let ready = Standing::of_status(&status(("True", "Issued"), "True", "Ready", 0));
        assert_eq!(
            (ready.state_at(at(899)), ready.is_valid_at(at(899))),
            (State::Ready, true)
        );
        assert_eq!(
            (ready.state_at(at(900)), ready.is_valid_at(at(900))),
            (State::Error, false)
        );
        let failing = Standing::of_status(&status(("True", "Issued"), "False", "Ready", 2));
        assert_eq!((failing.state_at(at(1)), failing.failures), (State::Failing, 2));
        let error = Standing::of_status(&status(("False", "AccessDenied"), "False", "Error", 3));
        assert_eq!((error.state_at(at(1)), error.is_valid_at(at(1))), (State::Error, false));
        let suspended = Standing::of_status(&status(("True", "Suspended"), "False", "Ready", 3));
        assert_eq!((suspended.state, suspended.failures), (State::Suspended, 0));
        assert!(suspended.is_valid_at(at(1)) && !suspended.is_valid_at(at(900)));
        let lost = Standing::of_status(&status(("False", "Suspended"), "True", "Error", 0));
        assert_eq!((lost.state, lost.is_valid_at(at(1))), (State::Suspended, false));
        assert_eq!(
            Standing::of_status(&AWSAssumeRoleStatus::default()).state,
            State::Pending
        );
    }

    fn resource(spec: serde_json::Value) -> Resource {
        let resource: AWSAssumeRole = serde_json::from_value(serde_json::json!({
            "apiVersion": "pincette.net/v1",
            "kind": "AWSAssumeRole",
            "metadata": {"name": "mine", "namespace": "team", "uid": "uid", "generation": 1},
            "spec": spec,
        }))
        .unwrap();
        Resource::from_resource(&resource)
    }

    fn map(refresh_before: i32, suspend: bool) -> Resource {
        resource(serde_json::json!({
            "roleName": "r", "secretName": "s", "secretType": "Map", "refreshBeforeSeconds": refresh_before, "suspend": suspend,
        }))
    }

    #[test]
    fn what_is_due_is_known_before_the_first_cycle() {
        let resource = map(300, false);
        assert_eq!(
            Standing::at_first(&resource, &AWSAssumeRoleStatus::default()),
            Standing::default()
        );
        let status = status(("True", "Issued"), "True", "Ready", 0);
        let due = Standing::at_first(&resource, &status).due.unwrap();
        assert!(due > at(500) && due <= at(600), "{due}");
    }

    #[test]
    fn a_failure_does_not_move_what_is_due() {
        let validity = Validity {
            issued: at(0),
            expiration: at(900),
        };
        let issued = status(("True", "Issued"), "True", "Ready", 0);
        let kept = Standing::after(&map(300, false), &issued, &Outcome::Kept(validity), Some(at(600)));
        assert_eq!(kept.due, Some(at(600)));
        // Whatever was before: a start, a suspension, another overlap.
        let failing = status(("True", "Issued"), "False", "Ready", 1);
        let failed = Outcome::Failed(Failure::Chained);
        for (overlap, latest) in [(300, 600), (600, 300)] {
            let due = Standing::after(&map(overlap, false), &failing, &failed, Some(at(895))).due;
            assert!(due.unwrap() <= at(latest), "{due:?}");
        }
        let suspended = Standing::after(&map(300, true), &issued, &Outcome::Suspended(None), Some(at(900)));
        assert_eq!(suspended.due, None);
    }
}
