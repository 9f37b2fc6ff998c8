//! A Secret as it is to be, filled with what AWS gave.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use serde_json::{Value, json};

use super::{
    EXPIRATION_ANNOTATION, ObservedSecret, REFRESH_ANNOTATION, REGION_ANNOTATION, SPEC_HASH_ANNOTATION, SecretData,
    SecretMetadata, credential_process, docker_config, file, map, template,
};
use crate::api::AWSAssumeRole;
use crate::credentials::{Credentials, RegistryLogin};
use crate::spec::ecr::EcrRepositoryUrl;
use crate::spec::template::{TemplateError, Variables};
use crate::spec::{Format, ResourceKey, Spec};

/// A Secret as it is to be.
#[derive(Debug)]
pub struct DesiredSecret {
    /// The resource that controls it.
    pub owner: ResourceKey,
    /// Its name, in the owner's namespace.
    pub name: String,
    /// Its `type`.
    pub type_: &'static str,
    /// Its content.
    pub data: SecretData,
    /// What is written on it.
    pub metadata: SecretMetadata,
}

/// What AWS gave for one Secret.
#[derive(Debug)]
pub struct Material {
    /// The credentials to write down. Where only logins are written, those that got them are not kept.
    session: Option<Credentials>,
    /// The logins to write down, by the Region of their registries.
    logins: BTreeMap<String, RegistryLogin>,
}

impl Material {
    /// What is to be kept of a session and of the logins that it got, by Region, for a Secret in that form.
    #[must_use]
    pub fn new(format: &Format, session: Credentials, logins: BTreeMap<String, RegistryLogin>) -> Self {
        Self {
            session: (!matches!(format, Format::EcrDockerConfigJson(_))).then_some(session),
            logins,
        }
    }

    fn session(&self) -> Result<&Credentials, RenderError> {
        self.session.as_ref().ok_or(RenderError::Mismatch)
    }

    fn login(&self, registry: &EcrRepositoryUrl) -> Result<&RegistryLogin, RenderError> {
        self.logins.get(&registry.region).ok_or(RenderError::Mismatch)
    }
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

impl DesiredSecret {
    /// The Secret that a spec asks for, filled with what AWS gave, in answer to a request for a refresh if there was one.
    ///
    /// # Errors
    /// [`RenderError`] when the content cannot be made.
    pub fn new(
        owner: &ResourceKey,
        spec: &Spec,
        material: &Material,
        variables: Variables<'_>,
        refresh_request: Option<&str>,
    ) -> Result<Self, RenderError> {
        let (type_, data) = match &spec.format {
            Format::Map => (map::TYPE, map::render(material.session()?)),
            Format::File => (file::TYPE, file::render(material.session()?)),
            Format::CredentialProcess => (
                credential_process::TYPE,
                credential_process::render(material.session()?, variables.expiration),
            ),
            Format::Template(template) => {
                let login = template.registry.as_ref().map(|registry| material.login(registry));
                let (session, login) = (material.session()?, login.transpose()?);
                (
                    template.type_.as_str(),
                    template::render(template, session, login, variables)?,
                )
            }
            Format::EcrDockerConfigJson(urls) => {
                let logins = urls.iter().map(|url| Ok((url, material.login(url)?)));
                let logins = logins.collect::<Result<Vec<_>, RenderError>>()?;
                (docker_config::TYPE, docker_config::render(&logins))
            }
        };
        let mut metadata = SecretMetadata::of(spec);
        let request = refresh_request.map(|request| (REFRESH_ANNOTATION, request.to_owned()));
        let region = spec
            .shows_own_region()
            .then(|| (REGION_ANNOTATION, variables.region.to_owned()));
        let annotations = [
            (EXPIRATION_ANNOTATION, variables.expiration.to_string()),
            (SPEC_HASH_ANNOTATION, spec.spec_hash.clone()),
        ];
        for (key, value) in annotations.into_iter().chain(request).chain(region) {
            metadata.annotations.insert(key.to_owned(), value);
        }
        Ok(Self {
            owner: owner.clone(),
            name: spec.secret_name.clone(),
            type_,
            data,
            metadata,
        })
    }

    /// What a merge patch changes in the metadata of the Secret that is replaced. It holds only on the Secret as it was seen, and leaves alone
    /// what others put there: labels and annotations with other keys, finalizers, further owners.
    #[must_use]
    pub fn metadata_patch(&self, over: &ObservedSecret) -> Value {
        let mut patch = self.metadata.patch(&self.metadata.gone_from(over), over);
        let merged = self.object_metadata(Some(over)).owner_references;
        if merged != over.metadata.owner_references {
            patch["ownerReferences"] = json!(merged);
        }
        patch
    }

    /// The keys that are to go from the content of the Secret that is replaced.
    #[must_use]
    pub fn gone_keys(&self, over: &ObservedSecret) -> BTreeSet<String> {
        over.keys_beside(|key| self.data.0.contains_key(key))
    }

    /// Its metadata, over that of the Secret that it replaces as far as that is known.
    #[must_use]
    pub fn object_metadata(&self, over: Option<&ObservedSecret>) -> ObjectMeta {
        let existing = over.map(|observed| observed.metadata.clone()).unwrap_or_default();
        let gone = over
            .map(|observed| self.metadata.gone_from(observed))
            .unwrap_or_default();
        let mut labels = existing.labels.unwrap_or_default();
        labels.retain(|key, _| !gone.labels.contains_key(key));
        labels.extend(self.metadata.labels.clone());
        let mut annotations = existing.annotations.unwrap_or_default();
        annotations.retain(|key, _| !gone.annotations.contains_key(key));
        annotations.extend(self.metadata.annotations.clone());
        let mut owner_references = existing.owner_references.unwrap_or_default();
        let ours = owner_reference(&self.owner);
        match owner_references
            .iter_mut()
            .find(|reference| *reference.uid == *self.owner.uid)
        {
            Some(reference) => *reference = ours,
            None => owner_references.push(ours),
        }
        ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.owner.namespace.to_string()),
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
pub(super) fn owner_reference(owner: &ResourceKey) -> OwnerReference {
    OwnerReference {
        api_version: AWSAssumeRole::api_version(&()).into_owned(),
        kind: AWSAssumeRole::kind(&()).into_owned(),
        name: owner.name.to_string(),
        uid: owner.uid.to_string(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}
