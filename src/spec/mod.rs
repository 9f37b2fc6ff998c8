//! What a resource asks for, parsed and checked. Behind this door nobody sees the raw one.

pub mod ecr;
#[cfg(test)]
pub(crate) mod fixtures;
mod hash;
mod limits;
pub mod names;
mod resource;
pub mod role;
mod session;
pub mod template;

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use self::ecr::{EcrEndpoint, EcrRepositoryUrl, NotAnEcrRepositoryUrl};
use self::role::RoleReference;
use self::template::Template;
use crate::api::{AWSAssumeRoleSpec, SecretTemplate, SecretType};
pub use resource::{REFRESH_ANNOTATION, Resource, ResourceKey, ResourceVersion};
pub use session::{InvalidSession, SessionRequest};

/// `durationSeconds` where none is given: the shortest that AWS allows.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const DEFAULT_DURATION: i32 = 900;

/// What the API allows for `durationSeconds`, in seconds.
const DURATION_RANGE: std::ops::RangeInclusive<i32> = 900..=43_200;

/// The least `refreshBeforeSeconds`, in seconds.
const REFRESH_BEFORE_MIN: i32 = 60;

/// What a spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The role.
    pub role: RoleReference,
    /// What the session is to be beyond its role.
    pub session: SessionRequest,
    /// The ServiceAccount to assume the role as, where it is not the operator that does.
    pub service_account_name: Option<Box<str>>,
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
    /// Registry logins, one for each URL.
    EcrDockerConfigJson(Vec<EcrRepositoryUrl>),
    /// A configuration that prints the credentials.
    CredentialProcess,
    /// Templates.
    Template(Template),
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
            Self::Template(template) => template.data.keys().map(String::as_str).collect(),
        }
    }

    /// The registries and repositories that logins are for.
    #[must_use]
    pub fn registries(&self) -> &[EcrRepositoryUrl] {
        match self {
            Self::EcrDockerConfigJson(urls) => urls,
            Self::Template(template) => template.registry.as_slice(),
            Self::Map | Self::File | Self::CredentialProcess => &[],
        }
    }

    /// Where registry logins are asked for, once for each Region.
    #[must_use]
    pub fn registry_endpoints(&self) -> Vec<EcrEndpoint> {
        ecr::endpoints(self.registries())
    }
}

/// A spec that the operator cannot act on. The schema refuses most of these at `kubectl apply`; a resource that was stored under an
/// older schema may still hold one. What a schema cannot express, such as a policy that is no JSON, is found only here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidSpec {
    /// The object does not have the fields of an `AWSAssumeRole`.
    #[error("the resource cannot be read: {0}")]
    Unreadable(String),
    /// A field with more in it than the schema allows.
    #[error("spec.{0} is too long: give at most {1}")]
    TooLong(&'static str, &'static str),
    /// No name that a Secret can have.
    #[error("spec.secretName is {0:?}: it must be a DNS subdomain name, of lower case letters, digits, '-' and '.'")]
    SecretName(String),
    /// No Region.
    #[error("spec.region is {0:?}: give an AWS Region, such as eu-west-1")]
    Region(String),
    /// None or both.
    #[error("give exactly one of spec.roleName and spec.roleArn")]
    Role,
    /// Characters that the name of no role has, and that could forge a line of the log.
    #[error("spec.{0} is {1:?}: a role has visible ASCII characters only, and no space among them")]
    RoleCharacters(&'static str, String),
    /// No URL with `EcrDockerConfigJson`.
    #[error(
        "secretType EcrDockerConfigJson needs spec.ecrRepositoryUrl: https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>"
    )]
    NoEcrRepositoryUrl,
    /// A URL that is none.
    #[error("spec.{0}: {1}")]
    EcrRepositoryUrl(&'static str, NotAnEcrRepositoryUrl),
    /// Out of range.
    #[error("spec.durationSeconds is {0}: give 900 to 43200")]
    Duration(i32),
    /// Out of range.
    #[error("spec.refreshBeforeSeconds is {0}: give at least 60 and less than durationSeconds ({1})")]
    RefreshBefore(i32, i32),
    /// The session cannot be asked for so.
    #[error("spec.session.{0}")]
    Session(#[from] InvalidSession),
    /// No name that a ServiceAccount can have.
    #[error(
        "spec.serviceAccountName is {0:?}: it must be a DNS subdomain name, of lower case letters, digits, '-' and '.'"
    )]
    ServiceAccountName(String),
    /// A part of the session that `AssumeRoleWithWebIdentity` does not take.
    #[error(
        "spec.session.{0} does not go with spec.serviceAccountName, since AssumeRoleWithWebIdentity takes none: leave one of them out"
    )]
    WithServiceAccount(&'static str),
    /// No templates with `Template`.
    #[error("secretType Template needs spec.template.data: the Secret's keys, each with a Jinja template")]
    NoTemplate,
    /// Templates that are too large, or nested too deep, or have a key that no Secret can have.
    #[error("spec.template.data: {0}")]
    Template(#[from] template::TemplateError),
    /// A label or annotation that is the operator's own.
    #[error("spec.secretTemplate: {0} is the operator's own key: use another prefix than pincette.net/")]
    OwnKey(String),
    /// A label or an annotation that no Secret can have.
    #[error("spec.secretTemplate: {0:?} is no {1} that Kubernetes takes")]
    Metadata(String, &'static str),
}

impl Spec {
    /// Whether the Secret may show the operator's own Region: a template may, where the spec names no other.
    #[must_use]
    pub fn shows_own_region(&self) -> bool {
        matches!(self.format, Format::Template(_)) && self.region.is_none()
    }

    /// Reads a spec. That its templates can be rendered is not known yet: [`template::check`] tells, and wants a thread of its own.
    ///
    /// # Errors
    /// [`InvalidSpec`] says what to write instead.
    pub fn from_api(key: &ResourceKey, spec: &AWSAssumeRoleSpec) -> Result<Self, InvalidSpec> {
        limits::check(spec)?;
        if !names::is_object_name(&spec.secret_name) {
            return Err(InvalidSpec::SecretName(excerpt(&spec.secret_name)));
        }
        if let Some(region) = spec.region.as_ref().filter(|region| !names::is_region(region)) {
            return Err(InvalidSpec::Region(excerpt(region)));
        }
        check_service_account(spec)?;
        let role = role(spec)?;
        let duration = spec.duration_seconds.unwrap_or(DEFAULT_DURATION);
        if !DURATION_RANGE.contains(&duration) {
            return Err(InvalidSpec::Duration(duration));
        }
        if let Some(before) = spec.refresh_before_seconds
            && !(REFRESH_BEFORE_MIN..duration).contains(&before)
        {
            return Err(InvalidSpec::RefreshBefore(before, duration));
        }
        let format = format(spec)?;
        let secret_template = spec.secret_template.clone().unwrap_or_default();
        check_metadata(&secret_template)?;
        let session = SessionRequest::from_spec(key, spec.session.as_ref(), &format)?;
        Ok(Self {
            spec_hash: hash::spec_hash(spec, &session, &format, duration),
            role,
            session,
            service_account_name: spec.service_account_name.as_deref().map(Box::from),
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

/// The role. What is in no ARN is refused here, and not left to AWS to overlook: the name is compared, and told in messages.
fn role(spec: &AWSAssumeRoleSpec) -> Result<RoleReference, InvalidSpec> {
    let (field, text, role) = match (&spec.role_name, &spec.role_arn) {
        (Some(name), None) => ("roleName", name, RoleReference::Name(name.clone())),
        (None, Some(arn)) => ("roleArn", arn, RoleReference::Arn(arn.clone())),
        _ => return Err(InvalidSpec::Role),
    };
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(role),
        false => Err(InvalidSpec::RoleCharacters(field, excerpt(text))),
    }
}

/// Whether a ServiceAccount can have the name, and a session of it can be asked for as the spec says.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
fn check_service_account(spec: &AWSAssumeRoleSpec) -> Result<(), InvalidSpec> {
    let Some(name) = &spec.service_account_name else {
        return Ok(());
    };
    if !names::is_object_name(name) {
        return Err(InvalidSpec::ServiceAccountName(excerpt(name)));
    }
    let Some(session) = &spec.session else {
        return Ok(());
    };
    let refused = [
        ("tags", !session.tags.is_empty()),
        ("transitiveTagKeys", !session.transitive_tag_keys.is_empty()),
        ("externalId", session.external_id.is_some()),
        ("sourceIdentity", session.source_identity.is_some()),
    ];
    match refused.into_iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(InvalidSpec::WithServiceAccount(field)),
        None => Ok(()),
    }
}

/// The form of the Secret. A URL beside another type was ignored by the predecessors, and stored resources may have one.
fn format(spec: &AWSAssumeRoleSpec) -> Result<Format, InvalidSpec> {
    let url = |field, url: &str| {
        url.parse::<EcrRepositoryUrl>()
            .map_err(|error| InvalidSpec::EcrRepositoryUrl(field, error))
    };
    let first = || {
        let first = spec.ecr_repository_url.as_deref();
        first.map(|first| url("ecrRepositoryUrl", first)).transpose()
    };
    Ok(match spec.secret_type {
        SecretType::Map => Format::Map,
        SecretType::File => Format::File,
        SecretType::EcrDockerConfigJson => {
            let first = first()?.ok_or(InvalidSpec::NoEcrRepositoryUrl)?;
            let further = spec.ecr_repository_urls.iter();
            let further = further.map(|further| url("ecrRepositoryUrls", further));
            Format::EcrDockerConfigJson(std::iter::once(Ok(first)).chain(further).collect::<Result<_, _>>()?)
        }
        SecretType::CredentialProcess => Format::CredentialProcess,
        SecretType::Template => {
            let templates = spec.template.as_ref().filter(|template| !template.data.is_empty());
            let templates = templates.ok_or(InvalidSpec::NoTemplate)?;
            let template = Template {
                data: templates.data.clone(),
                type_: templates.type_.unwrap_or_default(),
                registry: first()?,
            };
            template::check_bounds(&template)?;
            Format::Template(template)
        }
    })
}

/// The prefix of the labels and annotations that are the operator's own.
const OWN_PREFIX: &str = "pincette.net/";

/// Whether the labels and annotations are such that a Secret can have them, and none of the operator's own.
fn check_metadata(metadata: &SecretTemplate) -> Result<(), InvalidSpec> {
    let mut keys = metadata.labels.keys().chain(metadata.annotations.keys());
    if let Some(own) = keys.find(|key| key.starts_with(OWN_PREFIX)) {
        return Err(InvalidSpec::OwnKey(excerpt(own)));
    }
    let label_keys = metadata.labels.keys().filter(|key| !names::is_label_key(key));
    let label_values = metadata.labels.values().filter(|value| !names::is_label_value(value));
    let annotation_keys = metadata.annotations.keys().filter(|key| !names::is_annotation_key(key));
    let wrong = label_keys
        .map(|key| (key, "key of a label"))
        .chain(label_values.map(|value| (value, "value of a label")))
        .chain(annotation_keys.map(|key| (key, "key of an annotation")))
        .next();
    match wrong {
        Some((text, what)) => Err(InvalidSpec::Metadata(excerpt(text), what)),
        None => Ok(()),
    }
}

/// The beginning of a text that may be as long as can be, for an error to quote. An error is kept, and told in the status.
fn excerpt(text: &str) -> String {
    const LENGTH: usize = 256;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A number of seconds that was checked not to be negative.
fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::from(number.unsigned_abs()))
}

#[cfg(test)]
mod ecr_tests;
#[cfg(test)]
mod tests;
