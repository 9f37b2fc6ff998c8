//! What went wrong between the operator and AWS, sorted by whose move it is.
//!
//! AWS's codes come from <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>, the pages of `AssumeRole` and
//! `GetAuthorizationToken`, and <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::api::Reason;

/// A call to AWS that did not give what was asked for.
///
/// The SDK's own error is not kept as a source: the `Debug` of an answer that could not be read shows the answer. Its text is in
/// the [`Answer`].
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AwsError {
    /// The role does not exist, or does not trust the operator. The person who owns the role has to act.
    #[error("{0}")]
    AccessDenied(Answer),
    /// A policy on the operator's side does not allow the call. The person who runs the operator has to act.
    #[error("{0}")]
    NotPermitted(Answer),
    /// AWS refused a parameter. The person who wrote the resource has to act.
    #[error("{0}")]
    InvalidRequest(Answer),
    /// Too many calls for the account and Region.
    #[error("{0}")]
    Throttled(Answer),
    /// AWS is away, slow, at fault, or does not make sense. It passes.
    #[error("{0}")]
    Unavailable(Answer),
    /// The operator has no AWS credentials, or none that AWS accepts.
    #[error("{0}")]
    NoIdentity(Answer),
}

/// The parts of a failed call that a person needs. Never a body, never a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The call, in IAM's words.
    pub operation: Operation,
    /// AWS's error code, where there was an answer.
    pub code: Option<String>,
    /// AWS's message, or what happened instead of an answer.
    pub message: String,
    /// AWS's id of the request.
    pub request_id: Option<String>,
    /// How long AWS asks to be left alone.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation)?;
        if let Some(code) = &self.code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// The calls that the operator makes, written as IAM actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum Operation {
    /// Who am I.
    #[strum(serialize = "sts:GetCallerIdentity")]
    GetCallerIdentity,
    /// A session of a role, with the operator's own credentials.
    #[strum(serialize = "sts:AssumeRole")]
    AssumeRole,
    /// A registry login, with the session's credentials.
    #[strum(serialize = "ecr:GetAuthorizationToken")]
    GetAuthorizationToken,
}

impl Operation {
    /// The service, as its SDK is called.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Self::GetCallerIdentity | Self::AssumeRole => "STS",
            Self::GetAuthorizationToken => "ECR",
        }
    }

    /// The operation within its service.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::AssumeRole => "AssumeRole",
            Self::GetAuthorizationToken => "GetAuthorizationToken",
        }
    }
}

impl AwsError {
    /// Sorts an error answer by its code and, where AWS tells more only in words, its message.
    #[must_use]
    pub fn from_answer(http_status: u16, answer: Answer) -> Self {
        let code = answer.code.as_deref().unwrap_or_default();
        // The query protocol leaves the suffix off that the JSON protocol puts on.
        match code.strip_suffix("Exception").unwrap_or(code) {
            // ECR is called by the role itself, and there the policy is the role's.
            "AccessDenied" | "NotAuthorized"
                if answer.operation != Operation::GetAuthorizationToken && is_callers_policy(&answer.message) =>
            {
                Self::NotPermitted(answer)
            }
            "AccessDenied" | "NotAuthorized" => Self::AccessDenied(answer),
            "Throttling" | "ThrottledRequest" | "TooManyRequests" | "RequestLimitExceeded" | "SlowDown" => {
                Self::Throttled(answer)
            }
            "RequestExpired" | "RequestTimeTooSkewed" => Self::Unavailable(answer),
            "ExpiredToken"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "InvalidSignature"
            | "MissingAuthenticationToken"
            | "OptInRequired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClient" => Self::caller_not_accepted(answer),
            "InternalFailure" | "InternalError" | "Server" | "ServiceUnavailable" => Self::Unavailable(answer),
            _ => match http_status {
                429 => Self::Throttled(answer),
                401 | 403 => Self::AccessDenied(answer),
                400..=499 if !code.is_empty() => Self::InvalidRequest(answer),
                _ => Self::Unavailable(answer),
            },
        }
    }

    /// The caller's credentials were refused. ECR is called with a session of a moment ago, which the next attempt replaces
    /// (AWS is eventually consistent); everything else with the operator's own credentials.
    fn caller_not_accepted(answer: Answer) -> Self {
        match answer.operation {
            Operation::GetAuthorizationToken => Self::Unavailable(answer),
            Operation::AssumeRole | Operation::GetCallerIdentity => Self::NoIdentity(answer),
        }
    }

    /// The word for it in a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::AccessDenied(_) => Reason::AccessDenied,
            Self::NotPermitted(_) => Reason::NotPermitted,
            Self::InvalidRequest(_) => Reason::InvalidRequest,
            Self::Throttled(_) => Reason::Throttled,
            Self::Unavailable(_) => Reason::AwsUnavailable,
            Self::NoIdentity(_) => Reason::NoIdentity,
        }
    }

    /// What AWS said, or what happened instead.
    #[must_use]
    pub fn answer(&self) -> &Answer {
        match self {
            Self::AccessDenied(answer)
            | Self::NotPermitted(answer)
            | Self::InvalidRequest(answer)
            | Self::Throttled(answer)
            | Self::Unavailable(answer)
            | Self::NoIdentity(answer) => answer,
        }
    }
}

/// Whether an `AccessDenied` speaks of a policy on the caller's side rather than of the role's trust policy.
fn is_callers_policy(message: &str) -> bool {
    [
        "identity-based policy",
        "permissions boundary",
        "service control policy",
        "session policy",
        "VPC endpoint policy",
    ]
    .iter()
    .any(|policy| message.contains(policy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(operation: Operation, http_status: u16, code: &str, message: &str) -> Reason {
        AwsError::from_answer(
            http_status,
            Answer {
                operation,
                code: (!code.is_empty()).then(|| code.to_owned()),
                message: message.to_owned(),
                request_id: None,
                retry_after: None,
            },
        )
        .reason()
    }

    #[test]
    fn codes_are_sorted_by_whose_move_it_is() {
        use Operation::{AssumeRole, GetAuthorizationToken};
        const TRUST: &str = "User: arn:aws:iam::123456789012:user/o is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/r";
        for (operation, status, code, message, reason) in [
            (AssumeRole, 403, "AccessDenied", TRUST, Reason::AccessDenied),
            (
                AssumeRole,
                403,
                "AccessDenied",
                "... because no identity-based policy allows the sts:AssumeRole action",
                Reason::NotPermitted,
            ),
            (
                AssumeRole,
                403,
                "AccessDenied",
                "... with an explicit deny in a service control policy",
                Reason::NotPermitted,
            ),
            (AssumeRole, 400, "ValidationError", "", Reason::InvalidRequest),
            (AssumeRole, 400, "MalformedPolicyDocument", "", Reason::InvalidRequest),
            (AssumeRole, 400, "PackedPolicyTooLarge", "", Reason::InvalidRequest),
            (AssumeRole, 403, "RegionDisabledException", "", Reason::AccessDenied),
            (AssumeRole, 400, "Throttling", "Rate exceeded", Reason::Throttled),
            (
                AssumeRole,
                400,
                "ThrottlingException",
                "Rate exceeded",
                Reason::Throttled,
            ),
            (AssumeRole, 429, "", "", Reason::Throttled),
            (AssumeRole, 403, "InvalidClientTokenId", "", Reason::NoIdentity),
            (AssumeRole, 403, "ExpiredToken", "", Reason::NoIdentity),
            (AssumeRole, 403, "SignatureDoesNotMatch", "", Reason::NoIdentity),
            (AssumeRole, 503, "ServiceUnavailable", "", Reason::AwsUnavailable),
            (AssumeRole, 500, "", "", Reason::AwsUnavailable),
            (AssumeRole, 400, "", "", Reason::AwsUnavailable),
            (AssumeRole, 400, "RequestExpired", "", Reason::AwsUnavailable),
            (
                GetAuthorizationToken,
                400,
                "AccessDeniedException",
                "... because no identity-based policy allows the ecr:GetAuthorizationToken action",
                Reason::AccessDenied,
            ),
            (
                GetAuthorizationToken,
                400,
                "UnrecognizedClientException",
                "",
                Reason::AwsUnavailable,
            ),
            (
                GetAuthorizationToken,
                400,
                "ExpiredTokenException",
                "",
                Reason::AwsUnavailable,
            ),
            (
                GetAuthorizationToken,
                400,
                "InvalidParameterException",
                "",
                Reason::InvalidRequest,
            ),
            (
                GetAuthorizationToken,
                500,
                "ServerException",
                "",
                Reason::AwsUnavailable,
            ),
        ] {
            assert_eq!(
                sorted(operation, status, code, message),
                reason,
                "{operation} {status} {code} {message}"
            );
        }
    }
}
