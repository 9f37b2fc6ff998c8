//! Credentials on their way from AWS's answer to the Secret, in types that cannot be printed.
//!
//! None of these types has a `Debug` or `Display` that shows its content, and none can be serialized. The one way to the text is
//! [`ExposeSecret`]. Beside this file it is called in four places: where a Secret's keys are rendered, where a Secret is sent to the API
//! server, where a session asks ECR for a token, and where a ServiceAccount asks STS for a session.

use std::fmt;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::jiff::Timestamp;
pub use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// The credentials of a role session. The access key id is no secret to AWS, but it is treated as one here: nothing of
/// a session belongs anywhere but in its Secret.
#[derive(Clone)]
pub struct Credentials {
    /// `aws_access_key_id`.
    pub access_key_id: SecretString,
    /// `aws_secret_access_key`.
    pub secret_access_key: SecretString,
    /// `aws_session_token`.
    pub session_token: SecretString,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials([REDACTED])")
    }
}

/// What `AssumeRole` gave: credentials and their end.
#[derive(Clone, Debug)]
pub struct Session {
    /// The credentials.
    pub credentials: Credentials,
    /// When AWS says that they end, by AWS's clock.
    pub expiration: Timestamp,
    /// What time it was for AWS when it answered, where it said so.
    pub answered: Option<Timestamp>,
}

/// The token of a ServiceAccount, by which AWS knows it. It is fetched for one call and not kept.
pub struct ServiceAccountToken(SecretString);

impl ServiceAccountToken {
    /// The token of that text.
    #[must_use]
    pub fn new(text: SecretString) -> Self {
        Self(text)
    }

    /// Its text.
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// Who issued it, as it says itself: the URL by which AWS knows the cluster. That is no secret.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        let claims = BASE64_URL_SAFE_NO_PAD
            .decode(self.expose_secret().split('.').nth(1)?)
            .ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        (claims.iss.len() <= ISSUER_MAX).then_some(claims.iss)
    }

    /// Whether a text quotes it, or the beginning of one of its parts.
    #[must_use]
    pub fn is_quoted_in(&self, text: &str) -> bool {
        let mut beginnings = self
            .expose_secret()
            .split('.')
            .filter_map(|part| part.get(..QUOTED_MIN));
        beginnings.any(|beginning| text.contains(beginning))
    }
}

impl fmt::Debug for ServiceAccountToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccountToken([REDACTED])")
    }
}

/// What is read of a token's claims.
#[derive(Deserialize)]
struct Claims {
    iss: String,
}

/// The longest issuer that is told.
const ISSUER_MAX: usize = 512;

/// How much of a part of a token is enough to know it by.
const QUOTED_MIN: usize = 16;

/// What `GetAuthorizationToken` gave: a login for a registry.
#[derive(Clone, Debug)]
pub struct RegistryLogin {
    /// The user name, which is always `AWS`.
    pub username: String,
    /// The password.
    pub password: SecretString,
    /// When AWS says that it ends, by AWS's clock. Not always to be believed.
    pub expiration: Option<Timestamp>,
}

impl RegistryLogin {
    /// User name and password in one, as the header of HTTP's basic authentication and the `auth` of a docker config have them.
    #[must_use]
    pub fn token(&self) -> SecretString {
        let both = format!("{}:{}", self.username, self.password.expose_secret());
        BASE64_STANDARD.encode(both).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_its_content() {
        let session = Session {
            credentials: Credentials {
                access_key_id: "ASIAPLANTED".into(),
                secret_access_key: "planted-secret".into(),
                session_token: "planted-token".into(),
            },
            expiration: Timestamp::UNIX_EPOCH,
            answered: None,
        };
        let login = RegistryLogin {
            username: "AWS".into(),
            password: "planted-password".into(),
            expiration: None,
        };
        let token = ServiceAccountToken::new("planted-header.planted-claims.planted-signature".into());
        let printed = format!("{token:?} {token:#?}");
        assert!(!printed.to_lowercase().contains("planted"), "{printed}");
        let printed = format!("{session:?} {session:#?} {login:?} {login:#?} {:?}", login.token());
        assert!(!printed.to_lowercase().contains("planted"), "{printed}");
        assert!(!printed.contains(login.token().expose_secret()), "{printed}");
    }

    #[test]
    fn a_token_tells_its_issuer_and_nothing_else() {
        let claims = BASE64_URL_SAFE_NO_PAD
            .encode(r#"{"iss":"https://issuer.example.com/id/1","sub":"system:serviceaccount:a:b"}"#);
        let token = ServiceAccountToken::new(format!("eyJhbGciOiJSUzI1NiJ9.{claims}.c2lnbmF0dXJl").into());
        assert_eq!(token.issuer().as_deref(), Some("https://issuer.example.com/id/1"));
        for text in ["", "a", "a.b.c", "a.!.c"] {
            assert_eq!(ServiceAccountToken::new(text.into()).issuer(), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_quotes_a_part_of_a_token_is_known() {
        let token = ServiceAccountToken::new("aaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbb.cc".into());
        assert!(token.is_quoted_in("Value 'aaaaaaaaaaaaaaaaaaaaaaaa.bbb' is too long"));
        assert!(token.is_quoted_in("... bbbbbbbbbbbbbbbb"));
        assert!(!token.is_quoted_in("No OpenIDConnect provider found in your aabbount"));
    }
}
