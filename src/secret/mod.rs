//! The wanted Secret: its content in each form, its metadata, whose it is. Pure: nothing here talks to anybody.

mod docker_config;
mod file;
mod map;
pub mod ownership;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use crate::credentials::{Credentials, RegistryLogin, SecretString};
use crate::resource::AWSAssumeRole;
use crate::wanted::{Format, ResourceKey, Wanted};

/// Who wrote it, in Kubernetes' recommended label.
pub const MANAGED_BY_LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "aws-assume-role");

/// The label that the first of the predecessors put on its Secrets.
pub const OPERATOR_LABEL: (&str, &str) = ("aws-assume-role", "true");

/// When the credentials in a Secret end, RFC 3339 in UTC.
pub const EXPIRATION_ANNOTATION: &str = "pincette.net/expiration";

/// Hash of what the credentials in a Secret depend on.
pub const SPEC_HASH_ANNOTATION: &str = "pincette.net/spec-hash";

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
    /// The annotations that the operator owns.
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

/// A form that does not fit what was asked from AWS. A mistake in the operator, never in a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the material from AWS does not fit the Secret's form")]
pub struct Mismatch;

impl WantedSecret {
    /// The Secret that a spec asks for, filled with what AWS gave.
    ///
    /// # Errors
    /// [`Mismatch`] when the material is not what the form is made of.
    pub fn new(
        owner: &ResourceKey,
        wanted: &Wanted,
        material: &Material,
        expiration: Timestamp,
    ) -> Result<Self, Mismatch> {
        let (type_, data) = match (&wanted.format, material) {
            (Format::Map, Material::Session(credentials)) => (map::TYPE, map::render(credentials)),
            (Format::File, Material::Session(credentials)) => (file::TYPE, file::render(credentials)),
            (Format::EcrDockerConfigJson(repository), Material::Login(login)) => {
                (docker_config::TYPE, docker_config::render(&repository.url, login))
            }
            _ => return Err(Mismatch),
        };
        Ok(Self {
            owner: owner.clone(),
            name: wanted.secret_name.clone(),
            type_,
            data,
            annotations: BTreeMap::from([
                (EXPIRATION_ANNOTATION.to_owned(), expiration.to_string()),
                (SPEC_HASH_ANNOTATION.to_owned(), wanted.spec_hash.clone()),
            ]),
        })
    }

    /// Its metadata, over that of the Secret that it replaces. What others put there stays: labels and annotations with other
    /// keys, finalizers, further owners.
    #[must_use]
    pub fn metadata(&self, over: Option<&ObservedSecret>) -> ObjectMeta {
        let existing = over.map(|observed| observed.metadata.clone()).unwrap_or_default();
        let mut labels = existing.labels.unwrap_or_default();
        for (key, value) in [MANAGED_BY_LABEL, OPERATOR_LABEL] {
            labels.insert(key.to_owned(), value.to_owned());
        }
        let mut annotations = existing.annotations.unwrap_or_default();
        annotations.extend(self.annotations.clone());
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

/// A Secret as it was seen in the cluster, without its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObservedSecret {
    /// Its metadata, without the managed fields.
    pub metadata: ObjectMeta,
}

impl ObservedSecret {
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

    fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
