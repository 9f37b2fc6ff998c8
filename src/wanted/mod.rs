//! A resource narrowed at the door to what the operator acts on. Behind it nobody sees the raw one.

mod session;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kube::{Resource, ResourceExt};
use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::aws::registry::{EcrRepository, NotAnEcrRepository};
use crate::aws::role::{RoleReference, hex};
use crate::resource::{AWSAssumeRole, AWSAssumeRoleSpec, AWSAssumeRoleStatus, SecretType, SessionSpec};
use crate::secret::template;
pub use session::{InvalidSession, SessionRequest};

/// `durationSeconds` where none is given: the shortest that AWS allows.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const DEFAULT_DURATION: i32 = 900;

/// What the API allows for `durationSeconds`, in seconds.
const DURATION_RANGE: std::ops::RangeInclusive<i32> = 900..=43_200;

/// The least `refreshBeforeSeconds`, in seconds.
const REFRESH_BEFORE_MIN: i32 = 60;

/// The annotation that asks for a refresh: a value not seen before causes one.
pub const REFRESH_ANNOTATION: &str = "pincette.net/refresh";

/// A resource as it was watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// Which one.
    pub key: ResourceKey,
    /// `metadata.generation`, which counts the changes of the spec.
    pub generation: i64,
    /// What it asks for, or why that cannot be read.
    pub wanted: Result<Wanted, InvalidSpec>,
    /// The value of [`REFRESH_ANNOTATION`].
    pub refresh_request: Option<String>,
    /// The status that was stored with it.
    pub status: AWSAssumeRoleStatus,
    /// Whether it is on its way out (`metadata.deletionTimestamp`).
    pub deleted: bool,
}

/// A resource's name, and the identity that a resource of the same name made later does not have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The role.
    pub role: RoleReference,
    /// What the session is to be beyond its role.
    pub session: SessionRequest,
    /// Region of the STS endpoint, where the spec names one.
    pub region: Option<String>,
    /// How long a session lasts.
    pub duration: Duration,
    /// How long before its end it is replaced, where the spec says so.
    pub refresh_before: Option<Duration>,
    /// The Secret's name.
    pub secret_name: String,
    /// The form of the Secret's content.
    pub format: Format,
    /// Labels to put on the Secret.
    pub labels: BTreeMap<String, String>,
    /// Annotations to put on the Secret.
    pub annotations: BTreeMap<String, String>,
    /// Whether the Secret is to be left as it is.
    pub suspend: bool,
    /// Hash of everything above that the credentials depend on.
    pub spec_hash: String,
}

/// The form of a Secret's content, with what each form needs.
#[derive(Clone, Debug, PartialEq, Eq, strum::AsRefStr)]
pub enum Format {
    /// A key for each part.
    Map,
    /// A shared credentials file.
    File,
    /// A registry login.
    EcrDockerConfigJson(EcrRepository),
    /// A configuration that prints the credentials.
    CredentialProcess,
    /// Templates, by the key that each is rendered to.
    Template(BTreeMap<String, String>),
}

/// A spec that the operator cannot act on. The schema refuses all of these at `kubectl apply`; a resource that was stored under an
/// older schema may still hold one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidSpec {
    /// The object does not have the fields of an `AWSAssumeRole`.
    #[error("the resource cannot be read: {0}")]
    Unreadable(String),
    /// None or both.
    #[error("give exactly one of spec.roleName and spec.roleArn")]
    Role,
    /// No URL with `EcrDockerConfigJson`.
    #[error(
        "secretType EcrDockerConfigJson needs spec.ecrRepositoryUrl: https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>"
    )]
    NoEcrRepositoryUrl,
    /// A URL that is none.
    #[error("spec.ecrRepositoryUrl: {0}")]
    EcrRepositoryUrl(#[from] NotAnEcrRepository),
    /// Out of range.
    #[error("spec.durationSeconds is {0}: give 900 to 43200")]
    Duration(i32),
    /// Out of range.
    #[error("spec.refreshBeforeSeconds is {0}: give at least 60 and less than durationSeconds ({1})")]
    RefreshBefore(i32, i32),
    /// The session cannot be asked for so.
    #[error("spec.session.{0}")]
    Session(#[from] InvalidSession),
    /// No templates with `Template`.
    #[error("secretType Template needs spec.template.data: the Secret's keys, each with a Jinja template")]
    NoTemplate,
    /// A template that cannot be rendered.
    #[error("spec.template.data: {0}")]
    Template(#[from] template::TemplateError),
    /// A label or annotation that is the operator's own.
    #[error("spec.secretTemplate: {0} is the operator's own key: use another prefix than pincette.net/")]
    OwnKey(String),
}

impl Watched {
    /// Narrows a resource.
    #[must_use]
    pub fn from_resource(resource: &AWSAssumeRole) -> Self {
        let key = ResourceKey::of(resource);
        Self {
            wanted: Wanted::from_spec(&key, &resource.spec),
            generation: resource.metadata.generation.unwrap_or_default(),
            refresh_request: resource.annotations().get(REFRESH_ANNOTATION).cloned(),
            status: resource.status.clone().unwrap_or_default(),
            deleted: resource.metadata.deletion_timestamp.is_some(),
            key,
        }
    }

    /// What is left of an object that could not be read as an `AWSAssumeRole`.
    #[must_use]
    pub fn unreadable(object: &impl Resource, error: String) -> Self {
        Self {
            key: ResourceKey::of(object),
            generation: object.meta().generation.unwrap_or_default(),
            wanted: Err(InvalidSpec::Unreadable(error)),
            refresh_request: None,
            status: AWSAssumeRoleStatus::default(),
            deleted: object.meta().deletion_timestamp.is_some(),
        }
    }
}

impl ResourceKey {
    /// The key of an object. The API server gives every stored object a namespace and a UID.
    #[must_use]
    pub fn of(object: &impl Resource) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            uid: object.uid().unwrap_or_default(),
        }
    }
}

impl Wanted {
    /// Reads a spec.
    ///
    /// # Errors
    /// [`InvalidSpec`] says what to write instead.
    pub fn from_spec(key: &ResourceKey, spec: &AWSAssumeRoleSpec) -> Result<Self, InvalidSpec> {
        let role = match (&spec.role_name, &spec.role_arn) {
            (Some(name), None) => RoleReference::Name(name.clone()),
            (None, Some(arn)) => RoleReference::Arn(arn.clone()),
            _ => return Err(InvalidSpec::Role),
        };
        let duration = spec.duration_seconds.unwrap_or(DEFAULT_DURATION);
        if !DURATION_RANGE.contains(&duration) {
            return Err(InvalidSpec::Duration(duration));
        }
        if let Some(before) = spec.refresh_before_seconds
            && !(REFRESH_BEFORE_MIN..duration).contains(&before)
        {
            return Err(InvalidSpec::RefreshBefore(before, duration));
        }
        // A URL beside another type was ignored by the predecessors, and stored resources may have one.
        let format = match spec.secret_type {
            SecretType::Map => Format::Map,
            SecretType::File => Format::File,
            SecretType::EcrDockerConfigJson => Format::EcrDockerConfigJson(
                spec.ecr_repository_url
                    .as_deref()
                    .ok_or(InvalidSpec::NoEcrRepositoryUrl)?
                    .parse()?,
            ),
            SecretType::CredentialProcess => Format::CredentialProcess,
            SecretType::Template => {
                let templates = spec.template.as_ref().ok_or(InvalidSpec::NoTemplate)?;
                template::check(&templates.data)?;
                Format::Template(templates.data.clone())
            }
        };
        let secret_template = spec.secret_template.clone().unwrap_or_default();
        let keys = secret_template.labels.keys().chain(secret_template.annotations.keys());
        if let Some(own) = keys.into_iter().find(|key| key.starts_with(OWN_PREFIX)) {
            return Err(InvalidSpec::OwnKey(own.clone()));
        }
        let session = SessionRequest::from_spec(key, spec.session.as_ref(), &format)?;
        Ok(Self {
            spec_hash: spec_hash(&Dependencies {
                role_name: spec.role_name.as_deref(),
                role_arn: spec.role_arn.as_deref(),
                secret_type: spec.secret_type,
                ecr_repository_url: match &format {
                    Format::EcrDockerConfigJson(repository) => Some(&repository.url),
                    _ => None,
                },
                duration_seconds: duration,
                session_name: &session.name,
                region: spec.region.as_deref(),
                session: spec
                    .session
                    .as_ref()
                    .map(without_name)
                    .filter(|rest| *rest != SessionSpec::default()),
                template: match &format {
                    Format::Template(templates) => Some(templates),
                    _ => None,
                },
            }),
            role,
            session,
            region: spec.region.clone(),
            duration: seconds(duration),
            refresh_before: spec.refresh_before_seconds.map(seconds),
            secret_name: spec.secret_name.clone(),
            format,
            labels: secret_template.labels,
            annotations: secret_template.annotations,
            suspend: spec.suspend.unwrap_or_default(),
        })
    }
}

/// The prefix of the labels and annotations that are the operator's own.
const OWN_PREFIX: &str = "pincette.net/";

/// The session without its name, which is hashed as it turned out.
fn without_name(session: &SessionSpec) -> SessionSpec {
    SessionSpec {
        name: None,
        ..session.clone()
    }
}

/// What the content of a Secret depends on. The role's name is hashed as it was given, not as the ARN it stands for: comparing must
/// not need a call to AWS. A field that is added later is left out where it is not set, so that an upgrade refreshes nothing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependencies<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<&'a str>,
    secret_type: SecretType,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecr_repository_url: Option<&'a str>,
    duration_seconds: i32,
    session_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a BTreeMap<String, String>>,
}

fn spec_hash(dependencies: &Dependencies<'_>) -> String {
    // Strings and numbers in a struct always serialize.
    let text = serde_json::to_vec(dependencies).unwrap_or_default();
    hex(&Sha256::digest(text))[..32].to_owned()
}

/// A number of seconds that was checked not to be negative.
fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::from(number.unsigned_abs()))
}

#[cfg(test)]
mod tests;
