//! What is to be done, given what is wanted and what was seen.

use k8s_openapi::jiff::Timestamp;

use super::schedule::{Rhythm, Validity, due};
use crate::resource::AWSAssumeRoleStatus;
use crate::secret::ObservedSecret;
use crate::secret::ownership::{Ownership, ownership};
use crate::wanted::{ResourceKey, Wanted};

/// The next step of a cycle.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// The Secret belongs to somebody else, who is named as far as it tells.
    Foreign(String),
    /// The Secret is about to go, and the name is free then.
    Leaving,
    /// The Secret holds what is wanted, and it is not time yet.
    Keep(Validity),
    /// New credentials are needed, for a new Secret.
    Create,
    /// New credentials are needed, in place of those of the Secret that was seen.
    Replace(Box<ObservedSecret>),
}

/// Decides on the next step.
#[must_use]
pub fn plan(
    resource: &ResourceKey,
    wanted: &Wanted,
    observed: Option<&ObservedSecret>,
    status: &AWSAssumeRoleStatus,
    now: Timestamp,
) -> Plan {
    let Some(secret) = observed else {
        return Plan::Create;
    };
    match ownership(secret, resource) {
        Ownership::Foreign(holder) => Plan::Foreign(holder),
        Ownership::Leaving => Plan::Leaving,
        Ownership::Adoptable => Plan::Replace(Box::new(secret.clone())),
        Ownership::Ours => match held(wanted, secret, status) {
            Some(validity) if now < due_of(resource, wanted, validity) => Plan::Keep(validity),
            _ => Plan::Replace(Box::new(secret.clone())),
        },
    }
}

/// For how long a Secret holds what is wanted, if it does. The Secret tells the end; the beginning is in the status, as long as that speaks
/// of the same credentials, and else follows from the lifetime that was asked for.
#[must_use]
pub fn held(wanted: &Wanted, secret: &ObservedSecret, status: &AWSAssumeRoleStatus) -> Option<Validity> {
    let expiration = secret
        .is_made_from(&wanted.spec_hash)
        .then(|| secret.expiration())
        .flatten()?;
    let told = status
        .expiration
        .as_ref()
        .is_some_and(|end| end.0.as_second() == expiration.as_second())
        .then_some(status.last_refresh_time.as_ref())
        .flatten()
        .map(|time| time.0)
        .filter(|issued| *issued < expiration);
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
    use crate::wanted::Format;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
    use std::collections::BTreeMap;
    use std::time::Duration;

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
            session_name: "s".into(),
            duration: Duration::from_secs(900),
            refresh_before: None,
            secret_name: "secret".into(),
            format: Format::Map,
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
        }
    }

    fn ours(hash: &str, expiration: &str) -> ObservedSecret {
        secret(hash, expiration, Some(true), "uid-1")
    }

    fn planned(observed: Option<&ObservedSecret>, now: Timestamp) -> Plan {
        plan(&resource(), &wanted(), observed, &AWSAssumeRoleStatus::default(), now)
    }

    #[test]
    fn what_is_missing_is_made() {
        assert_eq!(planned(None, at(0)), Plan::Create);
    }

    #[test]
    fn a_valid_secret_of_the_same_spec_is_kept_until_it_is_due() {
        let valid = ours("hash", &at(900).to_string());
        let validity = Validity {
            issued: at(0),
            expiration: at(900),
        };
        assert_eq!(planned(Some(&valid), at(0)), Plan::Keep(validity));
        assert_eq!(planned(Some(&valid), at(539)), Plan::Keep(validity));
        assert!(matches!(planned(Some(&valid), at(600)), Plan::Replace(_)));
        assert!(matches!(planned(Some(&valid), at(2000)), Plan::Replace(_)));
    }

    #[test]
    fn another_spec_or_no_end_asks_for_new_credentials() {
        let end = at(900).to_string();
        for stale in [ours("other", &end), ours("hash", "tomorrow"), ours("hash", "")] {
            assert!(matches!(planned(Some(&stale), at(0)), Plan::Replace(_)));
        }
    }

    #[test]
    fn a_secret_is_written_only_by_its_owner() {
        let end = at(900).to_string();
        assert!(matches!(
            planned(Some(&secret("hash", &end, None, "uid-1")), at(0)),
            Plan::Replace(_)
        ));
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
    fn the_status_tells_the_beginning_of_a_short_life() {
        // AWS gave 60 s only; without the status one would take it for the end of 900 s, and overdue.
        let status = AWSAssumeRoleStatus {
            expiration: Some(Time(at(60))),
            last_refresh_time: Some(Time(at(0))),
            ..Default::default()
        };
        let short = ours("hash", &at(60).to_string());
        let keep = plan(&resource(), &wanted(), Some(&short), &status, at(20));
        assert_eq!(
            keep,
            Plan::Keep(Validity {
                issued: at(0),
                expiration: at(60)
            })
        );
        assert!(matches!(planned(Some(&short), at(20)), Plan::Replace(_)));

        // A status that speaks of other credentials tells nothing.
        let other = AWSAssumeRoleStatus {
            expiration: Some(Time(at(61))),
            ..status
        };
        assert!(matches!(
            plan(&resource(), &wanted(), Some(&short), &other, at(20)),
            Plan::Replace(_)
        ));
    }
}
