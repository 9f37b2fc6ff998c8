//! Jinja templates over credentials: how they are checked and rendered.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, UndefinedBehavior, context};
use thiserror::Error;

use crate::credentials::{Credentials, ExposeSecret, SecretString};

/// How many steps a template may take. A template of a thousand lines takes some thousands.
const FUEL: u64 = 100_000;

/// The most that a Secret may hold, in bytes: the API server's limit.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-data-size>
const SIZE_MAX: usize = 1 << 20;

/// The stack that checking and rendering need, in bytes.
pub const STACK_SIZE: usize = 16 << 20;

/// A template that cannot be rendered.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TemplateError {
    /// It does not parse, or fails whatever the credentials are.
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
    /// It came to no end.
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

/// Checks templates by rendering them with credentials that are none.
///
/// # Errors
/// [`TemplateError`] names the first that fails, and why.
pub fn check(templates: &BTreeMap<String, String>) -> Result<(), TemplateError> {
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
    each(templates, &credentials, variables, |key, error| {
        let what = match error.kind() {
            minijinja::ErrorKind::UndefinedError => format!(
                "{error}: a template may use accessKeyId, secretAccessKey, sessionToken, expiration, region, roleArn and accountId"
            ),
            _ => error.to_string(),
        };
        TemplateError::Invalid { key, what }
    })
    .map(|_| ())
}

/// Renders templates.
///
/// # Errors
/// [`TemplateError`], without anything that the templates saw.
pub fn render(
    templates: &BTreeMap<String, String>,
    credentials: &Credentials,
    variables: Variables<'_>,
) -> Result<BTreeMap<String, SecretString>, TemplateError> {
    each(templates, credentials, variables, |key, error| TemplateError::Render {
        key,
        line: error.line().unwrap_or_default(),
    })
}

fn each(
    templates: &BTreeMap<String, String>,
    credentials: &Credentials,
    variables: Variables<'_>,
    fail: impl Fn(String, &Error) -> TemplateError,
) -> Result<BTreeMap<String, SecretString>, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_syntax(
        SyntaxConfig::builder()
            .keep_trailing_newline(true)
            .build()
            .unwrap_or_default(),
    );
    environment.set_fuel(Some(FUEL));
    let context = context! {
        accessKeyId => credentials.access_key_id.expose_secret(),
        secretAccessKey => credentials.secret_access_key.expose_secret(),
        sessionToken => credentials.session_token.expose_secret(),
        expiration => variables.expiration.to_string(),
        region => variables.region,
        roleArn => variables.role_arn,
        accountId => variables.role_arn.split(':').nth(4).unwrap_or_default(),
    };
    let mut size = 0;
    let mut rendered = BTreeMap::new();
    for (key, template) in templates {
        let text = environment
            .render_named_str(key, template, &context)
            .map_err(|error| fail(key.clone(), &error))?;
        size += text.len();
        if size > SIZE_MAX {
            return Err(TemplateError::Size);
        }
        rendered.insert(key.clone(), text.into());
    }
    Ok(rendered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn credentials() -> Credentials {
        Credentials {
            access_key_id: "ASIA1".into(),
            secret_access_key: "planted/<secret>&".into(),
            session_token: "planted-token".into(),
        }
    }

    const VARIABLES: Variables<'static> = Variables {
        role_arn: "arn:aws:iam::123456789012:role/r",
        region: "eu-west-1",
        expiration: Timestamp::UNIX_EPOCH,
    };

    fn one(template: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("key".to_owned(), template.to_owned())])
    }

    fn text(template: &str) -> Result<String, TemplateError> {
        let data = render(&one(template), &credentials(), VARIABLES)?;
        Ok(data["key"].expose_secret().to_owned())
    }

    #[test]
    fn every_variable_is_there_and_nothing_is_escaped() {
        let all = "{{accessKeyId}} {{secretAccessKey}} {{sessionToken}} {{expiration}} {{region}} {{roleArn}} {{accountId}}\n";
        assert_eq!(check(&one(all)), Ok(()));
        assert_eq!(
            text(all).unwrap(),
            "ASIA1 planted/<secret>& planted-token 1970-01-01T00:00:00Z eu-west-1 arn:aws:iam::123456789012:role/r 123456789012\n"
        );
    }

    #[test]
    fn what_cannot_be_rendered_is_found_beforehand() {
        for (template, part) in [
            ("{{ secretKey }}", "may use accessKeyId"),
            ("{{ secretAccessKey", "key: "),
            (
                "{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}",
                "fuel",
            ),
            ("{% include 'other' %}", "key: "),
        ] {
            let error = check(&one(template)).unwrap_err().to_string();
            assert!(error.contains(part), "{template}: {error}");
        }
    }

    #[test]
    fn a_failure_does_not_quote_what_the_template_saw() {
        let picky = "{% if sessionToken == 'planted-token' %}{{ secretAccessKey|int }}{% endif %}";
        assert_eq!(check(&one(picky)), Ok(()));
        let error = text(picky).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("line 1") && !told.contains("planted"), "{told}");
    }

    proptest! {
        #[test]
        fn text_without_braces_is_itself(plain in "[^{}#%]{0,200}") {
            prop_assert_eq!(text(&plain).unwrap(), plain);
        }

        #[test]
        fn no_template_makes_it_panic(template in "\\PC{0,80}") {
            let _ = check(&one(&template));
        }
    }
}
