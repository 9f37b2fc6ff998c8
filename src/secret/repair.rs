//! What is done to a Secret without new credentials: what puts it right, and what takes the credentials out of it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;

use super::{EXPIRATION_ANNOTATION, ObservedSecret, SPEC_HASH_ANNOTATION, SecretMetadata, docker_config};
use crate::spec::{ResourceKey, Spec};

/// What puts a Secret right whose credentials are good: its labels, its annotations, and the keys that others added. Or what takes them out of
/// it ([`Self::emptying`]).
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
    /// The keys whose values go, with what comes in their place.
    pub emptied: BTreeMap<String, &'static str>,
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
            emptied: BTreeMap::new(),
        }
    }

    /// What takes the credentials out of a Secret, whoever wrote them there, and what it says of them. Its keys stay, so that a pod that mounts
    /// it still starts.
    #[must_use]
    pub fn emptying(spec: &Spec, secret: &ObservedSecret) -> Self {
        let mut keys = secret.keys_beside(|_| false);
        if keys.is_empty() {
            keys.extend(spec.format.keys().into_iter().map(str::to_owned));
        }
        let gone = [EXPIRATION_ANNOTATION, SPEC_HASH_ANNOTATION];
        Self {
            namespace: secret.namespace().to_owned(),
            name: secret.name().to_owned(),
            metadata: SecretMetadata::default(),
            gone: SecretMetadata {
                annotations: gone.map(|key| (key.to_owned(), String::new())).into(),
                ..SecretMetadata::default()
            },
            foreign_keys: BTreeSet::new(),
            emptied: keys.into_iter().map(emptied).collect(),
        }
    }

    /// As a merge patch that holds only on the Secret as it was seen.
    #[must_use]
    pub fn patch(&self, over: &ObservedSecret) -> serde_json::Value {
        let mut patch = serde_json::json!({"metadata": self.metadata.patch(&self.gone, over)});
        let gone = self.foreign_keys.iter().map(|key| (key, None));
        let emptied = self.emptied.iter();
        let emptied = emptied.map(|(key, value)| (key, Some(ByteString(value.as_bytes().to_vec()))));
        let data: BTreeMap<_, _> = gone.chain(emptied).collect();
        if !data.is_empty() {
            patch["data"] = serde_json::json!(data);
        }
        patch
    }
}

/// A key with what it holds when it holds nothing. A Secret of type `kubernetes.io/dockerconfigjson` must hold JSON.
fn emptied(key: String) -> (String, &'static str) {
    let value = match key == docker_config::KEY {
        true => docker_config::EMPTY,
        false => "",
    };
    (key, value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::spec::Format;
    use crate::spec::fixtures::spec;

    #[test]
    fn an_emptied_secret_keeps_its_keys_and_says_nothing_of_credentials() {
        let fields = json!({"f:data": {".": {}, "f:credentials": {}, "f:.dockerconfigjson": {}}, "f:type": {}});
        let ours = json!([{"manager": "aws-assume-role", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
        let metadata =
            json!({"name": "s", "namespace": "team", "uid": "u", "resourceVersion": "7", "managedFields": ours});
        let secret = ObservedSecret::new(serde_json::from_value(metadata).unwrap());
        let patch = Repair::emptying(&spec(Format::Map), &secret).patch(&secret);
        assert_eq!(
            patch["data"],
            json!({"credentials": "", ".dockerconfigjson": "eyJhdXRocyI6e319"})
        );
        let annotations = json!({"pincette.net/expiration": null, "pincette.net/spec-hash": null});
        assert_eq!(patch["metadata"]["annotations"], annotations);
        assert_eq!(
            (&patch["metadata"]["resourceVersion"], &patch["metadata"]["uid"]),
            (&json!("7"), &json!("u"))
        );
        // Of one that was wiped of its managed fields only the form is known.
        let wiped = ObservedSecret::default();
        let patch = Repair::emptying(&spec(Format::Map), &wiped).patch(&wiped);
        assert_eq!(
            patch["data"],
            json!({"awsAccessKeyId": "", "awsSecretAccessKey": "", "awsSessionToken": ""})
        );
    }
}
