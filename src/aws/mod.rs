//! AWS as the operator needs it: who it is itself, a session of a role, a registry login.
//!
//! [`Aws`] is the seam: the product puts [`client::SdkAws`] behind it, a simulation its own. What an error means is decided
//! in [`error`], without a client.

pub mod client;
pub mod error;
pub mod gate;
pub mod registry;
pub mod role;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::credentials::{Credentials, RegistryLogin, Session};
use crate::wanted::SessionRequest;
pub use error::AwsError;

/// The calls that the operator makes to AWS. Each is made once per call: when to try again is the caller's business alone.
pub trait Aws: Send + Sync + 'static {
    /// The Region of the STS endpoint, where a request names none.
    fn region(&self) -> &str;

    /// The operator's own identity, asked for at the first need and kept.
    ///
    /// # Errors
    /// As for any call; a failure is not kept.
    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>>;

    /// A new session of a role.
    ///
    /// # Errors
    /// [`AwsError`] says whose move it is.
    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>>;

    /// A registry login for the registry of `region`, asked for with the credentials of a session.
    ///
    /// # Errors
    /// [`AwsError`] says whose move it is.
    fn registry_login<'a>(
        &'a self,
        region: &'a str,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>>;
}

/// Who the operator is to AWS, from `sts:GetCallerIdentity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account, twelve digits.
    pub account: String,
    /// `aws`, `aws-cn`, `aws-us-gov`, ...
    pub partition: String,
    /// The full ARN.
    pub arn: String,
}

impl Identity {
    /// The identity that an ARN and an account speak of.
    #[must_use]
    pub fn new(account: &str, arn: &str) -> Self {
        Self {
            account: account.to_owned(),
            partition: arn.split(':').nth(1).unwrap_or("aws").to_owned(),
            arn: arn.to_owned(),
        }
    }

    /// Whether the identity is itself a role session, so that assuming a role from it is role chaining.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>
    #[must_use]
    pub fn is_role_session(&self) -> bool {
        self.role_of_session().is_some()
    }

    /// The principal to name in a trust policy: the role of a role session (whose ARN lacks the role's path), else the ARN.
    #[must_use]
    pub fn principal(&self) -> String {
        match self.role_of_session() {
            Some(role) => format!("arn:{}:iam::{}:role/{role}", self.partition, self.account),
            None => self.arn.clone(),
        }
    }

    fn role_of_session(&self) -> Option<&str> {
        self.arn
            .split(':')
            .nth(5)?
            .strip_prefix("assumed-role/")?
            .split('/')
            .next()
    }
}

/// One request for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role.
    pub role_arn: String,
    /// Region of the STS endpoint, where it is not to be the operator's own.
    pub region: Option<String>,
    /// What the session is to be beyond its role.
    pub session: SessionRequest,
    /// How long the session is to last, in whole seconds.
    pub duration: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_principal_of_a_role_session_is_its_role() {
        let session = Identity::new(
            "123456789012",
            "arn:aws-cn:sts::123456789012:assumed-role/operator/eks-pod-1",
        );
        assert!(session.is_role_session());
        assert_eq!(session.principal(), "arn:aws-cn:iam::123456789012:role/operator");

        let user = Identity::new("123456789012", "arn:aws:iam::123456789012:user/someone");
        assert!(!user.is_role_session());
        assert_eq!(user.principal(), "arn:aws:iam::123456789012:user/someone");
    }
}
