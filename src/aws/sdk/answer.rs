//! What the SDK brings back: times, request ids, and errors in words that quote no secret.

use std::error::Error;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::RequestId;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::jiff::fmt::rfc2822;
use tracing::Span;

use super::CALL_TIMEOUT;
use crate::aws::AwsError;
use crate::aws::error::{Answer, Operation};
use crate::credentials::{Credentials, Session};
use crate::errors::{causes, chain_of};

/// Reads where a call goes, and what time it is for AWS from the `Date` of its answer, and records the answer's status and the request's id
/// on the span of the call.
#[derive(Clone, Debug, Default)]
pub(super) struct Answered(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    endpoint: OnceLock<String>,
    date: OnceLock<Timestamp>,
}

impl Answered {
    /// The `Date`, where there was one.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.0.date.get().copied()
    }

    /// Where the call went, as `https://sts.eu-west-1.amazonaws.com`, if it came so far.
    pub(super) fn endpoint(&self) -> Option<String> {
        self.0.endpoint.get().cloned()
    }
}

#[dyn_dispatch_hint]
impl Intercept for Answered {
    fn name(&self) -> &'static str {
        "Answered"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(endpoint) = endpoint_of(context.request().uri()) {
            let _ = self.0.endpoint.set(endpoint);
        }
        Ok(())
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
            span.record("aws.request_id", bounded(id));
        }
        let date = response.headers().get("date");
        if let Some(time) = date.and_then(|date| rfc2822::parse(date).ok()) {
            // Each call has its own, and it is read once.
            let _ = self.0.date.set(time.timestamp());
        }
        Ok(())
    }
}

/// Scheme, host and port of a URL, without a password that somebody put there.
fn endpoint_of(url: &str) -> Option<String> {
    let url: http::Uri = url.parse().ok()?;
    let (scheme, host) = (url.scheme_str()?, url.host()?);
    Some(match url.port() {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// The id of a request, or its beginning. AWS's have 36 characters; whatever else answers may send as many as it likes.
fn bounded(id: &str) -> &str {
    const BYTES: usize = 128;
    &id[..id.floor_char_boundary(BYTES)]
}

/// The SDK's time as a moment, if it is one that can be written down.
pub(super) fn timestamp(time: &aws_sdk_sts::primitives::DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

/// An answer of success that does not hold what it must. What it holds instead is not said: it may be half a secret.
pub(super) fn senseless(operation: Operation, what: &str) -> AwsError {
    AwsError::Unavailable(Answer {
        operation,
        code: None,
        message: format!("AWS answered with {what}"),
        request_id: None,
        retry_after: None,
        date: None,
    })
}

/// The session that an answer of success holds.
pub(super) fn session_of(
    operation: Operation,
    given: Option<&aws_sdk_sts::types::Credentials>,
    answered: Option<Timestamp>,
) -> Result<Session, AwsError> {
    let given = given.ok_or_else(|| senseless(operation, "no credentials"))?;
    if given.access_key_id().is_empty() || given.secret_access_key().is_empty() || given.session_token().is_empty() {
        return Err(senseless(operation, "credentials with an empty part"));
    }
    Ok(Session {
        credentials: Credentials {
            access_key_id: given.access_key_id().into(),
            secret_access_key: given.secret_access_key().into(),
            session_token: given.session_token().into(),
        },
        expiration: timestamp(given.expiration()).ok_or_else(|| senseless(operation, "an expiration out of range"))?,
        answered,
    })
}

/// What went wrong, without what must not be printed.
pub(super) fn from_sdk<E>(operation: Operation, error: &SdkError<E, HttpResponse>, date: Option<Timestamp>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let without_answer = |message: String| Answer {
        operation,
        code: None,
        message,
        request_id: None,
        retry_after: None,
        date: None,
    };
    match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().filter(|code| is_code(code)).map(str::to_owned);
            let code = code.or_else(|| code_in(service.raw().body().bytes()?));
            AwsError::from_answer(
                service.raw().status().as_u16(),
                Answer {
                    operation,
                    message: message(service.err()),
                    request_id: error.request_id().map(|id| bounded(id).to_owned()),
                    retry_after: retry_after(service.raw()),
                    // What has no code of AWS does not come from AWS, and neither does its time.
                    date: date.filter(|_| code.is_some()),
                    code,
                },
            )
        }
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

/// The error code in an answer of another form than the service's own, as the gateway before a service sends it, and moto. A page of HTML has
/// none.
fn code_in(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    is_code(code).then(|| code.to_owned())
}

/// Whether it looks like one of AWS's codes, which are a word or two with dots between them. Whoever else answers may send anything.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte))
}

/// The most characters of a message that are shown.
const MESSAGE_MAX: usize = 1000;

/// What stands in a message that quotes the request. Those about the signature do, and with the headers they quote the session token.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
const QUOTES: [&str; 4] = [
    "canonical string",
    "string-to-sign",
    "x-amz-security-token",
    "authorization=",
];

/// AWS's message, as far as it is for people.
fn message(error: &impl ProvideErrorMetadata) -> String {
    let text = error.message().unwrap_or("AWS gave no message");
    let lower = text.to_ascii_lowercase();
    let is_quoting = QUOTES.iter().any(|quote| lower.contains(quote));
    match error.code() {
        Some("SignatureDoesNotMatch" | "InvalidSignatureException") => {
            "the signature of the request is not the one that AWS computes".to_owned()
        }
        _ if is_quoting => "AWS could not make sense of the signature of the request".to_owned(),
        _ => {
            let line = text.lines().next().unwrap_or_default();
            line.chars().take(MESSAGE_MAX).collect()
        }
    }
}

/// Whether the call failed because the provider chain gave no credentials, or not in time.
fn is_without_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error)
        .any(|cause| cause.is::<CredentialsError>() || cause.to_string().contains("identity resolver timed out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_shows_no_password() {
        let of = |url: &str| endpoint_of(url).unwrap();
        assert_eq!(
            of("https://sts.eu-west-1.amazonaws.com/"),
            "https://sts.eu-west-1.amazonaws.com"
        );
        assert_eq!(
            of("http://somebody:planted@127.0.0.1:8080/a?b=c"),
            "http://127.0.0.1:8080"
        );
    }

    #[test]
    fn a_code_is_found_in_other_forms_and_not_in_a_page() {
        let code = |text: &str| code_in(text.as_bytes());
        let other =
            "<Response><Errors><Error><Code>AccessDenied</Code><Message>no</Message></Error></Errors></Response>";
        assert_eq!(code(other).as_deref(), Some("AccessDenied"));
        assert_eq!(code("<html><body>Access denied</body></html>"), None);
        assert_eq!(code("<Code>a b</Code>"), None);
        assert_eq!(code("<Code></Code>"), None);
    }
}
