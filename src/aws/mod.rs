//! AWS as the operator needs it: who it is itself, a session of a role, a registry login.
//!
//! [`Aws`] is the seam: the product puts [`sdk::SdkAws`] behind it, a simulation its own. What an error means is decided
//! in [`error`], without a client.

pub mod error;
pub mod gate;
pub mod identity;
pub mod region;
pub mod sdk;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::credentials::{Credentials, RegistryLogin, ServiceAccountToken, Session};
use crate::spec::SessionRequest;
use crate::spec::ecr::EcrEndpoint;
pub use error::AwsError;
pub use identity::Identity;
pub use region::{Region, RegionSource};

/// The calls that the operator makes to AWS. Each is made once per call: when to try again is the caller's business alone.
pub trait Aws: Send + Sync + 'static {
    /// The Region of the STS endpoint, where a request names none. It may become another one: instance metadata that did not answer at
    /// the start is asked again.
    fn region(&self) -> Region;

    /// Goes up with every other access key of the operator's own. Who the operator is must be asked anew then.
    fn credentials_generation(&self) -> u64 {
        0
    }

    /// The operator's own identity. [`identity::KnownIdentity`] keeps the answer.
    ///
    /// # Errors
    /// [`AwsError`] says whose move it is.
    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>>;

    /// The operator's own identity, where it is known without asking.
    fn known_identity(&self) -> Option<Identity> {
        None
    }

    /// A new session of a role.
    ///
    /// # Errors
    /// [`AwsError`] says whose move it is.
    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>>;

    /// A new session of a role for a ServiceAccount, which its token is the proof of. Nothing of the operator's own goes with it.
    ///
    /// # Errors
    /// [`AwsError`] says whose move it is.
    fn assume_role_with_web_identity<'a>(
        &'a self,
        request: &'a AssumeRoleWithWebIdentity,
        token: &'a ServiceAccountToken,
    ) -> BoxFuture<'a, Result<Session, AwsError>>;

    /// A login for the registries of a Region, asked for with the credentials of a session.
    ///
    /// # Errors
    /// [`AwsError`] says whose move it is.
    fn registry_login<'a>(
        &'a self,
        endpoint: &'a EcrEndpoint,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>>;
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

impl AssumeRole {
    /// Whether it asks in another partition than the operator's, or for a role in one.
    #[must_use]
    pub fn crosses_partitions(&self, operator: &Identity) -> bool {
        operator.is_of_another_partition(Some(&self.role_arn), self.region.as_deref())
    }
}

/// One request for a session of a ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumeRoleWithWebIdentity {
    /// The role.
    pub role_arn: String,
    /// Region of the STS endpoint, where it is not to be the operator's own.
    pub region: Option<String>,
    /// `RoleSessionName`.
    pub session_name: String,
    /// The inline session policy.
    pub policy: Option<String>,
    /// The managed session policies.
    pub policy_arns: Vec<String>,
    /// How long the session is to last, in whole seconds.
    pub duration: Duration,
}

impl From<&AssumeRole> for AssumeRoleWithWebIdentity {
    /// The same without what only `AssumeRole` takes.
    fn from(request: &AssumeRole) -> Self {
        let session = &request.session;
        Self {
            role_arn: request.role_arn.clone(),
            region: request.region.clone(),
            session_name: session.name.clone(),
            policy: session.policy.clone(),
            policy_arns: session.policy_arns.clone(),
            duration: request.duration,
        }
    }
}
