//! The status after a cycle, and the moment of the next one.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::advice;
use super::outcome::{Failure, Outcome};
use super::plan::due_of;
use super::schedule::{Validity, later, retry, whole_seconds};
use crate::api::{AWSAssumeRoleStatus, Condition, ConditionStatus, ConditionType, Health, Phase, Reason};
use crate::spec::role::RoleReference;
use crate::spec::{ResourceKey, Spec};

/// What a status is made from, besides the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The resource.
    pub resource: &'a ResourceKey,
    /// The generation of its spec.
    pub generation: i64,
    /// What it asks for, where that can be read.
    pub spec: Option<&'a Spec>,
    /// When the credentials in its Secret end, if there are any of this spec.
    pub current_expiration: Option<Timestamp>,
    /// Whether no policy names its namespace, while there are some.
    pub unlisted: bool,
    /// The present.
    pub now: Timestamp,
}

/// What the status of a resource says that has its role for want of a policy about its namespace, and so would lose it.
const UNLISTED: &str = "No AWSAssumeRolePolicy names this namespace: with tenancy.unlistedNamespaces set to Deny the role would be refused.";

/// The status after a cycle and the moment of the next, if one is due without a change of the spec.
#[must_use]
pub fn judge(
    previous: &AWSAssumeRoleStatus,
    facts: Facts<'_>,
    outcome: &Outcome,
) -> (AWSAssumeRoleStatus, Option<Timestamp>) {
    match outcome {
        Outcome::Issued {
            role_arn,
            validity,
            notes,
            ..
        } => {
            let ready = with_unlisted(&issued_message(role_arn, facts.spec, notes), facts);
            let status = succeeded(previous, facts, *validity, Some(role_arn), &ready);
            let next = next_of(facts, *validity);
            (with_next(status, next), next)
        }
        Outcome::Kept(validity) | Outcome::Repaired(validity, _) => {
            let role_arn = facts
                .spec
                .and_then(|spec| spec.role.known_arn())
                .or_else(|| previous_role(previous, facts.spec?));
            // What was said of these very credentials is still true.
            let said = previous
                .expiration
                .as_ref()
                .filter(|end| end.0.as_second() == validity.expiration.as_second())
                .and_then(|_| previous.condition(ConditionType::Refreshed))
                .filter(|_| previous.condition_status(ConditionType::Refreshed) == Some(ConditionStatus::True));
            let message = said.map_or_else(
                || issued_message(role_arn.unwrap_or("the role"), facts.spec, &[]),
                |refreshed| refreshed.message.clone(),
            );
            let message = with_unlisted(&message, facts);
            let status = succeeded(previous, facts, *validity, role_arn, &message);
            let next = next_of(facts, *validity);
            (with_next(status, next), next)
        }
        Outcome::Suspended(withdrawn_until) => {
            let valid = facts.current_expiration.filter(|end| *end > facts.now);
            let status = suspended(previous, facts, valid);
            // The end of what is held is told when it comes, and what was withdrawn is taken away then.
            (status, valid.or(*withdrawn_until))
        }
        Outcome::Failed(failure) => {
            let failures = previous.failures_of_generation(facts.generation).saturating_add(1);
            let next = failure
                .retry_class()
                .map(|class| {
                    retry(
                        facts.now,
                        class,
                        failures,
                        facts.current_expiration,
                        &facts.resource.uid,
                    )
                })
                .map(|next| {
                    failure
                        .retry_after()
                        .map_or(next, |pause| next.max(later(facts.now, pause)))
                })
                .or(failure.live_until());
            let status = failed(previous, facts, failure, failures);
            (with_next(status, next), next)
        }
    }
}

/// The role that was assumed before, if it can be the one that is wanted now.
fn previous_role<'a>(previous: &'a AWSAssumeRoleStatus, spec: &Spec) -> Option<&'a str> {
    let RoleReference::Name(name) = &spec.role else {
        return None;
    };
    let arn = previous.role_arn.as_deref()?;
    arn.ends_with(&format!(":role/{name}")).then_some(arn)
}

/// The status of a resource that was never tried, while the first attempt is under way.
#[must_use]
pub fn pending(previous: &AWSAssumeRoleStatus, facts: Facts<'_>) -> AWSAssumeRoleStatus {
    let message = "The role is being assumed for the first time.";
    let conditions = conditions(
        previous,
        facts,
        (ConditionStatus::Unknown, Reason::Pending, message),
        (ConditionStatus::Unknown, Reason::Pending, message),
    );
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions,
        ..phase(Phase::Pending)
    }
}

/// The status of a resource whose credentials ended while it waits for its call to AWS, because so much is asked of AWS.
#[must_use]
pub fn ended_waiting(previous: &AWSAssumeRoleStatus, facts: Facts<'_>) -> AWSAssumeRoleStatus {
    let message = "The credentials ended while their replacement waits for its turn: too many calls to AWS are under way. \
                   Raise awsCalls in the chart if AWS's quota allows it.";
    let refreshed = previous.condition_status(ConditionType::Refreshed);
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(
            previous,
            facts,
            (ConditionStatus::False, Reason::Throttled, message),
            (
                refreshed.unwrap_or(ConditionStatus::Unknown),
                Reason::Throttled,
                message,
            ),
        ),
        next_refresh_time: previous.next_refresh_time.clone(),
        ..as_before(previous, facts, phase(Phase::Error))
    }
}

fn next_of(facts: Facts<'_>, validity: Validity) -> Option<Timestamp> {
    facts.spec.map(|spec| due_of(facts.resource, spec, validity))
}

fn issued_message(role_arn: &str, spec: Option<&Spec>, notes: &[String]) -> String {
    let warning = spec.and_then(|spec| advice::about_overlap(spec.refresh_before, &spec.format));
    std::iter::once(format!("The Secret holds credentials of {role_arn}."))
        .chain(notes.iter().cloned())
        .chain(warning)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A message with what is to be said of a namespace without a policy, or without it.
fn with_unlisted(message: &str, facts: Facts<'_>) -> String {
    let message = message.strip_suffix(UNLISTED).map_or(message, str::trim_end);
    match facts.unlisted {
        true => format!("{message} {UNLISTED}"),
        false => message.to_owned(),
    }
}

fn succeeded(
    previous: &AWSAssumeRoleStatus,
    facts: Facts<'_>,
    validity: Validity,
    role_arn: Option<&str>,
    message: &str,
) -> AWSAssumeRoleStatus {
    let issued = (ConditionStatus::True, Reason::Issued, message);
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(previous, facts, issued, issued),
        role_arn: role_arn.map(str::to_owned),
        secret_name: facts.spec.map(|spec| spec.secret_name.clone()),
        expiration: Some(time(validity.expiration)),
        last_refresh_time: Some(time(validity.issued)),
        failures: Some(0),
        ..phase(Phase::Ready)
    }
}

fn suspended(previous: &AWSAssumeRoleStatus, facts: Facts<'_>, valid: Option<Timestamp>) -> AWSAssumeRoleStatus {
    let (ready, message) = match valid {
        Some(end) => (
            ConditionStatus::True,
            format!(
                "The Secret holds credentials until {}. spec.suspend keeps them from being refreshed.",
                time(end).0
            ),
        ),
        None => (
            ConditionStatus::False,
            "The Secret holds no valid credentials, and spec.suspend keeps them from being refreshed.".to_owned(),
        ),
    };
    let refreshed = previous.condition_status(ConditionType::Refreshed);
    let base = phase(if valid.is_some() { Phase::Ready } else { Phase::Error });
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(
            previous,
            facts,
            (ready, Reason::Suspended, &message),
            (
                refreshed.unwrap_or(ConditionStatus::Unknown),
                Reason::Suspended,
                &message,
            ),
        ),
        ..as_before(previous, facts, base)
    }
}

/// What the previous status said of the credentials, where that still holds. A Secret may hold others by now: those of a write whose answer
/// was lost.
fn as_before(previous: &AWSAssumeRoleStatus, facts: Facts<'_>, base: AWSAssumeRoleStatus) -> AWSAssumeRoleStatus {
    let known = previous.expiration.as_ref().map(|end| end.0);
    let others = facts
        .current_expiration
        .map(whole_seconds)
        .filter(|end| Some(*end) != known.map(whole_seconds));
    let (expiration, last_refresh_time) = match (others, facts.spec) {
        (Some(end), Some(spec)) => (Some(time(end)), end.checked_sub(spec.duration).ok().map(time)),
        _ => (previous.expiration.clone(), previous.last_refresh_time.clone()),
    };
    AWSAssumeRoleStatus {
        role_arn: previous.role_arn.clone(),
        secret_name: previous.secret_name.clone(),
        expiration,
        last_refresh_time,
        failures: previous.failures,
        ..base
    }
}

fn failed(previous: &AWSAssumeRoleStatus, facts: Facts<'_>, failure: &Failure, failures: u32) -> AWSAssumeRoleStatus {
    let reason = failure.reason();
    let message = failure.to_string();
    let valid = facts.current_expiration.is_some_and(|end| end > facts.now);
    let ready = if valid {
        // Still true, and still for the reason for which it became true.
        let until = facts
            .current_expiration
            .map(|end| time(end).0.to_string())
            .unwrap_or_default();
        (
            ConditionStatus::True,
            Reason::Issued,
            format!("The Secret holds credentials until {until}, but they could not be refreshed."),
        )
    } else {
        (ConditionStatus::False, reason, message.clone())
    };
    let base = phase(match (valid, reason) {
        (true, _) => Phase::Ready,
        (false, Reason::Pending) => Phase::Pending,
        (false, _) => Phase::Error,
    });
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(
            previous,
            facts,
            (ready.0, ready.1, &ready.2),
            (ConditionStatus::False, reason, &message),
        ),
        failures: Some(i32::try_from(failures).unwrap_or(i32::MAX)),
        ..as_before(previous, facts, base)
    }
}

/// The phase and the health of the predecessors' status, with nothing else.
fn phase(phase: Phase) -> AWSAssumeRoleStatus {
    let health = match phase {
        Phase::Ready => "Healthy",
        Phase::Pending => "Progressing",
        Phase::Error => "Degraded",
    };
    AWSAssumeRoleStatus {
        phase: Some(phase.as_ref().to_owned()),
        health: Some(Health {
            status: Some(health.to_owned()),
        }),
        ..AWSAssumeRoleStatus::default()
    }
}

fn with_next(status: AWSAssumeRoleStatus, next: Option<Timestamp>) -> AWSAssumeRoleStatus {
    AWSAssumeRoleStatus {
        next_refresh_time: next.map(time),
        ..status
    }
}

/// The two conditions, each with the moment of its last transition carried over where the previous one had the same status.
fn conditions(
    previous: &AWSAssumeRoleStatus,
    facts: Facts<'_>,
    ready: (ConditionStatus, Reason, &str),
    refreshed: (ConditionStatus, Reason, &str),
) -> Vec<Condition> {
    [(ConditionType::Ready, ready), (ConditionType::Refreshed, refreshed)]
        .into_iter()
        .map(|(type_, (status, reason, message))| {
            // The predecessors kept a history under one type; a history says nothing about the last transition.
            let since = previous
                .condition(type_)
                .filter(|before| before.status == status.as_ref() && previous.observed_generation.is_some())
                .map(|before| before.last_transition_time.clone())
                .filter(|since| since.parse::<Timestamp>().is_ok());
            Condition {
                type_: type_.as_ref().to_owned(),
                status: status.as_ref().to_owned(),
                reason: reason.to_string(),
                message: message.to_owned(),
                last_transition_time: since.unwrap_or_else(|| time(facts.now).0.to_string()),
                observed_generation: Some(facts.generation),
            }
        })
        .collect()
}

/// A moment in whole seconds, as Kubernetes writes it.
fn time(moment: Timestamp) -> Time {
    Time(whole_seconds(moment))
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
