//! What is to be done, given what is wanted and what was seen.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::schedule::{Rhythm, Validity, due, later};
use crate::resource::AWSAssumeRoleStatus;
use crate::secret::ownership::{Ownership, ownership};
use crate::secret::{Envelope, ObservedSecret};
use crate::wanted::{ResourceKey, Wanted};

/// How much later than what was asked for an end may lie and still be believed: clocks differ a little.
const PLAUSIBLE: Duration = Duration::from_secs(300);

/// The next step of a cycle.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The spec says not to refresh.
    Suspended,
    /// The Secret belongs to somebody else, who is named as far as it tells.
    Foreign(String),
    /// The Secret is about to go, and the name is free then.
    Leaving,
    /// The Secret holds what is wanted, and it is not time yet.
    Keep(Validity),
    /// The Secret holds the credentials that are wanted, but something else on it is not right.
    Repair(Validity),
    /// New credentials are needed, for a new Secret.
    Create,
    /// New credentials are needed, in place of those of the Secret that was seen.
    Replace,
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The resource.
    pub resource: &'a ResourceKey,
    /// What it asks for.
    pub wanted: &'a Wanted,
    /// The request for a refresh that it carries, if any.
    pub refresh_request: Option<&'a str>,
    /// The status that was last written.
    pub status: &'a AWSAssumeRoleStatus,
    /// The end of credentials whose time to be replaced has come, whatever the clock says now.
    pub overdue: Option<Timestamp>,
    /// The present, by AWS's clock.
    pub now: Timestamp,
}

/// Decides on the next step, given the Secret as it was seen.
#[must_use]
pub fn plan(situation: Situation<'_>, observed: Option<&ObservedSecret>) -> Plan {
    let Situation { resource, wanted, .. } = situation;
    if wanted.suspend {
        return Plan::Suspended;
    }
    let Some(secret) = observed else {
        return Plan::Create;
    };
    match ownership(secret, resource) {
        Ownership::Foreign(holder) => Plan::Foreign(holder),
        Ownership::Leaving => Plan::Leaving,
        Ownership::Adoptable => Plan::Replace,
        Ownership::Ours => match held(situation, secret) {
            Some(validity) if is_good(situation, secret, validity) => {
                let right = Envelope::of(wanted).is_on(secret) && secret.foreign_keys(&wanted.format).is_empty();
                match right {
                    true => Plan::Keep(validity),
                    false => Plan::Repair(validity),
                }
            }
            _ => Plan::Replace,
        },
    }
}

/// Whether the credentials that a Secret holds can stay.
fn is_good(situation: Situation<'_>, secret: &ObservedSecret, validity: Validity) -> bool {
    let Situation {
        resource, wanted, now, ..
    } = situation;
    let answered = situation.refresh_request.is_none_or(|request| secret.answers(request));
    let overdue = situation.overdue == Some(validity.expiration);
    answered && !overdue && now < due_of(resource, wanted, validity)
}

/// For how long a Secret holds what is wanted, if it does. The Secret tells the end; the beginning is in the status, as long as that speaks
/// of the same credentials, and else follows from the lifetime that was asked for.
///
/// A Secret that somebody edited holds nothing that can be relied on, and neither does one whose end lies beyond what can be had.
#[must_use]
pub fn held(situation: Situation<'_>, secret: &ObservedSecret) -> Option<Validity> {
    let Situation {
        wanted, status, now, ..
    } = situation;
    let credible = secret.is_made_from(&wanted.spec_hash) && secret.is_intact(&wanted.format);
    let expiration = credible.then(|| secret.expiration()).flatten()?;
    let told = status
        .expiration
        .as_ref()
        .is_some_and(|end| end.0.as_second() == expiration.as_second())
        .then_some(status.last_refresh_time.as_ref())
        .flatten()
        .map(|time| time.0)
        .filter(|issued| *issued < expiration);
    if told.is_none() && expiration > later(now, wanted.duration + PLAUSIBLE) {
        return None;
    }
    let issued = told
        .or_else(|| expiration.checked_sub(wanted.duration).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    Some(Validity { issued, expiration })
}

/// When credentials of that validity are to be replaced.
#[must_use]
pub fn due_of(resource: &ResourceKey, wanted: &Wanted, validity: Validity) -> Timestamp {
    let rhythm = Rhythm {
        refresh_before: wanted.refresh_before,
        seed: &resource.uid,
    };
    due(validity, rhythm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::role::RoleReference;
    use crate::secret::Provenance;
    use crate::wanted::{Format, SessionRequest};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
    use std::collections::BTreeMap;

    fn resource() -> ResourceKey {
        ResourceKey {
            namespace: "team".into(),
            name: "mine".into(),
            uid: "uid-1".into(),
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            role: RoleReference::Name("r".into()),
            session: SessionRequest::default(),
            region: None,
            duration: Duration::from_secs(900),
            refresh_before: None,
            secret_name: "secret".into(),
            format: Format::Map,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            suspend: false,
            spec_hash: "hash".into(),
        }
    }

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
                labels: Some(Envelope::of(&wanted()).labels),
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
        }
    }

    fn ours(hash: &str, expiration: &str) -> ObservedSecret {
        secret(hash, expiration, Some(true), "uid-1")
    }

    /// What is planned in a situation that differs in something from the plain one.
    fn planned_in(observed: Option<&ObservedSecret>, now: Timestamp, change: impl FnOnce(&mut Situation<'_>)) -> Plan {
        let (resource, wanted, status) = (resource(), wanted(), AWSAssumeRoleStatus::default());
        let mut situation = Situation {
            resource: &resource,
            wanted: &wanted,
            refresh_request: None,
            status: &status,
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
        assert_eq!(planned(None, at(0)), Plan::Create);
    }

    #[test]
    fn a_valid_secret_of_the_same_spec_is_kept_until_it_is_due() {
        let valid = ours("hash", &at(900).to_string());
        assert_eq!(planned(Some(&valid), at(0)), Plan::Keep(FULL()));
        assert_eq!(planned(Some(&valid), at(539)), Plan::Keep(FULL()));
        assert!(matches!(planned(Some(&valid), at(600)), Plan::Replace));
        assert!(matches!(planned(Some(&valid), at(2000)), Plan::Replace));
        let overdue = planned_in(Some(&valid), at(0), |situation| situation.overdue = Some(at(900)));
        assert!(matches!(overdue, Plan::Replace));
    }

    #[test]
    fn another_spec_or_no_end_asks_for_new_credentials() {
        let end = at(900).to_string();
        for stale in [
            ours("other", &end),
            ours("hash", "tomorrow"),
            ours("hash", ""),
            ours("hash", &at(5000).to_string()),
        ] {
            assert!(matches!(planned(Some(&stale), at(0)), Plan::Replace));
        }
    }

    #[test]
    fn a_secret_is_written_only_by_its_owner() {
        let end = at(900).to_string();
        let mentioned = secret("hash", &end, None, "uid-1");
        assert!(matches!(planned(Some(&mentioned), at(0)), Plan::Replace));
        assert_eq!(
            planned(Some(&secret("hash", &end, Some(true), "uid-0")), at(0)),
            Plan::Leaving
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
        assert!(matches!(requested(&valid, "1"), Plan::Replace));
        let annotations = valid.metadata.annotations.as_mut().unwrap();
        annotations.insert("pincette.net/refresh".into(), "1".into());
        assert_eq!(requested(&valid, "1"), Plan::Keep(FULL()));
        assert!(matches!(requested(&valid, "2"), Plan::Replace));
    }

    #[test]
    fn what_is_wrong_beside_the_credentials_is_repaired_without_new_ones() {
        let mut unlabelled = ours("hash", &at(900).to_string());
        unlabelled.metadata.labels = None;
        assert!(matches!(planned(Some(&unlabelled), at(1)), Plan::Repair(_)));

        let mut crowded = ours("hash", &at(900).to_string());
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        crowded.provenance = Some(Provenance {
            ours: keys(&Format::Map.keys()),
            others: keys(&["extra"]),
            annotations: true,
        });
        assert!(matches!(planned(Some(&crowded), at(1)), Plan::Repair(_)));

        crowded.provenance.as_mut().unwrap().ours.remove("awsSessionToken");
        assert!(matches!(planned(Some(&crowded), at(1)), Plan::Replace));
    }

    #[test]
    fn nothing_is_done_while_suspended() {
        let mut suspended = wanted();
        suspended.suspend = true;
        let (resource, status) = (resource(), AWSAssumeRoleStatus::default());
        let situation = Situation {
            resource: &resource,
            wanted: &suspended,
            refresh_request: Some("now"),
            status: &status,
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
            let (resource, wanted) = (resource(), wanted());
            let situation = Situation {
                resource: &resource,
                wanted: &wanted,
                refresh_request: None,
                status,
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
        assert!(matches!(planned(Some(&short), at(20)), Plan::Replace));

        // A status that speaks of other credentials tells nothing.
        let other = AWSAssumeRoleStatus {
            expiration: Some(Time(at(61))),
            ..status
        };
        assert!(matches!(with(&other), Plan::Replace));
    }
}
