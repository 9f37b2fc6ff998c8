//! What went wrong between the operator and AWS, sorted by whose move it is.
//!
//! AWS's codes come from <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>, the pages of `AssumeRole`,
//! `AssumeRoleWithWebIdentity` and `GetAuthorizationToken`, and <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>.

use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use thiserror::Error;

use super::{AssumeRole, Identity};
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
    /// What time it was for AWS when it answered, where it said so.
    pub date: Option<Timestamp>,
}

impl Answer {
    /// AWS's error code without the suffix that the JSON protocol puts on and the query protocol leaves off. Empty without a code.
    #[must_use]
    pub fn short_code(&self) -> &str {
        let code = self.code.as_deref().unwrap_or_default();
        code.strip_suffix("Exception").unwrap_or(code)
    }

    /// The action that AWS says is not allowed, as in `is not authorized to perform: sts:TagSession on resource`.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
    #[must_use]
    pub fn refused_action(&self) -> Option<&str> {
        let (_, behind) = self.message.split_once("not authorized to perform: ")?;
        let action = behind.split(|character: char| character.is_whitespace()).next()?;
        let (service, name) = action.split_once(':')?;
        let is_word =
            |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (is_word(service) && is_word(name)).then_some(action)
    }

    /// Whether AWS did not know the access key: it is gone, or the account or partition that was asked has never heard of it.
    #[must_use]
    pub fn is_unknown_key(&self) -> bool {
        matches!(
            self.short_code(),
            "InvalidClientTokenId" | "OptInRequired" | "UnrecognizedClient"
        )
    }

    /// Whether the role's account has no identity provider for the issuer of the token.
    #[must_use]
    pub fn is_unknown_issuer(&self) -> bool {
        self.message.contains("No OpenIDConnect provider found")
    }

    /// Whether the identity provider in the role's account does not list what the token is for.
    #[must_use]
    pub fn is_unknown_audience(&self) -> bool {
        self.message.contains("Incorrect token audience")
    }

    /// Whether a clock that is wrong gives this answer, though not always it alone.
    #[must_use]
    pub fn may_be_the_clock(&self) -> bool {
        self.is_the_clock() || matches!(self.short_code(), "InvalidSignature" | "SignatureDoesNotMatch")
    }

    /// Whether nothing but a clock that is wrong gives this answer.
    #[must_use]
    pub fn is_the_clock(&self) -> bool {
        matches!(self.short_code(), "RequestExpired" | "RequestTimeTooSkewed")
    }
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
    /// A session of a role, with the token of a ServiceAccount.
    #[strum(serialize = "sts:AssumeRoleWithWebIdentity")]
    AssumeRoleWithWebIdentity,
    /// A registry login, with the session's credentials.
    #[strum(serialize = "ecr:GetAuthorizationToken")]
    GetAuthorizationToken,
}

impl Operation {
    /// The service, as its SDK is called.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Self::GetCallerIdentity | Self::AssumeRole | Self::AssumeRoleWithWebIdentity => "STS",
            Self::GetAuthorizationToken => "ECR",
        }
    }

    /// The operation within its service.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
            Self::GetAuthorizationToken => "GetAuthorizationToken",
        }
    }
}

impl AwsError {
    /// Sorts an error answer by its code and, where AWS tells more only in words, its message.
    #[must_use]
    pub fn from_answer(http_status: u16, mut answer: Answer) -> Self {
        match answer.short_code() {
            // AWS gives every refusal a code. A page without one comes from a proxy, a firewall or a load balancer on the way.
            "" => {
                answer.message = format!(
                    "the answer was HTTP status {http_status} without an error code of AWS, so something between the operator and AWS may \
                     have sent it"
                );
                match http_status {
                    429 => Self::Throttled(answer),
                    _ => Self::Unavailable(answer),
                }
            }
            // A ServiceAccount has no policies of its own, and ECR is called by the role itself, where the policy is the role's.
            "AccessDenied" | "NotAuthorized"
                if !matches!(
                    answer.operation,
                    Operation::AssumeRoleWithWebIdentity | Operation::GetAuthorizationToken
                ) && is_callers_policy(&answer.message) =>
            {
                Self::NotPermitted(answer)
            }
            "AccessDenied" | "NotAuthorized" => Self::AccessDenied(answer),
            // Of the issuer, and of what its tokens are for, the role's account must know.
            "InvalidIdentityToken" if answer.is_unknown_issuer() || answer.is_unknown_audience() => {
                Self::AccessDenied(answer)
            }
            "IDPRejectedClaim" => Self::AccessDenied(answer),
            // The next call brings a fresh token, and AWS keeps asking for the issuer's keys.
            "InvalidIdentityToken" | "IDPCommunicationError" => Self::Unavailable(answer),
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
            // STS is switched off in that Region, which AWS says with status 403.
            "RegionDisabled" => Self::InvalidRequest(answer),
            "InternalFailure" | "InternalError" | "Server" | "ServiceUnavailable" => Self::Unavailable(answer),
            _ => match http_status {
                429 => Self::Throttled(answer),
                401 | 403 => Self::AccessDenied(answer),
                400..=499 => Self::InvalidRequest(answer),
                _ => Self::Unavailable(answer),
            },
        }
    }

    /// Sorts a refusal anew by what was asked for, once it is certain who the operator is: then its credentials are good at home, and
    /// a Region or a partition that does not know them is the spec's choice.
    ///
    /// An opt-in Region that is switched off answers `InvalidClientTokenId`.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html>
    #[must_use]
    pub fn in_light_of(self, request: &AssumeRole, operator: &Identity) -> Self {
        let elsewhere = request.crosses_partitions(operator);
        match self {
            Self::NoIdentity(answer) if answer.is_unknown_key() && (elsewhere || request.region.is_some()) => {
                Self::InvalidRequest(answer)
            }
            Self::AccessDenied(answer) if elsewhere => Self::InvalidRequest(answer),
            other => other,
        }
    }

    /// Sorts a signature that was refused anew, when the operator's clock and AWS's are apart: the SDK signs by AWS's clock once it has
    /// heard from it, so it passes.
    #[must_use]
    pub fn with_clocks_apart(self) -> Self {
        match self {
            Self::NoIdentity(answer) if answer.may_be_the_clock() => Self::Unavailable(answer),
            other => other,
        }
    }

    /// The caller's credentials were refused. ECR is called with a session of a moment ago, which the next attempt replaces
    /// (AWS is eventually consistent), and with a web identity comes a token of a moment ago; everything else with the operator's own
    /// credentials.
    fn caller_not_accepted(answer: Answer) -> Self {
        match answer.operation {
            Operation::AssumeRoleWithWebIdentity | Operation::GetAuthorizationToken => Self::Unavailable(answer),
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

    /// The same with another answer.
    #[must_use]
    pub fn map_answer(self, change: impl FnOnce(Answer) -> Answer) -> Self {
        match self {
            Self::AccessDenied(answer) => Self::AccessDenied(change(answer)),
            Self::NotPermitted(answer) => Self::NotPermitted(change(answer)),
            Self::InvalidRequest(answer) => Self::InvalidRequest(change(answer)),
            Self::Throttled(answer) => Self::Throttled(change(answer)),
            Self::Unavailable(answer) => Self::Unavailable(change(answer)),
            Self::NoIdentity(answer) => Self::NoIdentity(change(answer)),
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
#[path = "error_tests.rs"]
mod tests;
