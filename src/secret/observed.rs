//! A Secret as it was seen in the cluster, without its content.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use k8s_openapi::jiff::Timestamp;

use super::{EXPIRATION_ANNOTATION, REFRESH_ANNOTATION, SPEC_HASH_ANNOTATION};
use crate::spec::Format;

/// The name under which the API server records the operator's writes.
pub const FIELD_MANAGER: &str = "aws-assume-role";

/// A Secret as it was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedSecret {
    /// Its metadata, without the managed fields.
    pub metadata: ObjectMeta,
    /// Who wrote what of it, where the API server tells.
    pub provenance: Option<Provenance>,
}

/// Who wrote what of a Secret. The API server keeps account of it for every field, so that an edit by hand shows in the metadata, also
/// one that was made while the operator was away, and the content need not be looked at.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The keys of the content whose values are the operator's.
    pub ours: BTreeSet<String>,
    /// The keys of the content whose values somebody else wrote.
    pub others: BTreeSet<String>,
    /// Whether the annotations on which the operator relies are its own.
    pub annotations: bool,
}

impl ObservedSecret {
    /// Takes from a Secret's metadata what is worth keeping in memory for as long as an actor lives.
    #[must_use]
    pub fn new(mut metadata: ObjectMeta) -> Self {
        let entries = metadata.managed_fields.take().unwrap_or_default();
        Self {
            metadata,
            provenance: (!entries.is_empty()).then(|| Provenance::of(&entries)),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The UID of the resource that controls it.
    #[must_use]
    pub fn controller_uid(&self) -> Option<&str> {
        let references = self.metadata.owner_references.as_deref().unwrap_or_default();
        references
            .iter()
            .find(|reference| reference.controller == Some(true))
            .map(|reference| reference.uid.as_str())
    }

    /// Whether this was seen after `other`. Resource versions are whole numbers that grow; where they are not told so, a difference counts.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
    #[must_use]
    pub fn is_newer_than(&self, other: &Self) -> bool {
        let version = |secret: &Self| secret.metadata.resource_version.clone().unwrap_or_default();
        match (version(self).parse::<u64>(), version(other).parse::<u64>()) {
            (Ok(this), Ok(that)) => this > that,
            _ => version(self) != version(other),
        }
    }

    /// When the credentials in it end, if it says so.
    #[must_use]
    pub fn expiration(&self) -> Option<Timestamp> {
        self.annotation(EXPIRATION_ANNOTATION)?.parse().ok()
    }

    /// Whether it was made from a spec with that hash.
    #[must_use]
    pub fn is_made_from(&self, spec_hash: &str) -> bool {
        self.annotation(SPEC_HASH_ANNOTATION) == Some(spec_hash)
    }

    /// Whether its credentials answer a request for a refresh.
    #[must_use]
    pub fn answers(&self, refresh_request: &str) -> bool {
        self.annotation(REFRESH_ANNOTATION) == Some(refresh_request)
    }

    /// Whether its credentials, and what it says of them, are as the operator wrote them.
    #[must_use]
    pub fn is_intact(&self, format: &Format) -> bool {
        self.provenance.as_ref().is_none_or(|provenance| {
            provenance.annotations && format.keys().iter().all(|key| provenance.ours.contains(*key))
        })
    }

    /// The keys of its content that the form does not have.
    #[must_use]
    pub fn foreign_keys(&self, format: &Format) -> BTreeSet<String> {
        let keys = format.keys();
        let provenance = self.provenance.iter();
        provenance
            .flat_map(|provenance| provenance.ours.union(&provenance.others))
            .filter(|key| !keys.contains(&key.as_str()))
            .cloned()
            .collect()
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

impl Provenance {
    fn of(entries: &[ManagedFieldsEntry]) -> Self {
        let mut provenance = Self::default();
        let mut annotations = BTreeSet::new();
        for entry in entries {
            let Some(fields) = &entry.fields_v1 else {
                continue;
            };
            let ours = entry.manager.as_deref() == Some(FIELD_MANAGER);
            let keys = names(&fields.0["f:data"]);
            if ours {
                annotations.extend(names(&fields.0["f:metadata"]["f:annotations"]));
                provenance.ours.extend(keys);
            } else {
                provenance.others.extend(keys);
            }
        }
        provenance.annotations = [EXPIRATION_ANNOTATION, SPEC_HASH_ANNOTATION]
            .iter()
            .all(|key| annotations.contains(*key));
        provenance
    }
}

/// The names of the fields in a set of the form `{"f:name": {}, ".": {}}`.
fn names(fields: &serde_json::Value) -> impl Iterator<Item = String> {
    fields
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys())
        .filter_map(|key| key.strip_prefix("f:"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secret(entries: serde_json::Value) -> ObservedSecret {
        ObservedSecret::new(serde_json::from_value(json!({"name": "s", "managedFields": entries})).unwrap())
    }

    fn entry(manager: &str, data: &[&str], annotations: &[&str]) -> serde_json::Value {
        let fields = |names: &[&str]| {
            let pairs = names.iter().map(|name| (format!("f:{name}"), json!({})));
            json!(
                pairs
                    .chain([(".".to_owned(), json!({}))])
                    .collect::<std::collections::BTreeMap<_, _>>()
            )
        };
        json!({"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {
            "f:data": fields(data), "f:metadata": {"f:annotations": fields(annotations)}, "f:type": {},
        }})
    }

    const TOLD: [&str; 2] = ["pincette.net/expiration", "pincette.net/spec-hash"];

    #[test]
    fn what_the_operator_wrote_is_intact() {
        let ours = entry("aws-assume-role", &["credentials"], &TOLD);
        assert!(secret(json!([ours])).is_intact(&Format::File));
        let labelled = json!({"manager": "kubectl-label", "operation": "Update", "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}});
        assert!(secret(json!([ours, labelled])).is_intact(&Format::File));
        assert!(
            secret(json!([])).is_intact(&Format::File),
            "a cluster that keeps no account"
        );
    }

    #[test]
    fn an_edit_by_hand_shows() {
        let edited = entry("kubectl-edit", &["credentials"], &[]);
        let left = entry("aws-assume-role", &[], &TOLD);
        assert!(!secret(json!([left, edited])).is_intact(&Format::File));

        let ours = entry("aws-assume-role", &["credentials"], &["pincette.net/spec-hash"]);
        let lied = entry("kubectl-annotate", &[], &["pincette.net/expiration"]);
        assert!(!secret(json!([ours, lied])).is_intact(&Format::File));
        assert!(!secret(json!([left])).is_intact(&Format::File), "a key was taken away");
    }

    #[test]
    fn what_was_seen_is_ordered_by_its_version() {
        let version = |version: &str| {
            let metadata = json!({"name": "s", "resourceVersion": version});
            ObservedSecret::new(serde_json::from_value(metadata).unwrap())
        };
        assert!(version("10").is_newer_than(&version("9")));
        assert!(!version("9").is_newer_than(&version("10")));
        assert!(!version("9").is_newer_than(&version("9")));
        assert!(version("b").is_newer_than(&version("a")) && version("a").is_newer_than(&version("b")));
    }

    #[test]
    fn keys_that_others_added_are_foreign() {
        let ours = entry("aws-assume-role", &["credentials"], &TOLD);
        let added = entry("kubectl-patch", &["extra"], &[]);
        let seen = secret(json!([ours, added]));
        assert!(seen.is_intact(&Format::File));
        assert_eq!(seen.foreign_keys(&Format::File), BTreeSet::from(["extra".to_owned()]));
        assert!(secret(json!([ours])).foreign_keys(&Format::File).is_empty());
    }
}
