//! What puts a Secret right without new credentials.

use std::collections::{BTreeMap, BTreeSet};

use super::{ObservedSecret, SecretMetadata};
use crate::spec::{ResourceKey, Spec};

/// What puts a Secret right whose credentials are good: its labels, its annotations, and the keys that others added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// What is to be written on it.
    pub metadata: SecretMetadata,
    /// What is to be taken off it.
    pub gone: SecretMetadata,
    /// The keys to take out of its content.
    pub foreign_keys: BTreeSet<String>,
}

impl Repair {
    /// What puts a Secret right.
    #[must_use]
    pub fn new(owner: &ResourceKey, spec: &Spec, secret: &ObservedSecret) -> Self {
        let metadata = SecretMetadata::of(spec);
        Self {
            namespace: owner.namespace.to_string(),
            name: spec.secret_name.clone(),
            gone: metadata.gone_from(secret),
            metadata,
            foreign_keys: secret.foreign_keys(&spec.format),
        }
    }

    /// As a merge patch that holds only on the Secret as it was seen.
    #[must_use]
    pub fn patch(&self, over: &ObservedSecret) -> serde_json::Value {
        let mut patch = serde_json::json!({"metadata": self.metadata.patch(&self.gone, over)});
        if !self.foreign_keys.is_empty() {
            let nulls: BTreeMap<&String, Option<String>> = self.foreign_keys.iter().map(|key| (key, None)).collect();
            patch["data"] = serde_json::json!(nulls);
        }
        patch
    }
}
