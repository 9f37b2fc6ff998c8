use std::time::Duration;

use super::*;
use crate::aws::AwsError;
use crate::aws::error::{Answer, Operation};
use crate::cluster::ClusterError;
use crate::refresh::plan::IssueReason;
use crate::refresh::schedule::RetryClass;
use crate::spec::Format;
use crate::spec::InvalidSpec;
use crate::spec::fixtures::{key, spec};

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// What `judge` says about a resource of generation 3 at a moment.
fn judged(
    previous: &AWSAssumeRoleStatus,
    now: Timestamp,
    current_expiration: Option<Timestamp>,
    outcome: &Outcome,
) -> (AWSAssumeRoleStatus, Option<Timestamp>) {
    let (resource, spec) = (key(), spec(Format::Map));
    let facts = Facts {
        resource: &resource,
        generation: 3,
        spec: Some(&spec),
        current_expiration,
        unlisted: false,
        now,
    };
    judge(previous, facts, outcome)
}

fn issued() -> Outcome {
    Outcome::Issued {
        why: IssueReason::New,
        role_arn: ROLE.into(),
        validity: Validity {
            issued: at(0),
            expiration: at(900),
        },
        notes: vec![],
    }
}

fn aws(error: fn(Answer) -> AwsError) -> Outcome {
    Outcome::Failed(Failure::Aws {
        error: error(Answer {
            operation: Operation::AssumeRole,
            code: None,
            message: "no".into(),
            request_id: None,
            retry_after: None,
            date: None,
        }),
        advice: "Do this.".into(),
    })
}

fn shown(status: &AWSAssumeRoleStatus, type_: ConditionType) -> (&str, &str) {
    let condition = status.condition(type_).unwrap();
    (&condition.status, &condition.reason)
}

#[test]
fn a_success_says_everything() {
    let (status, next) = judged(&AWSAssumeRoleStatus::default(), at(1), Some(at(900)), &issued());
    assert_eq!(shown(&status, ConditionType::Ready), ("True", "Issued"));
    assert_eq!(shown(&status, ConditionType::Refreshed), ("True", "Issued"));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.role_arn.as_deref(), Some(ROLE));
    assert_eq!(status.secret_name.as_deref(), Some("secret"));
    assert_eq!(status.expiration, Some(Time(at(900))));
    assert_eq!(status.last_refresh_time, Some(Time(at(0))));
    assert_eq!(status.failures, Some(0));
    assert_eq!(status.phase.as_deref(), Some("Ready"));
    assert_eq!(status.health.unwrap().status.as_deref(), Some("Healthy"));
    assert_eq!(
        status.next_refresh_time.unwrap().0.as_second(),
        next.unwrap().as_second()
    );
    assert!((at(405)..=at(450)).contains(&next.unwrap()));
}

#[test]
fn keeping_changes_nothing_that_was_said() {
    let (status, _) = judged(&AWSAssumeRoleStatus::default(), at(1), Some(at(900)), &issued());
    let kept = Outcome::Kept(Validity {
        issued: at(0),
        expiration: at(900),
    });
    let (again, _) = judged(&status, at(100), Some(at(900)), &kept);
    assert_eq!(again, status);
}

#[test]
fn a_failed_refresh_with_time_left_stays_ready() {
    let (status, _) = judged(&AWSAssumeRoleStatus::default(), at(1), Some(at(900)), &issued());
    let (failing, next) = judged(&status, at(600), Some(at(900)), &aws(AwsError::Unavailable));
    assert_eq!(shown(&failing, ConditionType::Ready), ("True", "Issued"));
    assert_eq!(shown(&failing, ConditionType::Refreshed), ("False", "AwsUnavailable"));
    assert_eq!(failing.failures, Some(1));
    assert_eq!(failing.expiration, Some(Time(at(900))));
    assert_eq!(failing.phase.as_deref(), Some("Ready"));
    assert_eq!(next, Some(at(605)));

    let (worse, _) = judged(&failing, at(610), Some(at(900)), &aws(AwsError::Unavailable));
    assert_eq!(worse.failures, Some(2));

    let (expired, _) = judged(&worse, at(900), Some(at(900)), &aws(AwsError::Unavailable));
    assert_eq!(shown(&expired, ConditionType::Ready), ("False", "AwsUnavailable"));
    assert_eq!(expired.phase.as_deref(), Some("Error"));
    assert_eq!(expired.health.unwrap().status.as_deref(), Some("Degraded"));
}

#[test]
fn credentials_of_another_spec_do_not_count() {
    let (status, _) = judged(&AWSAssumeRoleStatus::default(), at(1), Some(at(900)), &issued());
    let (denied, _) = judged(&status, at(10), None, &aws(AwsError::AccessDenied));
    assert_eq!(shown(&denied, ConditionType::Ready), ("False", "AccessDenied"));
    let message = &denied.condition(ConditionType::Ready).unwrap().message;
    assert!(message.ends_with("Do this."), "{message}");
}

#[test]
fn a_transition_is_timed_once() {
    let (first, _) = judged(
        &AWSAssumeRoleStatus::default(),
        at(1),
        None,
        &aws(AwsError::AccessDenied),
    );
    let (second, _) = judged(&first, at(50), None, &aws(AwsError::AccessDenied));
    let since = |status: &AWSAssumeRoleStatus| {
        status
            .condition(ConditionType::Ready)
            .unwrap()
            .last_transition_time
            .clone()
    };
    assert_eq!(since(&first), at(1).to_string());
    assert_eq!(since(&second), since(&first));
    let (third, _) = judged(&second, at(70), Some(at(970)), &issued());
    assert_eq!(since(&third), at(70).to_string());
    assert_eq!(third.failures, Some(0));
}

#[test]
fn a_history_of_the_predecessors_is_put_right() {
    let entry = |status: &str| Condition {
        type_: "Ready".into(),
        status: status.into(),
        last_transition_time: "a while ago".into(),
        ..Condition::default()
    };
    let previous = AWSAssumeRoleStatus {
        conditions: vec![entry("True"), entry("False"), entry("True")],
        ..AWSAssumeRoleStatus::default()
    };
    let (status, _) = judged(&previous, at(5), Some(at(900)), &issued());
    let types: Vec<_> = status.conditions.iter().map(|c| c.type_.as_str()).collect();
    assert_eq!(types, ["Ready", "Refreshed"]);
    assert_eq!(status.conditions[0].last_transition_time, at(5).to_string());
}

#[test]
fn what_only_a_new_spec_can_mend_is_not_tried_again() {
    let (status, next) = judged(
        &AWSAssumeRoleStatus::default(),
        at(0),
        None,
        &Outcome::Failed(InvalidSpec::Role.into()),
    );
    assert_eq!(shown(&status, ConditionType::Ready), ("False", "InvalidRequest"));
    assert_eq!((next, status.next_refresh_time), (None, None));
}

#[test]
fn each_failure_has_its_reason_and_its_class() {
    let conflict = Failure::SecretConflict {
        secret: "s".into(),
        holder: "was made by somebody else".into(),
    };
    for (failure, reason, class) in [
        (conflict, Reason::SecretConflict, RetryClass::Soon),
        (
            Failure::SecretTerminating("s".into()),
            Reason::Pending,
            RetryClass::Soon,
        ),
        (Failure::Chained, Reason::InvalidRequest, RetryClass::Late),
        (
            ClusterError::Forbidden("x".into()).into(),
            Reason::SecretForbidden,
            RetryClass::Late,
        ),
        (
            ClusterError::Unavailable("x".into()).into(),
            Reason::ClusterUnavailable,
            RetryClass::Soon,
        ),
    ] {
        assert_eq!(failure.reason(), reason);
        assert_eq!(failure.retry_class(), Some(class));
    }
}

#[test]
fn a_first_attempt_under_way_is_pending() {
    let (resource, spec) = (key(), spec(Format::Map));
    let facts = Facts {
        resource: &resource,
        generation: 1,
        spec: Some(&spec),
        current_expiration: None,
        unlisted: false,
        now: at(0),
    };
    let status = pending(&AWSAssumeRoleStatus::default(), facts);
    assert_eq!(shown(&status, ConditionType::Ready), ("Unknown", "Pending"));
    assert_eq!(status.phase.as_deref(), Some("Pending"));
}

#[test]
fn an_overlap_that_is_too_short_is_warned_of() {
    let (resource, mut spec) = (key(), spec(Format::Map));
    spec.refresh_before = Some(Duration::from_secs(60));
    let facts = Facts {
        resource: &resource,
        generation: 1,
        spec: Some(&spec),
        current_expiration: Some(at(900)),
        unlisted: false,
        now: at(0),
    };
    let (status, _) = judge(&AWSAssumeRoleStatus::default(), facts, &issued());
    assert!(status.condition(ConditionType::Ready).unwrap().message.contains("180"));
}

#[test]
fn suspension_says_what_is_held_and_wakes_at_its_end() {
    let (status, _) = judged(&AWSAssumeRoleStatus::default(), at(1), Some(at(900)), &issued());
    let (held, next) = judged(&status, at(10), Some(at(900)), &Outcome::Suspended(None));
    assert_eq!(shown(&held, ConditionType::Ready), ("True", "Suspended"));
    assert_eq!(shown(&held, ConditionType::Refreshed), ("True", "Suspended"));
    assert_eq!((held.next_refresh_time.clone(), next), (None, Some(at(900))));
    assert_eq!(held.expiration, status.expiration);

    let (ended, next) = judged(&held, at(900), Some(at(900)), &Outcome::Suspended(None));
    assert_eq!(shown(&ended, ConditionType::Ready), ("False", "Suspended"));
    assert_eq!(ended.phase.as_deref(), Some("Error"));
    assert_eq!(next, None);
}

#[test]
fn a_pause_that_aws_asks_for_is_granted_up_to_a_minute() {
    let throttled = |seconds| {
        Outcome::Failed(Failure::Aws {
            error: AwsError::Throttled(Answer {
                operation: Operation::AssumeRole,
                code: None,
                message: "slow down".into(),
                request_id: None,
                retry_after: Some(Duration::from_secs(seconds)),
                date: None,
            }),
            advice: String::new(),
        })
    };
    let next = |seconds| judged(&AWSAssumeRoleStatus::default(), at(0), None, &throttled(seconds)).1;
    assert_eq!(next(1), Some(at(5)));
    assert_eq!(next(20), Some(at(20)));
    assert_eq!(next(86_400), Some(at(60)));
}

#[test]
fn a_failure_speaks_of_the_credentials_that_are_there() {
    let (status, _) = judged(&AWSAssumeRoleStatus::default(), at(1), Some(at(900)), &issued());
    // The answer to a write was lost, and the Secret holds newer ones.
    let (failing, _) = judged(&status, at(700), Some(at(1500)), &aws(AwsError::Unavailable));
    assert_eq!(failing.expiration, Some(Time(at(1500))));
    assert_eq!(failing.last_refresh_time, Some(Time(at(600))));
}

#[test]
fn a_new_spec_is_a_new_beginning() {
    let (status, _) = judged(
        &AWSAssumeRoleStatus::default(),
        at(1),
        None,
        &aws(AwsError::AccessDenied),
    );
    let often = AWSAssumeRoleStatus {
        failures: Some(9),
        ..status
    };
    let (again, _) = judged(&often, at(10), None, &aws(AwsError::AccessDenied));
    assert_eq!(again.failures, Some(10));
    let of_an_older_spec = AWSAssumeRoleStatus {
        observed_generation: Some(2),
        ..often
    };
    let (fresh, next) = judged(&of_an_older_spec, at(10), None, &aws(AwsError::AccessDenied));
    assert_eq!((fresh.failures, next), (Some(1), Some(at(20))));
}

#[test]
fn credentials_that_were_kept_are_not_said_to_be_of_another_role() {
    let kept = Outcome::Kept(Validity {
        issued: at(0),
        expiration: at(900),
    });
    let of = |role: &str| AWSAssumeRoleStatus {
        role_arn: Some(format!("arn:aws:iam::123456789012:role/{role}")),
        ..AWSAssumeRoleStatus::default()
    };
    let shown = |role: &str| judged(&of(role), at(1), Some(at(900)), &kept).0.role_arn;
    assert_eq!(shown("r").as_deref(), Some(ROLE));
    assert_eq!(shown("other"), None);
}
