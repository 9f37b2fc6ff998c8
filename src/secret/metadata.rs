//! The labels and annotations of a Secret that are the operator's.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{MANAGED_BY_LABEL, OPERATOR_LABEL, OWN_LABELS, ObservedSecret, TEMPLATE_ANNOTATION};
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
        if secret.annotation(TEMPLATE_ANNOTATION).is_none() {
            return Self::default();
        }
        let written = written_keys(secret.metadata.annotations.as_ref());
        let gone = |written: BTreeSet<String>, kept: &BTreeMap<String, String>| {
            let gone = written.into_iter().filter(|key| !kept.contains_key(key));
            gone.map(|key| (key, String::new())).collect()
        };
        let mut annotations: BTreeMap<String, String> = gone(written.annotations, &self.annotations);
        if !self.annotations.contains_key(TEMPLATE_ANNOTATION) {
            annotations.insert(TEMPLATE_ANNOTATION.to_owned(), String::new());
        }
        Self {
            labels: gone(written.labels, &self.labels),
            annotations,
        }
    }

    /// As the metadata of a merge patch, together with what is to be taken off. It holds only on the Secret as it was seen.
    #[must_use]
    pub(super) fn patch(&self, gone: &Self, over: &ObservedSecret) -> serde_json::Value {
        let merged = |put: &BTreeMap<String, String>, gone: &BTreeMap<String, String>| {
            let put = put.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
            put.chain(gone.keys().map(|key| (key.clone(), None)))
                .collect::<BTreeMap<_, _>>()
        };
        serde_json::json!({
            "uid": over.metadata.uid,
            "resourceVersion": over.metadata.resource_version,
            "labels": merged(&self.labels, &gone.labels),
            "annotations": merged(&self.annotations, &gone.annotations),
        })
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

/// The keys that an earlier write put on a Secret from `secretTemplate`, as [`TEMPLATE_ANNOTATION`] lists them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WrittenKeys {
    pub(super) labels: BTreeSet<String>,
    pub(super) annotations: BTreeSet<String>,
}

/// The longest list of keys that is read. The longest that the operator writes has 128 keys.
const WRITTEN_KEYS_MAX: usize = 64 * 1024;

/// Reads the list of keys. The operator's own are never among them, whatever somebody wrote there.
pub(super) fn written_keys(annotations: Option<&BTreeMap<String, String>>) -> WrittenKeys {
    let list = annotations.and_then(|annotations| annotations.get(TEMPLATE_ANNOTATION));
    let list = list.filter(|list| list.len() <= WRITTEN_KEYS_MAX);
    let mut keys: WrittenKeys = list
        .and_then(|list| serde_json::from_str(list).ok())
        .unwrap_or_default();
    let foreign = |key: &String| !key.starts_with("pincette.net/") && !OWN_LABELS.contains(&key.as_str());
    keys.labels.retain(foreign);
    keys.annotations.retain(foreign);
    keys
}
