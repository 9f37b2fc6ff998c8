//! The hash that tells whether the credentials in a Secret were made from this spec.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Format, SessionRequest};
use crate::api::{AWSAssumeRoleSpec, SecretType, SessionSpec, TemplateType};
use crate::digest;

/// The hash of what the credentials depend on.
pub(super) fn spec_hash(spec: &AWSAssumeRoleSpec, session: &SessionRequest, format: &Format, duration: i32) -> String {
    let dependencies = Dependencies {
        role_name: spec.role_name.as_deref(),
        role_arn: spec.role_arn.as_deref(),
        secret_type: spec.secret_type,
        ecr_repository_url: match format {
            Format::EcrDockerConfigJson(_) | Format::Template(_) => spec.ecr_repository_url.as_deref(),
            _ => None,
        },
        ecr_repository_urls: match format {
            Format::EcrDockerConfigJson(_) => &spec.ecr_repository_urls,
            _ => &[],
        },
        duration_seconds: duration,
        session_name: &session.name,
        service_account_name: spec.service_account_name.as_deref(),
        region: spec.region.as_deref(),
        session: spec
            .session
            .as_ref()
            .map(without_name)
            .filter(|rest| *rest != SessionSpec::default()),
        template: match format {
            Format::Template(template) => Some(&template.data),
            _ => None,
        },
        template_type: match format {
            Format::Template(template) => Some(template.type_).filter(|type_| *type_ != TemplateType::default()),
            _ => None,
        },
    };
    // Strings and numbers in a struct always serialize.
    let text = serde_json::to_vec(&dependencies).unwrap_or_default();
    digest::hash(&text)
}

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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    ecr_repository_urls: &'a [String],
    duration_seconds: i32,
    session_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template_type: Option<TemplateType>,
}
