//! Jinja templates over credentials: how they are checked and rendered.
//!
//! Whoever may write a resource may write a template, so templates are taken for hostile: what is too large or nested too deep is refused before
//! it is parsed ([`check_bounds`]), and what takes too much time or memory is stopped ([`check`] and [`render`]).

mod bounds;
mod engine;
mod filters;
mod format;
mod operators;
mod value;

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use minijinja::machinery;
use minijinja::syntax::SyntaxConfig;
use thiserror::Error;

use self::engine::{Engine, Fault};
use self::value::Work;
use super::ecr::EcrRepositoryUrl;
use super::excerpt;
use crate::api::TemplateType;
use crate::credentials::{Credentials, ExposeSecret, RegistryLogin, SecretString};

/// The stack that [`check`] and [`render`] need at most, by far: run them on a thread that has so much. Parser, engine and the destructor of
/// the syntax tree call themselves for what is nested, which [`check_bounds`] has limited.
pub const STACK_SIZE: usize = 4 << 20;

/// The most that a Secret may hold, in bytes: the API server's limit.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>
const SIZE_MAX: usize = 1 << 20;

/// What a Secret of the form `Template` is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// The templates, by the key that each is rendered to.
    pub data: BTreeMap<String, String>,
    /// The Secret's type.
    pub type_: TemplateType,
    /// The registry whose login the templates may use.
    pub registry: Option<EcrRepositoryUrl>,
}

/// A template that cannot be rendered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// It is too large, does not parse, or fails whatever the credentials are.
    #[error("{key}: {what}")]
    Invalid {
        /// The key of the template.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// It fails with these very credentials. What they did to it is not said, because it may quote them.
    #[error("{key}: it cannot be rendered with the credentials that AWS gave (line {line})")]
    Render {
        /// The key of the template.
        key: String,
        /// The line that failed.
        line: usize,
    },
    /// The API server does not take a Secret of the type without such a key.
    /// <https://kubernetes.io/docs/concepts/configuration/secret/#secret-types>
    #[error("a Secret of template.type {0} needs the key {1}")]
    NoKey(&'static str, &'static str),
    /// The templates are too large.
    #[error("all templates together have at most 65536 bytes (64 KiB)")]
    Together,
    /// They came to no end.
    #[error("the templates could not be rendered in time")]
    Unfinished,
    /// The Secret would be too large.
    #[error("the Secret would have more than 1 MiB")]
    Size,
}

/// What a template may use, besides the credentials.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// The role that was assumed.
    pub role_arn: &'a str,
    /// The Region of the STS endpoint.
    pub region: &'a str,
    /// When the credentials end.
    pub expiration: Timestamp,
}

/// Whether templates may be checked and rendered at all. Needs little time and stack, whatever they are.
///
/// # Errors
/// [`TemplateError`] names the first that is too large or nested too deep, or whose key no Secret can have, or the key that the type needs.
pub fn check_bounds(template: &Template) -> Result<(), TemplateError> {
    let has = |key| template.data.contains_key(key);
    let missing = match template.type_ {
        TemplateType::DockerConfigJson if !has(DOCKER_CONFIG) => Some(DOCKER_CONFIG),
        TemplateType::BasicAuth if !has("username") && !has("password") => Some("username or password"),
        _ => None,
    };
    match missing {
        Some(key) => Err(TemplateError::NoKey(template.type_.as_str(), key)),
        None => bounds::check(&template.data),
    }
}

/// Checks templates by rendering them with credentials that are none. Needs [`STACK_SIZE`].
///
/// # Errors
/// [`TemplateError`] names the first that fails, and why.
pub fn check(template: &Template) -> Result<(), TemplateError> {
    let credentials = Credentials {
        access_key_id: "ASIAXXXXXXXXXXXXXXXX".into(),
        secret_access_key: "x".repeat(40).into(),
        session_token: "x".repeat(400).into(),
    };
    let variables = Variables {
        role_arn: "arn:aws:iam::123456789012:role/my-role",
        region: "eu-west-1",
        expiration: Timestamp::UNIX_EPOCH,
    };
    // About as long as ECR's are.
    let login = template.registry.as_ref().map(|_| RegistryLogin {
        username: "AWS".to_owned(),
        password: "x".repeat(2500).into(),
        expiration: None,
    });
    each(
        template,
        &credentials,
        login.as_ref(),
        variables,
        |key, Fault { what, line }| {
            let what = format!("{what} (line {line})");
            TemplateError::Invalid { key, what }
        },
    )
    .map(|_| ())
}

/// Renders templates. Needs [`STACK_SIZE`].
///
/// # Errors
/// [`TemplateError`], without anything that the templates saw.
pub fn render(
    template: &Template,
    credentials: &Credentials,
    login: Option<&RegistryLogin>,
    variables: Variables<'_>,
) -> Result<BTreeMap<String, SecretString>, TemplateError> {
    each(template, credentials, login, variables, |key, Fault { line, .. }| {
        TemplateError::Render { key, line }
    })
}

fn each(
    template: &Template,
    credentials: &Credentials,
    login: Option<&RegistryLogin>,
    variables: Variables<'_>,
    fail: impl Fn(String, Fault) -> TemplateError,
) -> Result<BTreeMap<String, SecretString>, TemplateError> {
    check_bounds(template)?;
    let expiration = variables.expiration.to_string();
    let token = login.map(RegistryLogin::token);
    let mut variables = BTreeMap::from([
        ("accessKeyId", credentials.access_key_id.expose_secret()),
        ("secretAccessKey", credentials.secret_access_key.expose_secret()),
        ("sessionToken", credentials.session_token.expose_secret()),
        ("expiration", &expiration),
        ("region", variables.region),
        ("roleArn", variables.role_arn),
        ("accountId", variables.role_arn.split(':').nth(4).unwrap_or_default()),
    ]);
    if let (Some(registry), Some(login), Some(token)) = (&template.registry, login, &token) {
        variables.extend([
            ("registry", registry.host.as_str()),
            ("registryUsername", login.username.as_str()),
            ("registryPassword", login.password.expose_secret()),
            ("registryToken", token.expose_secret()),
        ]);
    }
    // The work is the resource's, not each template's.
    let mut work = Work::new();
    let mut size = 0;
    let mut rendered = BTreeMap::new();
    for (key, source) in &template.data {
        let text = machinery::parse(source, "", syntax())
            .map_err(|error| fail(key.clone(), unparsed(&error)))
            .and_then(|parsed| {
                let engine = Engine::new(&variables, &mut work);
                engine.render(&parsed).map_err(|fault| fail(key.clone(), fault))
            })?;
        if template.type_ == TemplateType::DockerConfigJson && key == DOCKER_CONFIG && !is_json_object(&text) {
            let what = "a docker config is a JSON object: {\"auths\": {...}}".to_owned();
            return Err(fail(key.clone(), Fault { what, line: 1 }));
        }
        size += text.len();
        if size > SIZE_MAX {
            return Err(TemplateError::Size);
        }
        rendered.insert(key.clone(), text.into());
    }
    Ok(rendered)
}

/// The key that a Secret of the type `kubernetes.io/dockerconfigjson` has. The API server wants a JSON object there.
const DOCKER_CONFIG: &str = ".dockerconfigjson";

fn is_json_object(text: &str) -> bool {
    serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(text).is_ok()
}

/// Jinja's own syntax, but that a newline at the end is kept.
fn syntax() -> SyntaxConfig {
    let builder = &mut SyntaxConfig::builder();
    builder.keep_trailing_newline(true).build().unwrap_or_default()
}

fn unparsed(error: &minijinja::Error) -> Fault {
    Fault {
        what: excerpt(error.detail().unwrap_or("it is no template")),
        line: error.line().unwrap_or_default(),
    }
}

#[cfg(test)]
mod registry_tests;
#[cfg(test)]
mod tests;
