//! What went wrong between the operator and the API server, sorted by what can be done about it.

use kube::core::Status;
use thiserror::Error;

use crate::errors::chain_of;

/// A call to the API server that did not do what was asked for.
///
/// The client's own error is not kept as a source: some of its forms show the object that was sent.
#[derive(Clone, Debug, Error, PartialEq, Eq, strum::IntoStaticStr)]
pub enum ClusterError {
    /// The object is not as it was seen: look again and decide anew.
    #[error("the object was changed meanwhile: {0}")]
    Changed(String),
    /// The object is gone, or its namespace.
    #[error("the object is gone: {0}")]
    Gone(String),
    /// The namespace is being deleted, and takes nothing new.
    #[error("the namespace is being deleted: {0}")]
    Terminating(String),
    /// A field that cannot change would have to: delete the object and make it anew.
    #[error("the object can only be made anew: {0}")]
    Immutable(String),
    /// The API server does not allow it: RBAC, a quota, an admission policy.
    #[error("the API server does not allow it: {0}")]
    Forbidden(String),
    /// The API server does not take the object as it is.
    #[error("the API server does not take it: {0}")]
    Refused(String),
    /// The API server is away, slow or at fault. It passes.
    #[error("the API server cannot be reached: {0}")]
    Unavailable(String),
}

impl From<kube::Error> for ClusterError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from_status(&status),
            // Its text may quote the object.
            kube::Error::SerdeError(_) => Self::Unavailable("its answer could not be read".into()),
            other => Self::Unavailable(chain_of(&other)),
        }
    }
}

impl ClusterError {
    fn from_status(status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            404 => Self::Gone(message),
            409 | 410 | 412 => Self::Changed(message),
            403 => Self::Forbidden(message),
            // Validation of an update names the field, and `immutable: true` has a text of its own.
            422 if message.contains("immutable") => Self::Immutable(message),
            400 | 405 | 413 | 422 => Self::Refused(message),
            _ => Self::Unavailable(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(code: u16, message: &str) -> ClusterError {
        ClusterError::from_status(&Status {
            code,
            ..Status::failure(message, "")
        })
    }

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        assert!(matches!(sorted(404, "not found"), ClusterError::Gone(_)));
        assert!(matches!(sorted(409, "conflict"), ClusterError::Changed(_)));
        assert!(matches!(sorted(403, "forbidden"), ClusterError::Forbidden(_)));
        assert!(matches!(
            sorted(
                422,
                "Secret \"s\" is invalid: type: Invalid value: \"Opaque\": field is immutable"
            ),
            ClusterError::Immutable(_)
        ));
        assert!(matches!(
            sorted(
                422,
                "Secret \"s\" is invalid: data: Forbidden: field is immutable when `immutable` is set"
            ),
            ClusterError::Immutable(_)
        ));
        assert!(matches!(sorted(422, "data: Too long"), ClusterError::Refused(_)));
        assert!(matches!(sorted(429, "slow down"), ClusterError::Unavailable(_)));
        assert!(matches!(sorted(500, "etcd"), ClusterError::Unavailable(_)));
    }
}
