//! Whose a Secret is, and so whether it may be written.

use super::ObservedSecret;
use crate::api::AWSAssumeRole;
use crate::spec::ResourceKey;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

/// What a Secret is to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The resource controls it.
    Ours,
    /// It has a reference to the resource that does not control it, as the predecessors' Secrets have: it is taken over.
    Adoptable,
    /// It is about to go: it is being deleted, or belonged to an earlier resource of the same name.
    Terminating,
    /// It belongs to somebody else, who is named as far as the Secret tells.
    Foreign(String),
}

/// Tells what `secret` is to `resource`.
#[must_use]
pub fn ownership(secret: &ObservedSecret, resource: &ResourceKey) -> Ownership {
    let references = secret.metadata.owner_references.as_deref().unwrap_or_default();
    let controller = references.iter().find(|reference| reference.controller == Some(true));

    // A UID in another namespace says nothing: whoever may write there may write any.
    if !secret.namespace().is_empty() && secret.namespace() != &*resource.namespace {
        return Ownership::Foreign("is in another namespace".to_owned());
    }
    if secret.metadata.deletion_timestamp.is_some() {
        return Ownership::Terminating;
    }
    if secret.has_too_many_owners() {
        return Ownership::Foreign("has too many owners".to_owned());
    }
    match controller {
        Some(reference) if *reference.uid == *resource.uid => Ownership::Ours,
        Some(reference) if is_earlier(reference, resource) => Ownership::Terminating,
        Some(reference) => Ownership::Foreign(format!("is controlled by {} {}", reference.kind, reference.name)),
        None if references.iter().any(|reference| *reference.uid == *resource.uid) => Ownership::Adoptable,
        None if references.iter().any(|reference| is_earlier(reference, resource)) => Ownership::Terminating,
        None => Ownership::Foreign("was made by somebody else".to_owned()),
    }
}

/// Whether the earlier resources of the same name are all the owners that a Secret has, and nobody deletes it yet. Then nothing keeps it but a
/// garbage collector that does not know: one whose watch was away while the earlier resource was deleted and this one made takes it for the
/// same one, changed, and never comes to what depends on it.
/// <https://github.com/kubernetes/kubernetes/blob/v1.36.3/pkg/controller/garbagecollector/graph_builder.go> (`processGraphChanges`)
#[must_use]
pub fn is_left_by_earlier(secret: &ObservedSecret, resource: &ResourceKey) -> bool {
    let references = secret.metadata.owner_references.as_deref().unwrap_or_default();
    let all = |reference: &OwnerReference| *reference.uid != *resource.uid && is_earlier(reference, resource);
    ownership(secret, resource) == Ownership::Terminating
        && secret.metadata.deletion_timestamp.is_none()
        && references.iter().all(all)
}

/// Whether a reference to another UID means a resource of the same name that is no more, so that the garbage collector is about to delete the Secret.
fn is_earlier(reference: &OwnerReference, resource: &ResourceKey) -> bool {
    reference.kind == AWSAssumeRole::kind(&())
        && reference
            .api_version
            .split('/')
            .next()
            .is_some_and(|group| group == AWSAssumeRole::group(&()))
        && *reference.name == *resource.name
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use k8s_openapi::jiff::Timestamp;

    fn resource() -> ResourceKey {
        ResourceKey {
            namespace: "team".into(),
            name: "mine".into(),
            uid: "uid-2".into(),
        }
    }

    fn reference(kind: &str, name: &str, uid: &str, controller: Option<bool>) -> OwnerReference {
        OwnerReference {
            api_version: "pincette.net/v1".into(),
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
            controller,
            block_owner_deletion: None,
        }
    }

    fn told(references: &[OwnerReference]) -> Ownership {
        let secret = ObservedSecret {
            metadata: ObjectMeta {
                owner_references: Some(references.to_vec()),
                ..ObjectMeta::default()
            },
            provenance: None,
            forged: false,
        };
        ownership(&secret, &resource())
    }

    #[test]
    fn a_secret_is_whose_references_say() {
        let ours = reference("AWSAssumeRole", "mine", "uid-2", Some(true));
        let mentions = reference("AWSAssumeRole", "mine", "uid-2", None);
        let earlier = reference("AWSAssumeRole", "mine", "uid-1", Some(true));
        let neighbour = reference("AWSAssumeRole", "theirs", "uid-3", Some(true));
        let other_kind = reference("ExternalSecret", "mine", "uid-4", Some(true));

        assert_eq!(told(&[ours]), Ownership::Ours);
        assert_eq!(told(std::slice::from_ref(&mentions)), Ownership::Adoptable);
        assert_eq!(told(&[earlier]), Ownership::Terminating);
        assert!(matches!(told(&[]), Ownership::Foreign(_)));
        assert!(matches!(told(&[other_kind.clone(), mentions]), Ownership::Foreign(_)));
        assert_eq!(
            told(&[other_kind]),
            Ownership::Foreign("is controlled by ExternalSecret mine".into())
        );
        assert_eq!(
            told(&[neighbour]),
            Ownership::Foreign("is controlled by AWSAssumeRole theirs".into())
        );
    }

    #[test]
    fn what_an_earlier_resource_left_has_no_other_owner() {
        let earlier = reference("AWSAssumeRole", "mine", "uid-1", Some(true));
        let left = |references: &[OwnerReference], change: fn(&mut ObjectMeta)| {
            let mut metadata = ObjectMeta {
                owner_references: Some(references.to_vec()),
                ..ObjectMeta::default()
            };
            change(&mut metadata);
            let secret = ObservedSecret {
                metadata,
                provenance: None,
                forged: false,
            };
            is_left_by_earlier(&secret, &resource())
        };
        assert!(left(std::slice::from_ref(&earlier), |_| ()));
        let deleted = |metadata: &mut ObjectMeta| metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert!(!left(std::slice::from_ref(&earlier), deleted));
        for other in [
            reference("ConfigMap", "theirs", "uid-3", None),
            reference("AWSAssumeRole", "theirs", "uid-3", None),
            reference("AWSAssumeRole", "mine", "uid-2", None),
        ] {
            assert!(!left(&[earlier.clone(), other], |_| ()));
        }
        assert!(!left(
            &[reference("AWSAssumeRole", "mine", "uid-2", Some(true))],
            |_| ()
        ));
        assert!(!left(&[], |_| ()));
    }

    #[test]
    fn a_secret_without_references_is_foreign() {
        assert!(matches!(
            ownership(&ObservedSecret::default(), &resource()),
            Ownership::Foreign(_)
        ));
    }

    #[test]
    fn a_secret_that_is_being_deleted_is_not_written() {
        let secret = ObservedSecret {
            metadata: ObjectMeta {
                owner_references: Some(vec![reference("AWSAssumeRole", "mine", "uid-2", Some(true))]),
                deletion_timestamp: Some(Time(Timestamp::UNIX_EPOCH)),
                ..ObjectMeta::default()
            },
            provenance: None,
            forged: false,
        };
        assert_eq!(ownership(&secret, &resource()), Ownership::Terminating);
    }
}
