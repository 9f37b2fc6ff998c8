//! What becomes of the Secret of a resource whose role is not permitted, or not any more.

use k8s_openapi::jiff::Timestamp;

use crate::secret::ObservedSecret;
use crate::secret::ownership::{Ownership, ownership};
use crate::spec::ResourceKey;

/// What becomes of credentials whose role is not permitted any more. Neither ends the session in AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenWithdrawn {
    /// They stay until they end by themselves. Then the Secret is emptied.
    #[default]
    Expire,
    /// The Secret is deleted at once.
    Delete,
}

/// What is to be done about the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// Nothing now, and nothing later.
    Leave,
    /// Nothing until its credentials end.
    LeaveUntil(Timestamp),
    /// Its values go.
    Empty,
    /// It goes.
    Delete,
}

/// Decides on the Secret as it was seen. One that the resource does not control is never touched; one of a predecessor, which does not say
/// when its credentials end, has no more than their hour.
#[must_use]
pub fn withdrawal(
    when: WhenWithdrawn,
    resource: &ResourceKey,
    secret: Option<&ObservedSecret>,
    now: Timestamp,
) -> Withdrawal {
    let Some(secret) = secret else {
        return Withdrawal::Leave;
    };
    match (ownership(secret, resource), when) {
        (Ownership::Ours | Ownership::Adoptable, WhenWithdrawn::Delete) => Withdrawal::Delete,
        (Ownership::Ours, WhenWithdrawn::Expire) if secret.is_emptied() => Withdrawal::Leave,
        (Ownership::Ours, WhenWithdrawn::Expire) => match secret.expiration() {
            Some(end) if end > now => Withdrawal::LeaveUntil(end),
            _ => Withdrawal::Empty,
        },
        _ => Withdrawal::Leave,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

    use super::*;
    use crate::secret::{EXPIRATION_ANNOTATION, MANAGED_BY_LABEL, SPEC_HASH_ANNOTATION};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn key() -> ResourceKey {
        ResourceKey {
            namespace: "team".into(),
            name: "mine".into(),
            uid: "uid".into(),
        }
    }

    fn secret(uid: &str, annotations: &[(&str, String)]) -> ObservedSecret {
        let annotations: BTreeMap<_, _> = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        ObservedSecret {
            metadata: ObjectMeta {
                name: Some("s".into()),
                namespace: Some("team".into()),
                labels: Some([MANAGED_BY_LABEL].map(|(key, value)| (key.into(), value.into())).into()),
                annotations: Some(annotations),
                owner_references: Some(vec![OwnerReference {
                    api_version: "pincette.net/v1".into(),
                    kind: "AWSAssumeRole".into(),
                    name: "mine".into(),
                    uid: uid.into(),
                    controller: Some(true),
                    block_owner_deletion: None,
                }]),
                ..ObjectMeta::default()
            },
            provenance: None,
            forged: false,
        }
    }

    fn until(seconds: i64) -> ObservedSecret {
        secret(
            "uid",
            &[
                (EXPIRATION_ANNOTATION, at(seconds).to_string()),
                (SPEC_HASH_ANNOTATION, "h".into()),
            ],
        )
    }

    #[test]
    fn credentials_stay_until_they_end_and_then_they_go() {
        let of = |secret: &ObservedSecret| withdrawal(WhenWithdrawn::Expire, &key(), Some(secret), at(100));
        assert_eq!(of(&until(200)), Withdrawal::LeaveUntil(at(200)));
        assert_eq!(of(&until(100)), Withdrawal::Empty);
        // One that does not say when they end holds something all the same.
        assert_eq!(
            of(&secret("uid", &[(SPEC_HASH_ANNOTATION, "h".into())])),
            Withdrawal::Empty
        );
        // One that was emptied.
        assert_eq!(of(&secret("uid", &[])), Withdrawal::Leave);
    }

    #[test]
    fn or_the_secret_goes_at_once() {
        let of = |secret: Option<&ObservedSecret>| withdrawal(WhenWithdrawn::Delete, &key(), secret, at(100));
        assert_eq!(of(Some(&until(200))), Withdrawal::Delete);
        assert_eq!(of(Some(&secret("uid", &[]))), Withdrawal::Delete);
        assert_eq!(of(None), Withdrawal::Leave);
    }

    #[test]
    fn what_somebody_else_controls_is_left_alone() {
        for when in [WhenWithdrawn::Expire, WhenWithdrawn::Delete] {
            let foreign = secret("another", &[(EXPIRATION_ANNOTATION, at(1).to_string())]);
            assert_eq!(
                withdrawal(when, &key(), Some(&foreign), at(100)),
                Withdrawal::Leave,
                "{when:?}"
            );
        }
    }
}
