//! Credentials on their way from AWS's answer to the Secret, in types that cannot be printed.
//!
//! None of these types has a `Debug` or `Display` that shows its content, and none can be serialized. The one way to the text is
//! [`ExposeSecret`]. Beside this file it is called in three places: where a Secret's keys are rendered, where a Secret is sent to the API
//! server, and where a session asks ECR for a token.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::jiff::Timestamp;
pub use secrecy::{ExposeSecret, SecretString};

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
        let printed = format!("{session:?} {session:#?} {login:?} {login:#?} {:?}", login.token());
        assert!(!printed.to_lowercase().contains("planted"), "{printed}");
        assert!(!printed.contains(login.token().expose_secret()), "{printed}");
    }
}
