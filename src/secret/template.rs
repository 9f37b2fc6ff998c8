//! `Template`: a Secret whose keys are rendered from the templates of the spec.

use std::collections::BTreeMap;

use super::SecretData;
use crate::credentials::Credentials;
use crate::spec::template::{self, TemplateError, Variables};

pub(super) const TYPE: &str = "Opaque";

pub(super) fn render(
    templates: &BTreeMap<String, String>,
    credentials: &Credentials,
    variables: Variables<'_>,
) -> Result<SecretData, TemplateError> {
    template::render(templates, credentials, variables).map(SecretData)
}
