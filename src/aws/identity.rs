//! Who the operator is to AWS, and the answer kept for all who ask.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{AssumeRole, Aws, AwsError};
use crate::credentials::{Credentials, RegistryLogin, Session};
use crate::spec::role::RoleReference;

/// How long a failure to learn the operator's identity stands, so that those who waited for the same answer do not ask one after the
/// other.
const FAILURE_STANDS: Duration = Duration::from_secs(2);

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

    /// The ARN of a role, to an operator of this identity.
    #[must_use]
    pub fn arn_of(&self, role: &RoleReference) -> String {
        match role {
            RoleReference::Arn(arn) => arn.clone(),
            RoleReference::Name(name) => format!("arn:{}:iam::{}:role/{name}", self.partition, self.account),
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

/// An [`Aws`] that asks for the operator's identity at the first need, and keeps the answer.
pub struct KnownIdentity {
    aws: Arc<dyn Aws>,
    answer: Mutex<Option<Answered>>,
}

/// What became of asking for the identity.
enum Answered {
    Known(Identity),
    Failed(Instant, AwsError),
}

impl KnownIdentity {
    /// Keeps what `aws` answers.
    #[must_use]
    pub fn new(aws: Arc<dyn Aws>) -> Self {
        Self {
            aws,
            answer: Mutex::new(None),
        }
    }

    async fn known(&self) -> Result<Identity, AwsError> {
        // Whoever comes while the question is under way waits here for the same answer.
        let mut answer = self.answer.lock().await;
        match &*answer {
            Some(Answered::Known(identity)) => return Ok(identity.clone()),
            Some(Answered::Failed(when, error)) if when.elapsed() < FAILURE_STANDS => return Err(error.clone()),
            Some(Answered::Failed(..)) | None => {}
        }
        let result = self.aws.identity().await;
        *answer = Some(match &result {
            Ok(identity) => Answered::Known(identity.clone()),
            Err(error) => Answered::Failed(Instant::now(), error.clone()),
        });
        result
    }
}

impl Aws for KnownIdentity {
    fn region(&self) -> &str {
        self.aws.region()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        self.known().boxed()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        self.aws.assume_role(request)
    }

    fn registry_login<'a>(
        &'a self,
        region: &'a str,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        self.aws.registry_login(region, credentials)
    }
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

    #[test]
    fn a_name_lives_in_the_operators_account_and_partition() {
        let identity = Identity::new("123456789012", "arn:aws-us-gov:iam::123456789012:user/u");
        assert_eq!(
            identity.arn_of(&RoleReference::Name("team/my-role".into())),
            "arn:aws-us-gov:iam::123456789012:role/team/my-role"
        );
        assert_eq!(
            identity.arn_of(&RoleReference::Arn("arn:aws:iam::210987654321:role/theirs".into())),
            "arn:aws:iam::210987654321:role/theirs"
        );
    }
}
