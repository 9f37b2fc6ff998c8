//! A Secret as it was seen in the cluster, without its content.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::metadata::written_keys;
use super::{
    EXPIRATION_ANNOTATION, OWN_LABELS, Provenance, REFRESH_ANNOTATION, REGION_ANNOTATION, SPEC_HASH_ANNOTATION,
    TEMPLATE_ANNOTATION,
};
use crate::spec::Format;

/// The most owners that a Secret may have and still be written. Whoever adds more makes it their own.
const OWNERS_MAX: usize = 32;

/// The most bytes of labels, or of annotations, from `secretTemplate` that are remembered of a Secret. The API takes no more than 64 KiB.
const TEMPLATE_MAX: usize = 64 * 1024;

/// The longest own annotation that is remembered. The operator writes none that is longer, but for [`TEMPLATE_ANNOTATION`].
const OWN_MAX: usize = 512;

/// A Secret as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ObservedSecret {
    /// Its metadata, without the managed fields, and without labels and annotations that the operator has nothing to do with.
    pub metadata: ObjectMeta,
    /// Who wrote what of it, where the API server says so.
    pub provenance: Option<Provenance>,
    /// Whether somebody wrote to it under the operator's own name, so that its provenance says nothing.
    pub forged: bool,
}

impl ObservedSecret {
    /// Takes from a Secret's metadata what is worth keeping in memory for as long as an actor lives.
    #[must_use]
    pub fn new(mut metadata: ObjectMeta) -> Self {
        let entries = metadata.managed_fields.take().unwrap_or_default();
        let from_template = written_keys(metadata.annotations.as_ref());
        trim(&mut metadata.labels, |key| {
            OWN_LABELS.contains(&key) || from_template.labels.contains(key)
        });
        trim(&mut metadata.annotations, |key| from_template.annotations.contains(key));
        metadata.finalizers = None;
        Self {
            metadata,
            // The API server keeps account of every Secret. One without an account was wiped, and is nobody's work.
            provenance: Some(Provenance::of(&entries)),
            forged: false,
        }
    }

    /// Whether it has so many owners that it cannot be the operator's.
    #[must_use]
    pub fn has_too_many_owners(&self) -> bool {
        let references = self.metadata.owner_references.as_ref();
        references.is_some_and(|references| references.len() > OWNERS_MAX)
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
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

    /// Whether somebody wrote to it under the operator's own name since `known`, which the operator wrote or found right.
    #[must_use]
    pub fn is_forged_since(&self, known: &Self, just_written: bool) -> bool {
        let same = self.metadata.uid == known.metadata.uid;
        match (&self.provenance, &known.provenance) {
            (Some(this_one), Some(before)) if same => {
                let (this, that) = (&self.metadata, &known.metadata);
                let looks_the_same = this.labels == that.labels
                    && this.annotations == that.annotations
                    && this.owner_references == that.owner_references
                    && this.deletion_timestamp == that.deletion_timestamp;
                known.forged || this_one.is_forged_since(before, looks_the_same && just_written)
            }
            _ => false,
        }
    }

    /// When the credentials in it end, if it says so.
    #[must_use]
    pub fn expiration(&self) -> Option<Timestamp> {
        self.annotation(EXPIRATION_ANNOTATION)?.parse().ok()
    }

    /// Whether the credentials were taken out of it, since their role is not permitted any more.
    #[must_use]
    pub fn is_emptied(&self) -> bool {
        self.annotation(EXPIRATION_ANNOTATION).is_none() && self.annotation(SPEC_HASH_ANNOTATION).is_none()
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
        let intact = |provenance: &Provenance| {
            provenance.annotations && format.keys().iter().all(|key| provenance.ours.contains(*key))
        };
        !self.forged && self.provenance.as_ref().is_none_or(intact)
    }

    /// The keys of its content that the form does not have.
    #[must_use]
    pub fn foreign_keys(&self, format: &Format) -> BTreeSet<String> {
        let keys = format.keys();
        self.keys_beside(|key| keys.contains(&key))
    }

    /// The keys of its content for which something does not hold.
    pub(super) fn keys_beside(&self, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let provenance = self.provenance.iter();
        provenance
            .flat_map(|provenance| provenance.ours.union(&provenance.others))
            .filter(|key| !wanted(key))
            .cloned()
            .collect()
    }

    /// The operator's own Region at the time when it was rendered, if it may show it.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.annotation(REGION_ANNOTATION)
    }

    /// An annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// Takes out of a Secret's labels or annotations what the operator has nothing to do with, so that a Secret costs no more memory than the
/// operator needs for it, whatever others write on it.
fn trim(map: &mut Option<BTreeMap<String, String>>, keep: impl Fn(&str) -> bool) {
    let Some(map) = map else {
        return;
    };
    let mut size = 0;
    map.retain(|key, value| match key.starts_with("pincette.net/") {
        true => value.len() <= OWN_MAX || (key == TEMPLATE_ANNOTATION && value.len() <= TEMPLATE_MAX),
        false if keep(key) => {
            size += key.len() + value.len();
            size <= TEMPLATE_MAX
        }
        false => false,
    });
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
            !secret(json!([])).is_intact(&Format::File),
            "somebody wiped out who wrote what"
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
    fn what_others_wrote_on_it_is_not_kept() {
        let metadata = json!({
            "name": "s",
            "labels": {"aws-assume-role": "true", "from-template": "1", "theirs": "x".repeat(60)},
            "annotations": {
                "example.com/theirs": "x".repeat(200_000),
                "theirs": "x".repeat(200_000),
                "from-template": "2",
                "pincette.net/expiration": "then",
                "pincette.net/secret-template": r#"{"labels": ["from-template"], "annotations": ["from-template"]}"#,
            },
            "finalizers": ["theirs"],
        });
        let seen = ObservedSecret::new(serde_json::from_value(metadata).unwrap());
        let labels: Vec<_> = seen.metadata.labels.unwrap().into_keys().collect();
        assert_eq!(labels, ["aws-assume-role", "from-template"]);
        let annotations: Vec<_> = seen.metadata.annotations.unwrap().into_keys().collect();
        assert_eq!(
            annotations,
            [
                "from-template",
                "pincette.net/expiration",
                "pincette.net/secret-template"
            ]
        );
        assert_eq!(seen.metadata.finalizers, None);
        let huge = json!({"name": "s", "annotations": {"pincette.net/refresh": "x".repeat(100_000)}});
        let huge = ObservedSecret::new(serde_json::from_value(huge).unwrap());
        assert_eq!(huge.metadata.annotations, Some(BTreeMap::new()));
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
