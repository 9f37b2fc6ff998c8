//! AWS through its SDK.
//!
//! One HTTP client and one configuration serve all resources. The SDK retries nothing here: when to try again is decided in one
//! place, by the role actor's schedule.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::config::IdentityCache;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use tracing::Span;

use super::error::{Answer, Operation};
use super::{AssumeRole, Aws, AwsError, Identity};
use crate::credentials::{Credentials, ExposeSecret, RegistryLogin, Session};
use crate::errors::{causes, chain_of};

/// How long a connection to AWS may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a whole call may take, from finding the operator's own credentials to the end of the answer. STS answers in well under
/// a second; the time is for a network that loses packets.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The Region of the STS endpoint where neither the environment nor the machine names one. The `aws` partition's default endpoint.
const FALLBACK_REGION: &str = "us-east-1";

/// AWS through its SDK.
#[derive(Debug)]
pub struct SdkAws {
    sts: aws_sdk_sts::Client,
    ecr: aws_sdk_ecr::Client,
    region: String,
}

impl SdkAws {
    /// Sets the clients up from AWS's own environment variables, profiles and instance metadata. Asks nobody for credentials yet.
    pub async fn from_environment() -> Self {
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .build_https();
        let region = aws_config::meta::region::RegionProviderChain::default_provider().or_else(FALLBACK_REGION);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client)
            .region(region)
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .load()
            .await;
        Self::new(&config)
    }

    /// Uses a configuration for everything.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            sts: aws_sdk_sts::Client::new(config),
            ecr: aws_sdk_ecr::Client::new(config),
            region: config
                .region()
                .map_or(FALLBACK_REGION, |region| region.as_ref())
                .to_owned(),
        }
    }

    async fn ask_identity(&self) -> Result<Identity, AwsError> {
        let operation = Operation::GetCallerIdentity;
        let output = self
            .sts
            .get_caller_identity()
            .customize()
            .interceptor(Answered::default())
            .send()
            .await
            .map_err(|error| from_sdk(operation, &error))?;
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
        let call = match &request.region {
            Some(region) => {
                let region = aws_sdk_sts::config::Region::new(region.clone());
                call.config_override(aws_sdk_sts::config::Builder::new().region(region))
            }
            None => call,
        };
        let output = call.send().await.map_err(|error| from_sdk(operation, &error))?;
        let given = output
            .credentials()
            .ok_or_else(|| senseless(operation, "no credentials"))?;
        if given.access_key_id().is_empty() || given.secret_access_key().is_empty() || given.session_token().is_empty()
        {
            return Err(senseless(operation, "credentials with an empty part"));
        }
        Ok(Session {
            credentials: Credentials {
                access_key_id: given.access_key_id().into(),
                secret_access_key: given.secret_access_key().into(),
                session_token: given.session_token().into(),
            },
            expiration: timestamp(given.expiration())
                .ok_or_else(|| senseless(operation, "an expiration out of range"))?,
            answered: answered.time(),
        })
    }

    async fn ask_registry_login(&self, region: &str, credentials: &Credentials) -> Result<RegistryLogin, AwsError> {
        let operation = Operation::GetAuthorizationToken;
        // One client for all Regions and sessions: it remembers how far the clocks lie apart.
        let session = aws_sdk_ecr::config::Builder::new()
            .region(aws_sdk_ecr::config::Region::new(region.to_owned()))
            // A session is used for one call and must not stay in a cache.
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(aws_sdk_ecr::config::Credentials::new(
                credentials.access_key_id.expose_secret(),
                credentials.secret_access_key.expose_secret(),
                Some(credentials.session_token.expose_secret().to_owned()),
                None,
                "role session",
            ));
        let output = self
            .ecr
            .get_authorization_token()
            .customize()
            .interceptor(Answered::default())
            .config_override(session)
            .send()
            .await
            .map_err(|error| from_sdk(operation, &error))?;
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
    fn region(&self) -> &str {
        &self.region
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        self.ask_identity().boxed()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        self.ask_session(request).boxed()
    }

    fn registry_login<'a>(
        &'a self,
        region: &'a str,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        self.ask_registry_login(region, credentials).boxed()
    }
}

/// A list, or nothing where it is empty: AWS is not sent an empty one.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Reads what time it is for AWS from the `Date` of its answer, and records the answer's status and the request's id on the span of the
/// call.
#[derive(Clone, Debug, Default)]
struct Answered(Arc<OnceLock<Timestamp>>);

impl Answered {
    fn time(&self) -> Option<Timestamp> {
        self.0.get().copied()
    }
}

#[dyn_dispatch_hint]
impl Intercept for Answered {
    fn name(&self) -> &'static str {
        "Answered"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let span = Span::current();
        // A number only in this width: the others reach OpenTelemetry as text.
        span.record("http.response.status_code", i64::from(response.status().as_u16()));
        if let Some(id) = response.headers().get("x-amzn-requestid") {
            span.record("aws.request_id", id);
        }
        let date = response.headers().get("date");
        if let Some(time) = date.and_then(|date| rfc2822::parse(date).ok()) {
            // Each call has its own, and it is read once.
            let _ = self.0.set(time.timestamp());
        }
        Ok(())
    }
}

/// The SDK's time as a moment, if it is one that can be written down.
fn timestamp(time: &aws_sdk_sts::primitives::DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

/// An answer of success that does not hold what it must. What it holds instead is not said: it may be half a secret.
fn senseless(operation: Operation, what: &str) -> AwsError {
    AwsError::Unavailable(Answer {
        operation,
        code: None,
        message: format!("AWS answered with {what}"),
        request_id: None,
        retry_after: None,
    })
}

fn from_sdk<E>(operation: Operation, error: &SdkError<E, HttpResponse>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let without_answer = |message: String| Answer {
        operation,
        code: None,
        message,
        request_id: None,
        retry_after: None,
    };
    match error {
        SdkError::ServiceError(service) => AwsError::from_answer(
            service.raw().status().as_u16(),
            Answer {
                operation,
                code: service.err().code().map(str::to_owned),
                message: message(service.err()),
                request_id: error.request_id().map(str::to_owned),
                retry_after: retry_after(service.raw()),
            },
        ),
        // The raw answer and the parser's complaint may both quote what was in it.
        SdkError::ResponseError(_) => AwsError::Unavailable(without_answer("AWS's answer could not be read".into())),
        SdkError::TimeoutError(_) => {
            AwsError::Unavailable(without_answer(format!("no answer within {} s", CALL_TIMEOUT.as_secs())))
        }
        _ if is_without_credentials(error) => AwsError::NoIdentity(without_answer(chain_of(error))),
        _ => AwsError::Unavailable(without_answer(chain_of(error))),
    }
}

/// `Retry-After` in seconds. AWS does not send it as a date.
fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let seconds = answer.headers().get("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The most characters of a message that are shown.
const MESSAGE_MAX: usize = 1000;

/// AWS's message, as far as it is for people. That of a wrong signature quotes the request, and with it the session token.
fn message(error: &impl ProvideErrorMetadata) -> String {
    match error.code() {
        Some("SignatureDoesNotMatch" | "InvalidSignatureException") => {
            "the signature of the request is not the one that AWS computes".to_owned()
        }
        _ => {
            let text = error.message().and_then(|text| text.lines().next());
            text.unwrap_or("AWS gave no message")
                .chars()
                .take(MESSAGE_MAX)
                .collect()
        }
    }
}

/// Whether the call failed because the provider chain gave no credentials, or not in time.
fn is_without_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .any(|cause| cause.is::<CredentialsError>() || cause.to_string().contains("identity resolver timed out"))
}
