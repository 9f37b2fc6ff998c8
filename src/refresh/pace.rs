//! How urgent a resource's call to AWS is, and how long the resource keeps off AWS and off its Secret, whatever happens to it.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::Trigger;
use super::outcome::retry_class;
use super::schedule::RetryClass;
use crate::api::{AWSAssumeRoleStatus, Reason};
use crate::aws::gate::Class;

/// How urgent a call is, given the status before it and the end of the credentials in the Secret. A failure that passes by itself does not
/// make a renewal less urgent: it can still succeed.
#[must_use]
pub fn class(
    status: &AWSAssumeRoleStatus,
    generation: i64,
    current_expiration: Option<Timestamp>,
    now: Timestamp,
) -> Class {
    let reason = status.failure_reason();
    // AWS has not refused what no policy permitted.
    let failures = match reason {
        Some(Reason::PolicyDenied) => 0,
        _ => status.failures_of_generation(generation),
    };
    let refused = reason.map(retry_class) == Some(RetryClass::Late);
    let valid = current_expiration.is_some_and(|end| end > now);
    match (failures, valid) {
        (0, true) => Class::Renewal,
        (0, false) => Class::Newcomer,
        (_, true) if !refused => Class::Renewal,
        (failures, _) => Class::Failed(failures),
    }
}

/// How many cycles a person may set off in a row, by changes of the spec and requests.
const PERSON_BURST: u32 = 5;

/// How long it takes until another one may be set off after that.
const PERSON_INTERVAL: Duration = Duration::from_secs(10);

/// The cycles that a person may set off: five at once, then one every ten seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// When all of it will be there again. What is missing follows from that.
    full: Instant,
}

impl Allowance {
    /// A full one.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { full: now }
    }

    /// Takes one cycle out of it, or says when there is one.
    ///
    /// # Errors
    /// The moment from which on there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full = self.full.max(now) + PERSON_INTERVAL;
        let allowed = now + PERSON_INTERVAL * PERSON_BURST;
        match full <= allowed {
            true => {
                self.full = full;
                Ok(())
            }
            false => Err(now + (full - allowed)),
        }
    }
}

/// The least time between two calls of `AssumeRole` for one resource that nobody asked for. Whatever AWS answers, and however short-lived
/// it is, the resource is not tried again sooner.
const CALL_INTERVAL_MIN: Duration = Duration::from_secs(5);

/// The least time between two cycles that changes of the Secret set off. Somebody who keeps changing it is answered that often, no more.
const SECRET_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// Until when AWS is left alone in a cycle with that trigger, given the last call. What a person does takes effect at once.
#[must_use]
pub fn earliest_call(trigger: Trigger, last_call: Option<Instant>) -> Option<Instant> {
    match trigger {
        Trigger::Created | Trigger::SpecChanged | Trigger::Requested => None,
        Trigger::SecretChanged | Trigger::PolicyChanged | Trigger::Due | Trigger::Retry => {
            last_call.map(|last| last + CALL_INTERVAL_MIN)
        }
    }
}

/// When a change of the Secret may set a cycle off, given when one last did. `None`: at once.
#[must_use]
pub fn earliest_follow_up(last: Option<Instant>, now: Instant) -> Option<Instant> {
    last.map(|last| last + SECRET_INTERVAL_MIN)
        .filter(|allowed| *allowed > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_person_does_takes_effect_at_once_and_everything_else_keeps_its_distance() {
        let last = Instant::now();
        for trigger in [Trigger::Created, Trigger::SpecChanged, Trigger::Requested] {
            assert_eq!(earliest_call(trigger, Some(last)), None);
        }
        for trigger in [
            Trigger::SecretChanged,
            Trigger::PolicyChanged,
            Trigger::Due,
            Trigger::Retry,
        ] {
            assert_eq!(earliest_call(trigger, Some(last)), Some(last + CALL_INTERVAL_MIN));
            assert_eq!(earliest_call(trigger, None), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_may_set_off_five_cycles_in_a_row_and_then_one_every_ten_seconds() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        for _ in 0..5 {
            assert_eq!(allowance.take(start), Ok(()));
        }
        let next = start + Duration::from_secs(10);
        assert_eq!(allowance.take(start), Err(next));
        assert_eq!(allowance.take(start + Duration::from_secs(9)), Err(next));
        assert_eq!(allowance.take(next), Ok(()));
        assert_eq!(allowance.take(next), Err(next + Duration::from_secs(10)));
        let later = next + Duration::from_secs(3600);
        for _ in 0..5 {
            assert_eq!(allowance.take(later), Ok(()), "it does not add up");
        }
        assert!(allowance.take(later).is_err());
    }

    #[test]
    fn what_was_refused_goes_last_and_what_passes_by_itself_does_not() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let status = |failures: i32, reason: &str| AWSAssumeRoleStatus {
            observed_generation: Some(1),
            failures: Some(failures),
            conditions: vec![crate::api::Condition {
                type_: "Refreshed".into(),
                status: if failures > 0 { "False" } else { "True" }.into(),
                reason: reason.into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let class_of = |status: &AWSAssumeRoleStatus, end: Option<i64>| class(status, 1, end.map(at), at(100));
        let new = AWSAssumeRoleStatus::default();
        assert_eq!(class_of(&new, None), Class::Newcomer);
        let fine = status(0, "Issued");
        assert_eq!(class_of(&fine, Some(200)), Class::Renewal);
        assert_eq!(class_of(&fine, Some(50)), Class::Newcomer, "its end has passed");
        let away = status(2, "AwsUnavailable");
        assert_eq!(class_of(&away, Some(200)), Class::Renewal);
        assert_eq!(class_of(&away, Some(50)), Class::Failed(2));
        let refused = status(3, "AccessDenied");
        assert_eq!(class_of(&refused, Some(200)), Class::Failed(3));
        assert_eq!(
            class(&refused, 2, Some(at(200)), at(100)),
            Class::Renewal,
            "another spec"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_keeps_changing_is_followed_at_a_pace() {
        let last = Instant::now();
        assert_eq!(earliest_follow_up(None, last), None);
        let soon = last + Duration::from_secs(9);
        assert_eq!(earliest_follow_up(Some(last), soon), Some(last + SECRET_INTERVAL_MIN));
        assert_eq!(earliest_follow_up(Some(last), last + SECRET_INTERVAL_MIN), None);
    }
}
