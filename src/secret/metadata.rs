//! The labels and annotations of a Secret that are the operator's.

use std::collections::BTreeMap;

use super::{MANAGED_BY_LABEL, OPERATOR_LABEL, ObservedSecret, TEMPLATE_ANNOTATION};
use crate::spec::Spec;

/// The labels and annotations of a Secret, of which the operator is the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretMetadata {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl SecretMetadata {
    /// What a spec asks to be written on its Secret, apart from what depends on the credentials. The operator's own labels win.
    #[must_use]
    pub fn of(spec: &Spec) -> Self {
        let mut labels = spec.labels.clone();
        for (key, value) in [MANAGED_BY_LABEL, OPERATOR_LABEL] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        let mut annotations = spec.annotations.clone();
        if !spec.labels.is_empty() || !spec.annotations.is_empty() {
            let keys = serde_json::json!({
                "labels": spec.labels.keys().collect::<Vec<_>>(),
                "annotations": spec.annotations.keys().collect::<Vec<_>>(),
            });
            annotations.insert(TEMPLATE_ANNOTATION.to_owned(), keys.to_string());
        }
        Self { labels, annotations }
    }

    /// What an earlier spec had written on a Secret and this one does not.
    #[must_use]
    pub fn gone_from(&self, secret: &ObservedSecret) -> Self {
        let Some(keys) = secret.annotation(TEMPLATE_ANNOTATION) else {
            return Self::default();
        };
        let written: serde_json::Value = serde_json::from_str(keys).unwrap_or_default();
        let gone = |kind: &str, kept: &BTreeMap<String, String>| {
            let keys = written[kind].as_array().cloned().unwrap_or_default();
            keys.iter()
                .filter_map(|key| key.as_str())
                .filter(|key| !kept.contains_key(*key) && !key.starts_with("pincette.net/"))
                .map(|key| (key.to_owned(), String::new()))
                .collect()
        };
        let mut annotations: BTreeMap<String, String> = gone("annotations", &self.annotations);
        if !self.annotations.contains_key(TEMPLATE_ANNOTATION) {
            annotations.insert(TEMPLATE_ANNOTATION.to_owned(), String::new());
        }
        Self {
            labels: gone("labels", &self.labels),
            annotations,
        }
    }

    /// Whether it is on a Secret as it is to be, with nothing left of an earlier one.
    #[must_use]
    pub fn is_on(&self, secret: &ObservedSecret) -> bool {
        let has = |on: Option<&BTreeMap<String, String>>, wanted: &BTreeMap<String, String>| {
            wanted
                .iter()
                .all(|(key, value)| on.is_some_and(|on| on.get(key) == Some(value)))
        };
        has(secret.metadata.labels.as_ref(), &self.labels)
            && has(secret.metadata.annotations.as_ref(), &self.annotations)
            && self.gone_from(secret) == Self::default()
    }
}
