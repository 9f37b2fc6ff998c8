//! `Template`: a Secret whose keys are rendered from the templates of the spec, and whose type is the spec's to say.

use super::SecretData;
use crate::credentials::{Credentials, RegistryLogin};
use crate::spec::template::{self, Template, TemplateError, Variables};

pub(super) fn render(
    template: &Template,
    credentials: &Credentials,
    login: Option<&RegistryLogin>,
    variables: Variables<'_>,
) -> Result<SecretData, TemplateError> {
    template::render(template, credentials, login, variables).map(SecretData)
}
