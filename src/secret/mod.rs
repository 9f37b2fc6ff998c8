//! The wanted Secret: its content in each form, its metadata, whose it is. Pure: nothing here talks to anybody.

mod credential_process;
mod docker_config;
mod file;
mod map;
pub mod observed;
pub mod ownership;
pub mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use crate::credentials::{Credentials, RegistryLogin, SecretString};
use crate::resource::AWSAssumeRole;
use crate::wanted::{Format, ResourceKey, Wanted};
pub use observed::{ObservedSecret, Provenance};
pub use template::{Facts, TemplateError};

/// Who wrote it, in Kubernetes' recommended label.
pub const MANAGED_BY_LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "aws-assume-role");

/// The label that the first of the predecessors put on its Secrets.
pub const OPERATOR_LABEL: (&str, &str) = ("aws-assume-role", "true");

/// When the credentials in a Secret end, RFC 3339 in UTC.
pub const EXPIRATION_ANNOTATION: &str = "pincette.net/expiration";

/// Hash of what the credentials in a Secret depend on.
pub const SPEC_HASH_ANNOTATION: &str = "pincette.net/spec-hash";

/// The value of the resource's `pincette.net/refresh` that the credentials in a Secret answer, if they answer one.
pub const REFRESH_ANNOTATION: &str = crate::wanted::REFRESH_ANNOTATION;

/// The labels and annotations that a Secret has from `secretTemplate`, so that those which leave the spec can leave the Secret.
pub const TEMPLATE_ANNOTATION: &str = "pincette.net/secret-template";

/// The keys of a Secret with their values, which cannot be printed.
pub struct SecretData(pub BTreeMap<String, SecretString>);

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A Secret as it is to be.
#[derive(Debug)]
pub struct WantedSecret {
    /// The resource that controls it.
    pub owner: ResourceKey,
    /// Its name, in the owner's namespace.
    pub name: String,
    /// Its `type`.
    pub type_: &'static str,
    /// Its content.
    pub data: SecretData,
    /// What is written on it.
    pub envelope: Envelope,
}

/// The labels and annotations of a Secret, of which the operator is the owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// What AWS gave for one Secret.
#[derive(Debug)]
pub enum Material {
    /// Credentials to write down.
    Session(Credentials),
    /// A login to write down; the credentials that got it are not kept.
    Login(RegistryLogin),
}

/// Why there is no Secret to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The form does not fit what was asked from AWS. A mistake in the operator, never in a resource.
    #[error("the material from AWS does not fit the Secret's form")]
    Mismatch,
    /// A template fails.
    #[error("spec.template.data: {0}")]
    Template(#[from] TemplateError),
}

impl WantedSecret {
    /// The Secret that a spec asks for, filled with what AWS gave, in answer to a request for a refresh if there was one.
    ///
    /// # Errors
    /// [`RenderError`] when the content cannot be made.
    pub fn new(
        owner: &ResourceKey,
        wanted: &Wanted,
        material: &Material,
        facts: Facts<'_>,
        refresh_request: Option<&str>,
    ) -> Result<Self, RenderError> {
        let (type_, data) = match (&wanted.format, material) {
            (Format::Map, Material::Session(credentials)) => (map::TYPE, map::render(credentials)),
            (Format::File, Material::Session(credentials)) => (file::TYPE, file::render(credentials)),
            (Format::CredentialProcess, Material::Session(credentials)) => (
                credential_process::TYPE,
                credential_process::render(credentials, facts.expiration),
            ),
            (Format::Template(templates), Material::Session(credentials)) => {
                (template::TYPE, template::render(templates, credentials, facts)?)
            }
            (Format::EcrDockerConfigJson(repository), Material::Login(login)) => {
                (docker_config::TYPE, docker_config::render(&repository.url, login))
            }
            _ => return Err(RenderError::Mismatch),
        };
        let mut envelope = Envelope::of(wanted);
        let request = refresh_request.map(|request| (REFRESH_ANNOTATION, request.to_owned()));
        let told = [
            (EXPIRATION_ANNOTATION, facts.expiration.to_string()),
            (SPEC_HASH_ANNOTATION, wanted.spec_hash.clone()),
        ];
        for (key, value) in told.into_iter().chain(request) {
            envelope.annotations.insert(key.to_owned(), value);
        }
        Ok(Self {
            owner: owner.clone(),
            name: wanted.secret_name.clone(),
            type_,
            data,
            envelope,
        })
    }

    /// Its metadata, over that of the Secret that it replaces. What others put there stays: labels and annotations with other
    /// keys, finalizers, further owners.
    #[must_use]
    pub fn metadata(&self, over: Option<&ObservedSecret>) -> ObjectMeta {
        let existing = over.map(|observed| observed.metadata.clone()).unwrap_or_default();
        let gone = over
            .map(|observed| self.envelope.gone_from(observed))
            .unwrap_or_default();
        let mut labels = existing.labels.unwrap_or_default();
        labels.retain(|key, _| !gone.labels.contains_key(key));
        labels.extend(self.envelope.labels.clone());
        let mut annotations = existing.annotations.unwrap_or_default();
        annotations.retain(|key, _| !gone.annotations.contains_key(key));
        annotations.extend(self.envelope.annotations.clone());
        let mut owner_references = existing.owner_references.unwrap_or_default();
        owner_references.retain(|reference| reference.uid != self.owner.uid);
        owner_references.push(owner_reference(&self.owner));
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.owner.namespace.clone()),
            resource_version: existing.resource_version,
            uid: existing.uid,
            finalizers: existing.finalizers,
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(owner_references),
            ..ObjectMeta::default()
        }
    }
}

impl Envelope {
    /// What a spec asks to be written on its Secret, apart from what depends on the credentials. The operator's own labels win.
    #[must_use]
    pub fn of(wanted: &Wanted) -> Self {
        let mut labels = wanted.labels.clone();
        for (key, value) in [MANAGED_BY_LABEL, OPERATOR_LABEL] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        let mut annotations = wanted.annotations.clone();
        if !wanted.labels.is_empty() || !wanted.annotations.is_empty() {
            let keys = serde_json::json!({
                "labels": wanted.labels.keys().collect::<Vec<_>>(),
                "annotations": wanted.annotations.keys().collect::<Vec<_>>(),
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

/// What puts a Secret right whose credentials are good: its labels, its annotations, and the keys that others added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// What is to be written on it.
    pub envelope: Envelope,
    /// What is to be taken off it.
    pub gone: Envelope,
    /// The keys to take out of its content.
    pub foreign_keys: BTreeSet<String>,
}

impl Repair {
    /// What puts a Secret right.
    #[must_use]
    pub fn new(owner: &ResourceKey, wanted: &Wanted, secret: &ObservedSecret) -> Self {
        let envelope = Envelope::of(wanted);
        Self {
            namespace: owner.namespace.clone(),
            name: wanted.secret_name.clone(),
            gone: envelope.gone_from(secret),
            envelope,
            foreign_keys: secret.foreign_keys(&wanted.format),
        }
    }

    /// As a merge patch that holds only on the Secret as it was seen.
    #[must_use]
    pub fn patch(&self, over: &ObservedSecret) -> serde_json::Value {
        let merged = |put: &BTreeMap<String, String>, gone: &BTreeMap<String, String>| {
            let put = put.iter().map(|(key, value)| (key.clone(), Some(value.clone())));
            put.chain(gone.keys().map(|key| (key.clone(), None)))
                .collect::<BTreeMap<_, _>>()
        };
        let mut patch = serde_json::json!({"metadata": {
            "uid": over.metadata.uid,
            "resourceVersion": over.metadata.resource_version,
            "labels": merged(&self.envelope.labels, &self.gone.labels),
            "annotations": merged(&self.envelope.annotations, &self.gone.annotations),
        }});
        if !self.foreign_keys.is_empty() {
            let nulls: BTreeMap<&String, Option<String>> = self.foreign_keys.iter().map(|key| (key, None)).collect();
            patch["data"] = serde_json::json!(nulls);
        }
        patch
    }
}

impl Format {
    /// The keys of a Secret in this form.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        match self {
            Self::Map => vec!["awsAccessKeyId", "awsSecretAccessKey", "awsSessionToken"],
            Self::File => vec!["credentials"],
            Self::EcrDockerConfigJson(_) => vec![".dockerconfigjson"],
            Self::CredentialProcess => vec!["config", "credentials.json"],
            Self::Template(templates) => templates.keys().map(String::as_str).collect(),
        }
    }
}

/// The controlling reference. It does not block the owner's deletion: that would need a right on the owner's finalizers.
fn owner_reference(owner: &ResourceKey) -> OwnerReference {
    OwnerReference {
        api_version: AWSAssumeRole::api_version(&()).into_owned(),
        kind: AWSAssumeRole::kind(&()).into_owned(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

#[cfg(test)]
mod tests;
