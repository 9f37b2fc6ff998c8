//! AWS through its SDK.
//!
//! One HTTP client ([`http`]) and one configuration serve all resources. The SDK retries nothing here: when to try again is decided in one
//! place, by the role actor's schedule. The operator's own credentials are kept here too ([`provider`]), since the SDK's own cache does not
//! know that AWS refused them.

mod answer;
mod caller;
mod chain;
mod endpoint;
mod http;
mod provider;
mod region;
mod web_identity;

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_ecr::config::IdentityCache;
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::answer::{Answered, from_sdk, senseless, session_of, timestamp};
pub use self::caller::{Caller, EndpointSource};
pub use self::http::InvalidSetting;
use self::provider::{OperatorCredentials, Standing};
use self::region::CurrentRegion;
use super::error::Operation;
use super::{AssumeRole, AssumeRoleWithWebIdentity, Aws, AwsError, Identity, Region};
use crate::credentials::{Credentials, ExposeSecret, RegistryLogin, ServiceAccountToken, Session};
use crate::fence::Fence;
use crate::spec::ecr::EcrEndpoint;

/// How long a connection to AWS may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a whole call may take, from finding the operator's own credentials to the end of the answer. STS answers in well under
/// a second; the time is for a network that loses packets.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// AWS through its SDK.
pub struct SdkAws {
    sts: aws_sdk_sts::Client,
    ecr: aws_sdk_ecr::Client,
    /// Whether an endpoint URL is set for ECR. It stands in for those of AWS, of which there are several kinds.
    ecr_endpoint_is_named: bool,
    sts_endpoint: EndpointSource,
    region: CurrentRegion,
    credentials: Arc<OperatorCredentials>,
}

impl SdkAws {
    /// Sets the clients up from AWS's own environment variables, profiles and instance metadata. Asks nobody for credentials yet. Each call
    /// passes the fence, but for those by which the operator finds its own credentials and its Region. Instance metadata is asked for
    /// credentials only if it may be; the Region may come from there in any case.
    ///
    /// # Errors
    /// When a proxy or a bundle of certificates is set and cannot be used: without it the calls would go where they must not.
    pub async fn from_environment(fence: Fence, instance_metadata: bool) -> Result<Self, InvalidSetting> {
        let http_client = http::client()?;
        let region = CurrentRegion::find(http_client.clone()).await;
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http::fenced(http_client.clone(), fence))
            .region(sdk_region(&region.get()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .load()
            .await;
        let credentials = OperatorCredentials::from_environment(http_client, region.clone(), instance_metadata);
        Ok(Self::with(&config, region, credentials))
    }

    /// Uses a configuration for everything.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let region = CurrentRegion::fixed(config.region().map(AsRef::as_ref));
        let credentials = OperatorCredentials::fixed(config.credentials_provider());
        Self::with(config, region, credentials)
    }

    fn with(config: &SdkConfig, region: CurrentRegion, credentials: OperatorCredentials) -> Self {
        let credentials = Arc::new(credentials);
        let config = config
            .clone()
            .into_builder()
            .credentials_provider(SharedCredentialsProvider::new(provider::Shared(credentials.clone())))
            .identity_cache(IdentityCache::no_cache())
            .build();
        Self {
            sts: aws_sdk_sts::Client::new(&config),
            ecr: aws_sdk_ecr::Client::new(&config),
            ecr_endpoint_is_named: endpoint::is_named(&config, "ECR"),
            sts_endpoint: EndpointSource::of_sts(&config),
            region,
            credentials,
        }
    }

    /// What an error says of the operator's own credentials, with which the call was signed. Where AWS does not take them, others are
    /// looked for.
    fn judge_credentials(&self, at_home: bool, error: AwsError) -> AwsError {
        let standing = match &error {
            // Another Region may not know the account.
            AwsError::NoIdentity(answer) if answer.code.is_some() && at_home => Standing::Refused,
            AwsError::NoIdentity(answer) if answer.code.is_some() => Standing::Doubtful,
            // So sessions of a role are revoked: its policy denies what was issued before.
            // <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html>
            AwsError::NotPermitted(_) => Standing::Doubtful,
            _ => return error,
        };
        self.credentials.refused(standing);
        error
    }

    /// What is other than usual where a call to STS names a Region.
    fn sts_in(&self, region: Option<&str>) -> aws_sdk_sts::config::Builder {
        let region = match region {
            Some(region) => aws_sdk_sts::config::Region::new(region.to_owned()),
            None => sdk_region(&self.region.get()),
        };
        aws_sdk_sts::config::Builder::new().region(region)
    }

    async fn ask_identity(&self, answered: &Answered) -> Result<Identity, AwsError> {
        let operation = Operation::GetCallerIdentity;
        let call = self
            .sts
            .get_caller_identity()
            .customize()
            .interceptor(answered.clone())
            .config_override(self.sts_in(None));
        let output = match call.send().await {
            Ok(output) => output,
            Err(error) => {
                let error = from_sdk(operation, &error, answered.time());
                return Err(self.judge_credentials(true, error));
            }
        };
        match (output.account(), output.arn()) {
            (Some(account), Some(arn)) => Ok(Identity::new(account, arn)),
            _ => Err(senseless(operation, "no account and ARN")),
        }
    }

    async fn ask_session(&self, request: &AssumeRole) -> Result<Session, AwsError> {
        let operation = Operation::AssumeRole;
        let session = &request.session;
        let answered = Answered::default();
        let tags = session.tags.iter().map(|(key, value)| {
            let tag = Tag::builder().key(key).value(value).build();
            // Both parts are set.
            tag.map_err(|_| senseless(operation, "a tag without a key"))
        });
        let policies = session.policy_arns.iter();
        let policies: Vec<_> = policies
            .map(|arn| PolicyDescriptorType::builder().arn(arn).build())
            .collect();
        let call = self
            .sts
            .assume_role()
            .role_arn(&request.role_arn)
            .role_session_name(&session.name)
            .duration_seconds(i32::try_from(request.duration.as_secs()).unwrap_or(i32::MAX))
            .set_policy(session.policy.clone())
            .set_policy_arns(some(policies))
            .set_tags(some(tags.collect::<Result<_, _>>()?))
            .set_transitive_tag_keys(some(session.transitive_tag_keys.clone()))
            .set_external_id(session.external_id.clone())
            .set_source_identity(session.source_identity.clone())
            .customize()
            .interceptor(answered.clone());
        let call = call.config_override(self.sts_in(request.region.as_deref()));
        let output = match call.send().await {
            Ok(output) => output,
            Err(error) => {
                let error = from_sdk(operation, &error, answered.time());
                return Err(self.judge_credentials(request.region.is_none(), error));
            }
        };
        session_of(operation, output.credentials(), answered.time())
    }

    async fn ask_registry_login(
        &self,
        endpoint: &EcrEndpoint,
        credentials: &Credentials,
    ) -> Result<RegistryLogin, AwsError> {
        let operation = Operation::GetAuthorizationToken;
        // One client for all Regions and sessions: it remembers how far the clocks lie apart.
        let mut session = aws_sdk_ecr::config::Builder::new()
            .region(aws_sdk_ecr::config::Region::new(endpoint.region.clone()))
            // A session is used for one call and must not stay in a cache.
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(aws_sdk_ecr::config::Credentials::new(
                credentials.access_key_id.expose_secret(),
                credentials.secret_access_key.expose_secret(),
                Some(credentials.session_token.expose_secret().to_owned()),
                None,
                "role session",
            ));
        // What is not set here is as AWS's variables say. An endpoint that somebody has named is of no kind.
        if endpoint.fips && !self.ecr_endpoint_is_named {
            session.set_use_fips(Some(true));
        }
        if endpoint.dual_stack && !self.ecr_endpoint_is_named {
            session.set_use_dual_stack(Some(true));
        }
        let answered = Answered::default();
        let output = self
            .ecr
            .get_authorization_token()
            .customize()
            .interceptor(answered.clone())
            .config_override(session)
            .send()
            .await
            .map_err(|error| from_sdk(operation, &error, answered.time()))?;
        let given = output
            .authorization_data()
            .first()
            .ok_or_else(|| senseless(operation, "no token"))?;
        // The token is `AWS:<password>` in base64, and a password may hold a colon.
        // <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_AuthorizationData.html>
        given
            .authorization_token()
            .and_then(|token| BASE64_STANDARD.decode(token).ok())
            .and_then(|token| String::from_utf8(token).ok())
            .as_deref()
            .and_then(|token| token.split_once(':'))
            .filter(|(username, password)| !username.is_empty() && !password.is_empty())
            .map(|(username, password)| RegistryLogin {
                username: username.to_owned(),
                password: password.into(),
                expiration: given.expires_at().and_then(timestamp),
            })
            .ok_or_else(|| senseless(operation, "a token that is no user name and password"))
    }
}

impl Aws for SdkAws {
    fn region(&self) -> Region {
        self.region.get()
    }

    fn credentials_generation(&self) -> u64 {
        self.credentials.generation()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        async { self.ask_identity(&Answered::default()).await }.boxed()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        self.ask_session(request).boxed()
    }

    fn assume_role_with_web_identity<'a>(
        &'a self,
        request: &'a AssumeRoleWithWebIdentity,
        token: &'a ServiceAccountToken,
    ) -> BoxFuture<'a, Result<Session, AwsError>> {
        self.ask_session_of_service_account(request, token).boxed()
    }

    fn registry_login<'a>(
        &'a self,
        endpoint: &'a EcrEndpoint,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        self.ask_registry_login(endpoint, credentials).boxed()
    }
}

/// A list, or nothing where it is empty: AWS is not sent an empty one.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// A Region as the SDK has it.
fn sdk_region(region: &Region) -> aws_sdk_sts::config::Region {
    aws_sdk_sts::config::Region::new(region.name.to_string())
}
