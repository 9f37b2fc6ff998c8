//! What came of a cycle: the status to show and the moment of the next one.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use thiserror::Error;

use super::advice;
use super::plan::due_of;
use super::schedule::{Patience, Validity, later, retry, whole_seconds};
use crate::aws::AwsError;
use crate::aws::gate::GateClosed;
use crate::aws::role::RoleReference;
use crate::cluster::ClusterError;
use crate::resource::{AWSAssumeRoleStatus, Condition, Health, Reason};
use crate::secret::RenderError;
use crate::wanted::{InvalidSpec, ResourceKey, Wanted};

/// The longest pause that is granted to AWS when it asks for one: credentials run out meanwhile.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What came of a cycle.
#[derive(Debug)]
pub enum Outcome {
    /// New credentials are in the Secret.
    Issued {
        /// The role that was assumed.
        role_arn: String,
        /// Their validity.
        validity: Validity,
        /// What was odd about it.
        notes: Vec<String>,
    },
    /// The Secret holds the credentials that are wanted, and these were left as they are.
    Kept(Validity),
    /// The same, but something else on the Secret was put right.
    Repaired(Validity),
    /// The spec says not to refresh.
    Suspended,
    /// Nothing was written, or not all of it.
    Failed(Failure),
}

impl Outcome {
    /// The word for it in traces and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Issued { .. } => "issued",
            Self::Kept(_) => "kept",
            Self::Repaired(_) => "repaired",
            Self::Suspended => "suspended",
            // Nothing went wrong.
            Self::Failed(Failure::Stopping(_)) => "aborted",
            Self::Failed(_) => "failed",
        }
    }

    /// The word for it in a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Issued { .. } | Self::Kept(_) | Self::Repaired(_) => Reason::Issued,
            Self::Suspended => Reason::Suspended,
            Self::Failed(failure) => failure.reason(),
        }
    }
}

/// Why a cycle did not do what it was to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// The spec cannot be acted on.
    #[error("{0}")]
    InvalidSpec(#[from] InvalidSpec),
    /// The lifetime cannot be had under role chaining.
    #[error("{}", advice::chained())]
    Chained,
    /// A Secret of that name belongs to somebody else.
    #[error("Secret {secret} exists and {holder}: delete it, or choose another spec.secretName. It was not touched.")]
    SecretConflict {
        /// The Secret.
        secret: String,
        /// Who has it.
        holder: String,
    },
    /// A Secret of that name is about to go.
    #[error("Secret {0} is being deleted; it is made anew as soon as it is gone")]
    SecretLeaving(String),
    /// AWS did not give credentials.
    #[error("{} {advice}", sentence(error))]
    Aws {
        /// What it said.
        #[source]
        error: AwsError,
        /// What can be done about it.
        advice: String,
    },
    /// The API server did not do its part.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// The operator is stopping.
    #[error("{0}")]
    Stopping(#[from] GateClosed),
    /// The Secret's content cannot be made.
    #[error("{0}")]
    Render(#[from] RenderError),
}

/// What AWS said, with the full stop that it often leaves off.
fn sentence(error: &AwsError) -> String {
    let text = error.to_string();
    let text = text.trim_end();
    match text.ends_with(['.', '!', '?']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

impl Failure {
    /// The word for it in a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidSpec(InvalidSpec::Template(_)) | Self::Render(_) => Reason::TemplateError,
            Self::InvalidSpec(_) | Self::Chained => Reason::InvalidRequest,
            Self::SecretConflict { .. } => Reason::SecretConflict,
            Self::SecretLeaving(_) | Self::Stopping(_) => Reason::Pending,
            Self::Aws { error, .. } => error.reason(),
            Self::Cluster(ClusterError::Forbidden(_) | ClusterError::Refused(_)) => Reason::SecretForbidden,
            Self::Cluster(_) => Reason::ClusterUnavailable,
        }
    }

    /// How long AWS asked to be left alone.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Aws { error, .. } => error.answer().retry_after.map(|pause| pause.min(RETRY_AFTER_MAX)),
            _ => None,
        }
    }

    /// Whether it is likely to pass by itself; `None` when only a change of the spec can help.
    fn patience(&self) -> Option<Patience> {
        match self.reason() {
            _ if matches!(self, Self::InvalidSpec(_)) => None,
            Reason::AccessDenied
            | Reason::InvalidRequest
            | Reason::NotPermitted
            | Reason::SecretForbidden
            | Reason::TemplateError => Some(Patience::Late),
            _ => Some(Patience::Soon),
        }
    }
}

/// What a status is made from, besides the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The resource.
    pub resource: &'a ResourceKey,
    /// The generation of its spec.
    pub generation: i64,
    /// What it asks for, where that can be read.
    pub wanted: Option<&'a Wanted>,
    /// When the credentials in its Secret end, if there are any of this spec.
    pub held_until: Option<Timestamp>,
    /// The present.
    pub now: Timestamp,
}

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
        } => {
            let ready = issued_message(role_arn, facts.wanted, notes);
            let status = succeeded(previous, facts, *validity, Some(role_arn), &ready);
            let next = next_of(facts, *validity);
            (with_next(status, next), next)
        }
        Outcome::Kept(validity) | Outcome::Repaired(validity) => {
            let role_arn = facts
                .wanted
                .and_then(|wanted| wanted.role.known_arn())
                .or_else(|| previous_role(previous, facts.wanted?));
            // What was said of these very credentials is still true.
            let said = previous
                .expiration
                .as_ref()
                .filter(|end| end.0.as_second() == validity.expiration.as_second())
                .and_then(|_| condition(previous, "Refreshed"))
                .filter(|refreshed| refreshed.status == "True");
            let message = said.map_or_else(
                || issued_message(role_arn.unwrap_or("the role"), facts.wanted, &[]),
                |refreshed| refreshed.message.clone(),
            );
            let status = succeeded(previous, facts, *validity, role_arn, &message);
            let next = next_of(facts, *validity);
            (with_next(status, next), next)
        }
        Outcome::Suspended => {
            let valid = facts.held_until.filter(|end| *end > facts.now);
            let status = suspended(previous, facts, valid);
            // The end of what is held is told when it comes.
            (status, valid)
        }
        Outcome::Failed(failure) => {
            // A new spec is a new beginning.
            let same_spec = previous.observed_generation == Some(facts.generation);
            let before = previous.failures.filter(|_| same_spec).unwrap_or_default();
            let failures = u32::try_from(before).unwrap_or_default().saturating_add(1);
            let next = failure
                .patience()
                .map(|patience| retry(facts.now, patience, failures, facts.held_until, &facts.resource.uid))
                .map(|next| {
                    failure
                        .retry_after()
                        .map_or(next, |pause| next.max(later(facts.now, pause)))
                });
            let status = failed(previous, facts, failure, failures);
            (with_next(status, next), next)
        }
    }
}

/// The role that was assumed before, if it can be the one that is wanted now.
fn previous_role<'a>(previous: &'a AWSAssumeRoleStatus, wanted: &Wanted) -> Option<&'a str> {
    let RoleReference::Name(name) = &wanted.role else {
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
        ("Unknown", Reason::Pending, message),
        ("Unknown", Reason::Pending, message),
    );
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions,
        ..phase("Pending", "Progressing")
    }
}

fn next_of(facts: Facts<'_>, validity: Validity) -> Option<Timestamp> {
    facts.wanted.map(|wanted| due_of(facts.resource, wanted, validity))
}

fn issued_message(role_arn: &str, wanted: Option<&Wanted>, notes: &[String]) -> String {
    let warning = wanted.and_then(|wanted| advice::about_overlap(wanted.refresh_before));
    std::iter::once(format!("The Secret holds credentials of {role_arn}."))
        .chain(notes.iter().cloned())
        .chain(warning)
        .collect::<Vec<_>>()
        .join(" ")
}

fn succeeded(
    previous: &AWSAssumeRoleStatus,
    facts: Facts<'_>,
    validity: Validity,
    role_arn: Option<&str>,
    message: &str,
) -> AWSAssumeRoleStatus {
    let issued = ("True", Reason::Issued, message);
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(previous, facts, issued, issued),
        role_arn: role_arn.map(str::to_owned),
        secret_name: facts.wanted.map(|wanted| wanted.secret_name.clone()),
        expiration: Some(time(validity.expiration)),
        last_refresh_time: Some(time(validity.issued)),
        failures: Some(0),
        ..phase("Ready", "Healthy")
    }
}

fn suspended(previous: &AWSAssumeRoleStatus, facts: Facts<'_>, valid: Option<Timestamp>) -> AWSAssumeRoleStatus {
    let (ready, message) = match valid {
        Some(end) => (
            "True",
            format!(
                "The Secret holds credentials until {}. spec.suspend keeps them from being refreshed.",
                time(end).0
            ),
        ),
        None => (
            "False",
            "The Secret holds no valid credentials, and spec.suspend keeps them from being refreshed.".to_owned(),
        ),
    };
    let refreshed = condition(previous, "Refreshed").map_or("Unknown", |before| before.status.as_str());
    let base = match valid {
        Some(_) => phase("Ready", "Healthy"),
        None => phase("Error", "Degraded"),
    };
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(
            previous,
            facts,
            (ready, Reason::Suspended, &message),
            (refreshed, Reason::Suspended, &message),
        ),
        ..told_before(previous, facts, base)
    }
}

/// What the previous status told of the credentials, where that still holds. A Secret may hold others by now: those of a write whose answer
/// was lost.
fn told_before(previous: &AWSAssumeRoleStatus, facts: Facts<'_>, base: AWSAssumeRoleStatus) -> AWSAssumeRoleStatus {
    let told = previous.expiration.as_ref().map(|end| end.0);
    let others = facts
        .held_until
        .map(whole_seconds)
        .filter(|end| Some(*end) != told.map(whole_seconds));
    let (expiration, last_refresh_time) = match (others, facts.wanted) {
        (Some(end), Some(wanted)) => (Some(time(end)), end.checked_sub(wanted.duration).ok().map(time)),
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
    let valid = facts.held_until.is_some_and(|end| end > facts.now);
    let ready = if valid {
        // Still true, and still for the reason for which it became true.
        let until = facts.held_until.map(|end| time(end).0.to_string()).unwrap_or_default();
        (
            "True",
            Reason::Issued,
            format!("The Secret holds credentials until {until}, but they could not be refreshed."),
        )
    } else {
        ("False", reason, message.clone())
    };
    let base = match (valid, reason) {
        (true, _) => phase("Ready", "Healthy"),
        (false, Reason::Pending) => phase("Pending", "Progressing"),
        (false, _) => phase("Error", "Degraded"),
    };
    AWSAssumeRoleStatus {
        observed_generation: Some(facts.generation),
        conditions: conditions(
            previous,
            facts,
            (ready.0, ready.1, &ready.2),
            ("False", reason, &message),
        ),
        failures: Some(i32::try_from(failures).unwrap_or(i32::MAX)),
        ..told_before(previous, facts, base)
    }
}

/// The phase and the health of the predecessors' status, with nothing else.
fn phase(phase: &str, health: &str) -> AWSAssumeRoleStatus {
    AWSAssumeRoleStatus {
        phase: Some(phase.to_owned()),
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

fn condition<'a>(status: &'a AWSAssumeRoleStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

/// The two conditions, each with the moment of its last transition carried over where the previous one had the same status.
fn conditions(
    previous: &AWSAssumeRoleStatus,
    facts: Facts<'_>,
    ready: (&str, Reason, &str),
    refreshed: (&str, Reason, &str),
) -> Vec<Condition> {
    [("Ready", ready), ("Refreshed", refreshed)]
        .into_iter()
        .map(|(type_, (status, reason, message))| {
            // The predecessors kept a history under one type; a history says nothing about the last transition.
            let since = condition(previous, type_)
                .filter(|before| before.status == status && previous.observed_generation.is_some())
                .map(|before| before.last_transition_time.clone())
                .filter(|since| since.parse::<Timestamp>().is_ok());
            Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
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
#[path = "outcome_tests.rs"]
mod tests;
