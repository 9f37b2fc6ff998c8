//! What is to be done, given what is wanted and what was seen.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::schedule::{RefreshTiming, Validity, due, later};
use crate::api::AWSAssumeRoleStatus;
use crate::secret::ownership::{Ownership, ownership};
use crate::secret::{ObservedSecret, SecretMetadata};
use crate::spec::{ResourceKey, Spec};

/// How much later than what was asked for an end may lie and still be believed: clocks differ a little.
const PLAUSIBLE: Duration = Duration::from_secs(300);

/// The next step of a cycle.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The spec says not to refresh.
    Suspended,
    /// The Secret belongs to somebody else, who is named as far as it tells.
    Foreign(String),
    /// The Secret is being deleted, and the name is free then.
    Terminating,
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
mod tests {
    use super::*;
    use crate::secret::Provenance;
    use crate::spec::Format;
    use crate::spec::fixtures::{key, spec};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
    use std::collections::BTreeMap;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn secret(hash: &str, expiration: &str, controller: Option<bool>, uid: &str) -> ObservedSecret {
        ObservedSecret {
            metadata: ObjectMeta {
                annotations: Some(BTreeMap::from([
                    ("pincette.net/spec-hash".into(), hash.into()),
                    ("pincette.net/expiration".into(), expiration.into()),
                ])),
                labels: Some(SecretMetadata::of(&spec(Format::Map)).labels),
                owner_references: Some(vec![OwnerReference {
                    api_version: "pincette.net/v1".into(),
                    kind: "AWSAssumeRole".into(),
                    name: "mine".into(),
                    uid: uid.into(),
                    controller,
                    block_owner_deletion: None,
                }]),
                ..ObjectMeta::default()
            },
            provenance: None,
            forged: false,
        }
    }

    fn ours(hash: &str, expiration: &str) -> ObservedSecret {
        secret(hash, expiration, Some(true), "uid-1")
    }

    /// What is planned in a situation that differs in something from the plain one.
    fn planned_in(observed: Option<&ObservedSecret>, now: Timestamp, change: impl FnOnce(&mut Situation<'_>)) -> Plan {
        let (resource, spec, status) = (key(), spec(Format::Map), AWSAssumeRoleStatus::default());
        let mut situation = Situation {
            resource: &resource,
            generation: 1,
            spec: &spec,
            refresh_request: None,
            status: &status,
            region: None,
            overdue: None,
            now,
        };
        change(&mut situation);
        plan(situation, observed)
    }

    fn planned(observed: Option<&ObservedSecret>, now: Timestamp) -> Plan {
        planned_in(observed, now, |_| ())
    }

    const FULL: fn() -> Validity = || Validity {
        issued: at(0),
        expiration: at(900),
    };

    #[test]
    fn what_is_missing_is_made() {
        assert_eq!(planned(None, at(0)), Plan::Issue(IssueReason::New));
        let status = AWSAssumeRoleStatus {
            secret_name: Some("secret".into()),
            ..Default::default()
        };
        let (resource, spec) = (key(), spec(Format::Map));
        let situation = Situation {
            resource: &resource,
            generation: 1,
            spec: &spec,
            refresh_request: None,
            status: &status,
            region: None,
            overdue: None,
            now: at(0),
        };
        assert_eq!(plan(situation, None), Plan::Issue(IssueReason::Deleted));
    }

    #[test]
    fn a_valid_secret_of_the_same_spec_is_kept_until_it_is_due() {
        let valid = ours("hash", &at(900).to_string());
        assert_eq!(planned(Some(&valid), at(0)), Plan::Keep(FULL()));
        assert_eq!(planned(Some(&valid), at(404)), Plan::Keep(FULL()));
        assert_eq!(planned(Some(&valid), at(450)), Plan::Issue(IssueReason::Due));
        assert_eq!(planned(Some(&valid), at(2000)), Plan::Issue(IssueReason::Due));
        let overdue = planned_in(Some(&valid), at(0), |situation| situation.overdue = Some(at(900)));
        assert_eq!(overdue, Plan::Issue(IssueReason::Due));
    }

    #[test]
    fn another_spec_or_no_end_asks_for_new_credentials() {
        let end = at(900).to_string();
        for (stale, reason) in [
            (ours("other", &end), IssueReason::SpecChanged),
            (ours("hash", "tomorrow"), IssueReason::UnknownEnd),
            (ours("hash", ""), IssueReason::UnknownEnd),
            (ours("hash", &at(5000).to_string()), IssueReason::UnknownEnd),
        ] {
            assert_eq!(planned(Some(&stale), at(0)), Plan::Issue(reason));
        }
    }

    #[test]
    fn a_secret_is_written_only_by_its_owner() {
        let end = at(900).to_string();
        let mentioned = secret("hash", &end, None, "uid-1");
        assert_eq!(planned(Some(&mentioned), at(0)), Plan::Issue(IssueReason::Adopted));
        assert_eq!(
            planned(Some(&secret("hash", &end, Some(true), "uid-0")), at(0)),
            Plan::Terminating
        );
        assert!(matches!(
            planned(Some(&ObservedSecret::default()), at(0)),
            Plan::Foreign(_)
        ));
    }

    #[test]
    fn a_request_is_answered_once() {
        let mut valid = ours("hash", &at(900).to_string());
        let requested = |secret: &ObservedSecret, request: &'static str| {
            planned_in(Some(secret), at(1), |situation| {
                situation.refresh_request = Some(request)
            })
        };
        assert_eq!(requested(&valid, "1"), Plan::Issue(IssueReason::Requested));
        let annotations = valid.metadata.annotations.as_mut().unwrap();
        annotations.insert("pincette.net/refresh".into(), "1".into());
        assert_eq!(requested(&valid, "1"), Plan::Keep(FULL()));
        assert_eq!(requested(&valid, "2"), Plan::Issue(IssueReason::Requested));
    }

    #[test]
    fn a_template_that_shows_another_region_is_rendered_anew() {
        let template = spec(Format::Template(BTreeMap::from([(
            "key".into(),
            "{{ region }}".into(),
        )])));
        let elsewhere = Spec {
            region: Some("eu-central-1".into()),
            ..template.clone()
        };
        let mut rendered = ours("hash", &at(900).to_string());
        let annotations = rendered.metadata.annotations.as_mut().unwrap();
        annotations.insert("pincette.net/region".into(), "us-east-1".into());
        let has_another = |spec: &Spec, region| has_another_region(spec, &rendered, region);
        assert!(has_another(&template, Some("eu-west-1")));
        assert!(!has_another(&template, Some("us-east-1")));
        assert!(!has_another(&template, None), "one that is not known replaces none");
        assert!(!has_another(&elsewhere, Some("eu-west-1")));
        assert!(!has_another(&spec(Format::Map), Some("eu-west-1")));
        let silent = ours("hash", &at(900).to_string());
        assert!(
            !has_another_region(&template, &silent, Some("eu-west-1")),
            "an upgrade changes nothing"
        );
    }

    #[test]
    fn what_is_wrong_beside_the_credentials_is_repaired_without_new_ones() {
        let mut unlabelled = ours("hash", &at(900).to_string());
        unlabelled.metadata.labels = None;
        let repaired = |secret: &ObservedSecret, generation| {
            planned_in(Some(secret), at(1), |situation| situation.generation = generation)
        };
        // The plain status speaks of no generation: what is wrong may come from another spec.
        assert_eq!(
            repaired(&unlabelled, 1),
            Plan::Repair(FULL(), RepairReason::SpecChanged)
        );

        let mut crowded = ours("hash", &at(900).to_string());
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        crowded.provenance = Some(Provenance {
            ours: keys(&Format::Map.keys()),
            others: keys(&["extra"]),
            annotations: true,
            ..Provenance::default()
        });
        assert_eq!(repaired(&crowded, 1), Plan::Repair(FULL(), RepairReason::SpecChanged));
        let status = AWSAssumeRoleStatus {
            observed_generation: Some(1),
            ..Default::default()
        };
        let (resource, spec) = (key(), spec(Format::Map));
        let situation = Situation {
            resource: &resource,
            generation: 1,
            spec: &spec,
            refresh_request: None,
            status: &status,
            region: None,
            overdue: None,
            now: at(1),
        };
        assert_eq!(
            plan(situation, Some(&crowded)),
            Plan::Repair(FULL(), RepairReason::Edited)
        );

        crowded.provenance.as_mut().unwrap().ours.remove("awsSessionToken");
        assert_eq!(planned(Some(&crowded), at(1)), Plan::Issue(IssueReason::Edited));
    }

    #[test]
    fn nothing_is_done_while_suspended() {
        let mut suspended = spec(Format::Map);
        suspended.suspend = true;
        let (resource, status) = (key(), AWSAssumeRoleStatus::default());
        let situation = Situation {
            resource: &resource,
            generation: 1,
            spec: &suspended,
            refresh_request: Some("now"),
            status: &status,
            region: None,
            overdue: Some(at(900)),
            now: at(0),
        };
        assert_eq!(plan(situation, None), Plan::Suspended);
        assert_eq!(plan(situation, Some(&ObservedSecret::default())), Plan::Suspended);
    }

    #[test]
    fn the_status_tells_the_beginning_of_a_short_life() {
        // AWS gave 60 s only; without the status one would take it for the end of 900 s, and overdue.
        let status = AWSAssumeRoleStatus {
            expiration: Some(Time(at(60))),
            last_refresh_time: Some(Time(at(0))),
            ..Default::default()
        };
        let short = ours("hash", &at(60).to_string());
        let with = |status: &AWSAssumeRoleStatus| {
            let (resource, spec) = (key(), spec(Format::Map));
            let situation = Situation {
                resource: &resource,
                generation: 1,
                spec: &spec,
                refresh_request: None,
                status,
                region: None,
                overdue: None,
                now: at(20),
            };
            plan(situation, Some(&short))
        };
        let validity = Validity {
            issued: at(0),
            expiration: at(60),
        };
        assert_eq!(with(&status), Plan::Keep(validity));
        assert_eq!(planned(Some(&short), at(20)), Plan::Issue(IssueReason::Due));

        // A status that speaks of other credentials tells nothing.
        let other = AWSAssumeRoleStatus {
            expiration: Some(Time(at(61))),
            ..status
        };
        assert_eq!(with(&other), Plan::Issue(IssueReason::Due));
    }
}
