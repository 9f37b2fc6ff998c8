//! What is to be done, given what is wanted and what was seen.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::schedule::{RefreshTiming, Validity, due, later};
use crate::api::AWSAssumeRoleStatus;
use crate::secret::ownership::{Ownership, is_left_by_earlier, ownership};
use crate::secret::{ObservedSecret, SecretMetadata};
use crate::spec::{ResourceKey, Spec};

/// How much later than what was asked for an end may lie and still be believed: clocks differ a little.
const PLAUSIBLE: Duration = Duration::from_secs(300);

/// How many attempts find the Secret of an earlier resource before it is deleted in the garbage collector's stead. They take fifteen seconds,
/// and it a fraction of one.
const COLLECTION_ATTEMPTS: u32 = 2;

/// The next step of a cycle.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The spec says not to refresh.
    Suspended,
    /// The Secret belongs to somebody else, who is named as far as it tells.
    Foreign(String),
    /// The Secret is being deleted, and the name is free then.
    Terminating,
    /// The Secret was that of an earlier resource of the same name, and the garbage collector has not come to it.
    Collect,
    /// The Secret holds what is wanted, and it is not time yet.
    Keep(Validity),
    /// The Secret holds the credentials that are wanted, but something else on it is not right.
    Repair(Validity, RepairReason),
    /// New credentials are needed, in place of those of the Secret that was seen, or for a new one.
    Issue(IssueReason),
}

/// Why new credentials are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum IssueReason {
    /// There is no Secret yet.
    New,
    /// There was a Secret, and somebody deleted it.
    Deleted,
    /// The Secret was made by a predecessor.
    Adopted,
    /// The Secret was made from another spec.
    SpecChanged,
    /// Somebody edited the credentials, or what the Secret says of them.
    Edited,
    /// The Secret does not say credibly when its credentials end.
    UnknownEnd,
    /// Somebody asked for a refresh.
    Requested,
    /// The Secret was rendered when the operator's own Region was another.
    RegionChanged,
    /// It is time.
    Due,
}

/// Why a Secret whose credentials are good is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RepairReason {
    /// Another spec wants other labels and annotations.
    SpecChanged,
    /// Somebody edited its labels or annotations, or added keys.
    Edited,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The resource.
    pub resource: &'a ResourceKey,
    /// The generation of its spec.
    pub generation: i64,
    /// What it asks for.
    pub spec: &'a Spec,
    /// The request for a refresh that it carries, if any.
    pub refresh_request: Option<&'a str>,
    /// The status that was last written.
    pub status: &'a AWSAssumeRoleStatus,
    /// The operator's own Region, where it is known.
    pub region: Option<&'a str>,
    /// The end of credentials whose time to be replaced has come, whatever the clock says now.
    pub overdue: Option<Timestamp>,
    /// The present, by AWS's clock.
    pub now: Timestamp,
}

/// Decides on the next step, given the Secret as it was seen.
#[must_use]
pub fn plan(situation: Situation<'_>, observed: Option<&ObservedSecret>) -> Plan {
    let Situation {
        resource, spec, status, ..
    } = situation;
    if spec.suspend {
        return Plan::Suspended;
    }
    let Some(secret) = observed else {
        let was_there = status.secret_name.as_deref() == Some(&spec.secret_name);
        return Plan::Issue(if was_there {
            IssueReason::Deleted
        } else {
            IssueReason::New
        });
    };
    match ownership(secret, resource) {
        Ownership::Foreign(holder) => Plan::Foreign(holder),
        Ownership::Terminating
            if status.failures_of_generation(situation.generation) >= COLLECTION_ATTEMPTS
                && is_left_by_earlier(secret, resource) =>
        {
            Plan::Collect
        }
        Ownership::Terminating => Plan::Terminating,
        Ownership::Adoptable => Plan::Issue(IssueReason::Adopted),
        Ownership::Ours => match held(situation, secret).and_then(|validity| usable(situation, secret, validity)) {
            Err(reason) => Plan::Issue(reason),
            Ok(validity) => match repair_reason(situation, secret) {
                None => Plan::Keep(validity),
                Some(reason) => Plan::Repair(validity, reason),
            },
        },
    }
}

/// Passes credentials on that can stay, or says why they cannot.
fn usable(situation: Situation<'_>, secret: &ObservedSecret, validity: Validity) -> Result<Validity, IssueReason> {
    let Situation {
        resource, spec, now, ..
    } = situation;
    if situation
        .refresh_request
        .is_some_and(|request| !secret.answers(request))
    {
        return Err(IssueReason::Requested);
    }
    if has_another_region(spec, secret, situation.region) {
        return Err(IssueReason::RegionChanged);
    }
    let overdue = situation.overdue == Some(validity.expiration);
    match overdue || now >= due_of(resource, spec, validity) {
        true => Err(IssueReason::Due),
        false => Ok(validity),
    }
}

/// Whether a Secret was rendered with another Region than the operator's own now. One that is not known replaces none, and a Secret that does
/// not say its Region is left as it is.
#[must_use]
pub fn has_another_region(spec: &Spec, secret: &ObservedSecret, region: Option<&str>) -> bool {
    let rendered = secret.region().filter(|_| spec.shows_own_region());
    match (rendered, region) {
        (Some(rendered), Some(region)) => rendered != region,
        _ => false,
    }
}

/// Why a Secret with good credentials is to be written, if it is.
fn repair_reason(situation: Situation<'_>, secret: &ObservedSecret) -> Option<RepairReason> {
    let Situation {
        spec,
        status,
        generation,
        ..
    } = situation;
    let right = SecretMetadata::of(spec).is_on(secret) && secret.foreign_keys(&spec.format).is_empty();
    let reason = match status.is_of_generation(generation) {
        true => RepairReason::Edited,
        false => RepairReason::SpecChanged,
    };
    (!right).then_some(reason)
}

/// When the credentials end that a Secret holds, if the resource controls it and they are those that its spec asks for.
#[must_use]
pub fn current_expiration(situation: Situation<'_>, observed: Option<&ObservedSecret>) -> Option<Timestamp> {
    let ours = observed.filter(|secret| ownership(secret, situation.resource) == Ownership::Ours)?;
    held(situation, ours).ok().map(|validity| validity.expiration)
}

/// When the credentials end that a status speaks of, as long as it speaks of this spec. A cycle that cannot look at the Secret goes by it.
#[must_use]
pub fn expiration_by_status(status: &AWSAssumeRoleStatus, generation: i64, spec: &Spec) -> Option<Timestamp> {
    let same_spec = status.is_of_generation(generation) && status.secret_name.as_ref() == Some(&spec.secret_name);
    let expiration = status.expiration.as_ref().map(|end| end.0);
    expiration.filter(|_| same_spec && status.is_ready())
}

/// For how long a Secret holds what is wanted, or why it does not. The Secret tells the end; the beginning is in the status, as long as that
/// speaks of the same credentials, and else follows from the lifetime that was asked for.
///
/// A Secret that somebody edited holds nothing that can be relied on, and neither does one whose end lies beyond what can be had.
fn held(situation: Situation<'_>, secret: &ObservedSecret) -> Result<Validity, IssueReason> {
    let Situation { spec, status, now, .. } = situation;
    let same_spec = secret.is_made_from(&spec.spec_hash);
    if !secret.is_intact(&spec.format) && (same_spec || status.is_of_generation(situation.generation)) {
        return Err(IssueReason::Edited);
    }
    if !same_spec {
        return Err(IssueReason::SpecChanged);
    }
    let expiration = secret.expiration().ok_or(IssueReason::UnknownEnd)?;
    let issued_by_status = status
        .expiration
        .as_ref()
        .is_some_and(|end| end.0.as_second() == expiration.as_second())
        .then_some(status.last_refresh_time.as_ref())
        .flatten()
        .map(|time| time.0)
        .filter(|issued| *issued < expiration);
    if issued_by_status.is_none() && expiration > later(now, spec.duration + PLAUSIBLE) {
        return Err(IssueReason::UnknownEnd);
    }
    let issued = issued_by_status
        .or_else(|| expiration.checked_sub(spec.duration).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Validity { issued, expiration })
}

/// When credentials of that validity are to be replaced.
#[must_use]
pub fn due_of(resource: &ResourceKey, spec: &Spec, validity: Validity) -> Timestamp {
    let timing = RefreshTiming {
        refresh_before: spec.refresh_before,
        seed: &resource.uid,
    };
    due(validity, timing)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
