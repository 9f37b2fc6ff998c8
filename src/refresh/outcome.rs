//! What came of a cycle, in the words of traces, conditions and people.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use thiserror::Error;

use super::advice;
use super::plan::{IssueReason, RepairReason};
use super::policy::Denial;
use super::schedule::{RetryClass, Validity};
use crate::api::Reason;
use crate::aws::AwsError;
use crate::aws::gate::GateClosed;
use crate::cluster::ClusterError;
use crate::secret::RenderError;
use crate::spec::InvalidSpec;
use crate::spec::template::TemplateError;

/// The longest pause that is granted to AWS when it asks for one: credentials run out meanwhile.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What came of a cycle.
#[derive(Debug)]
pub enum Outcome {
    /// New credentials are in the Secret.
    Issued {
        /// Why they were needed.
        why: IssueReason,
        /// The role that was assumed.
        role_arn: String,
        /// Their validity.
        validity: Validity,
        /// What was odd about it.
        notes: Vec<String>,
    },
    /// The Secret holds the credentials that are wanted, and these were left as they are.
    Kept(Validity),
    /// The same, but something else on the Secret was put right.
    Repaired(Validity, RepairReason),
    /// The spec says not to refresh. With the moment when the credentials end that a policy has withdrawn, if there are such.
    Suspended(Option<Timestamp>),
    /// Nothing was written, or not all of it.
    Failed(Failure),
}

impl Outcome {
    /// The word for it in traces and metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Issued { .. } => "issued",
            Self::Kept(_) => "kept",
            Self::Repaired(..) => "repaired",
            Self::Suspended(_) => "suspended",
            // Nothing went wrong.
            Self::Failed(Failure::Stopping(_)) => "aborted",
            Self::Failed(_) => "failed",
        }
    }

    /// Why the Secret was written, where it was.
    #[must_use]
    pub fn why(&self) -> Option<&'static str> {
        match self {
            Self::Issued { why, .. } => Some(why.into()),
            Self::Repaired(_, why) => Some(why.into()),
            Self::Kept(_) | Self::Suspended(_) | Self::Failed(_) => None,
        }
    }

    /// The word for it in a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Issued { .. } | Self::Kept(_) | Self::Repaired(..) => Reason::Issued,
            Self::Suspended(_) => Reason::Suspended,
            Self::Failed(failure) => failure.reason(),
        }
    }
}

/// Why a cycle did not do what it was to do.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Failure {
    /// The spec cannot be acted on.
    #[error("{0}")]
    InvalidSpec(#[from] InvalidSpec),
    /// The lifetime cannot be had under role chaining.
    #[error("{}", advice::chained())]
    Chained,
    /// No policy permits it.
    #[error("{denial}{}", advice::about_live_credentials(*live_until))]
    PolicyDenied {
        /// What is refused, and which policy would permit it.
        denial: Denial,
        /// When the last credentials end that were issued, if they have not ended.
        live_until: Option<Timestamp>,
    },
    /// Whether a policy permits it is not known.
    #[error("No role is assumed until it is known who may have which: {0}")]
    PoliciesUnknown(String),
    /// A Secret of that name belongs to somebody else.
    #[error("Secret {secret} exists and {holder}: delete it, or choose another spec.secretName. It was not touched.")]
    SecretConflict {
        /// The Secret.
        secret: String,
        /// Who has it.
        holder: String,
    },
    /// The namespace is being deleted, and the resource with it.
    #[error("the namespace is being deleted")]
    NamespaceTerminating,
    /// A Secret of that name is about to go.
    #[error("Secret {0} is being deleted; it is made anew as soon as it is gone")]
    SecretTerminating(String),
    /// AWS did not give credentials.
    #[error("{} {advice}", sentence(error))]
    Aws {
        /// What it said.
        #[source]
        error: AwsError,
        /// What can be done about it.
        advice: String,
    },
    /// The ServiceAccount that the spec names is not there.
    #[error(
        "there is no ServiceAccount {service_account} in the namespace {namespace}: create it, or correct spec.serviceAccountName. It will be \
         tried again."
    )]
    NoServiceAccount {
        /// Where it should be.
        namespace: String,
        /// Its name.
        service_account: String,
    },
    /// The API server does not let the operator have a token of a ServiceAccount.
    #[error(
        "the API server gives no token of the ServiceAccount {service_account}: {message}. Set serviceAccountTokens.enabled to true in the \
         values of the operator's chart, which lets it ask for tokens, or take spec.serviceAccountName out."
    )]
    NoToken {
        /// The ServiceAccount.
        service_account: String,
        /// What the API server said.
        message: String,
    },
    /// The API server did not do its part.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// The operator is stopping.
    #[error("{0}")]
    Stopping(#[from] GateClosed),
    /// The Secret's content cannot be made.
    #[error("{0}")]
    Render(#[from] RenderError),
}

/// What AWS said, with the full stop that it often leaves off.
fn sentence(error: &AwsError) -> String {
    let text = error.to_string();
    let text = text.trim_end();
    match text.ends_with(['.', '!', '?']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

/// Whether a failure for that reason is likely to pass by itself.
#[must_use]
pub fn retry_class(reason: Reason) -> RetryClass {
    match reason {
        Reason::AccessDenied
        | Reason::InvalidRequest
        | Reason::NotPermitted
        | Reason::PolicyDenied
        | Reason::SecretForbidden
        | Reason::TemplateError => RetryClass::Late,
        _ => RetryClass::Soon,
    }
}

impl Failure {
    /// The word for it in a condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::InvalidSpec(InvalidSpec::Template(_)) | Self::Render(_) => Reason::TemplateError,
            Self::InvalidSpec(_) | Self::Chained | Self::NoServiceAccount { .. } => Reason::InvalidRequest,
            Self::NoToken { .. } => Reason::NotPermitted,
            Self::PolicyDenied { .. } => Reason::PolicyDenied,
            Self::SecretConflict { .. } => Reason::SecretConflict,
            Self::SecretTerminating(_) | Self::NamespaceTerminating | Self::Stopping(_) => Reason::Pending,
            Self::Aws { error, .. } => error.reason(),
            Self::Cluster(ClusterError::Forbidden(_) | ClusterError::Refused(_)) => Reason::SecretForbidden,
            Self::Cluster(_) | Self::PoliciesUnknown(_) => Reason::ClusterUnavailable,
        }
    }

    /// When the credentials of a role that is not permitted any more end by themselves.
    pub(super) fn live_until(&self) -> Option<Timestamp> {
        match self {
            Self::PolicyDenied { live_until, .. } => *live_until,
            _ => None,
        }
    }

    /// How long AWS asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Aws { error, .. } => error.answer().retry_after.map(|pause| pause.min(RETRY_AFTER_MAX)),
            _ => None,
        }
    }

    /// Whether it is likely to pass by itself; `None` when only a change of the spec can help.
    pub(super) fn retry_class(&self) -> Option<RetryClass> {
        match self {
            // A policy that permits it does not wait for an attempt.
            Self::PolicyDenied { .. }
            | Self::InvalidSpec(_)
            | Self::Render(RenderError::Template(TemplateError::Invalid { .. } | TemplateError::Together)) => None,
            Self::NamespaceTerminating => Some(RetryClass::Late),
            _ => Some(retry_class(self.reason())),
        }
    }
}
