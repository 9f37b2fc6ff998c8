//! What went wrong between the operator and the API server, sorted by what can be done about it.

use kube::core::Status;
use kube::core::response::{StatusCause, reason};
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
    /// A field that cannot change would have to: delete the object and make it anew.
    #[error("the object can only be made anew: {0}")]
    Immutable(String),
    /// The namespace is being deleted, and takes no new objects: its resources go with it.
    #[error("the namespace is being deleted: {0}")]
    Terminating(String),
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
        // A webhook or a validation may quote a whole value.
        let message: String = status.message.chars().take(MESSAGE_MAX).collect();
        match status.code {
            404 => Self::Gone(message),
            409 | 410 | 412 => Self::Changed(message),
            403 if has_cause(status, |cause| cause.reason == NAMESPACE_TERMINATING) => Self::Terminating(message),
            403 => Self::Forbidden(message),
            422 if is_immutable(status) => Self::Immutable(message),
            400 | 405 | 413 | 422 => Self::Refused(message),
            _ => Self::Unavailable(message),
        }
    }
}

/// The most characters of a message that are shown.
const MESSAGE_MAX: usize = 1000;

/// The cause that the API server names when it refuses a new object because its namespace is being deleted.
/// <https://github.com/kubernetes/apiserver/blob/v0.34.0/pkg/admission/plugin/namespace/lifecycle/admission.go>
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// What an immutable Secret keeps, apart from its type.
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/apis/core/validation/validation.go> (`ValidateSecretUpdate`)
const IMMUTABLE_FIELDS: [&str; 3] = ["data", "stringData", "immutable"];

/// Whether the API server's own validation says that a field of a Secret cannot change. It names the field, which distinguishes it from an
/// admission policy or webhook whose text says "immutable": that one has to be obeyed, and not to be evaded by deleting the Secret. Nor does
/// a Secret become immutable by its name.
fn is_immutable(status: &Status) -> bool {
    let validated = status.reason == reason::INVALID && status.message.starts_with("Secret \"");
    validated
        && has_cause(status, |cause| {
            let kept = match cause.reason.as_str() {
                "FieldValueInvalid" => cause.field == "type",
                "FieldValueForbidden" => IMMUTABLE_FIELDS.contains(&cause.field.as_str()),
                _ => false,
            };
            kept && cause.message.contains("field is immutable")
        })
}

fn has_cause(status: &Status, is: impl Fn(&StatusCause) -> bool) -> bool {
    status.details.iter().flat_map(|details| &details.causes).any(is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::StatusDetails;

    fn status(code: u16, reason: &str, message: &str, causes: &[(&str, &str, &str)]) -> Status {
        let causes = causes.iter().map(|(reason, message, field)| StatusCause {
            reason: (*reason).to_owned(),
            message: (*message).to_owned(),
            field: (*field).to_owned(),
        });
        let details = StatusDetails {
            name: "s".to_owned(),
            group: String::new(),
            kind: "secrets".to_owned(),
            uid: String::new(),
            causes: causes.collect(),
            retry_after_seconds: 0,
        };
        Status::failure(message, reason).with_code(code).with_details(details)
    }

    fn sorted(code: u16, message: &str) -> ClusterError {
        ClusterError::from_status(&status(code, "", message, &[]))
    }

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        assert!(matches!(sorted(404, "not found"), ClusterError::Gone(_)));
        assert!(matches!(sorted(409, "conflict"), ClusterError::Changed(_)));
        assert!(matches!(sorted(403, "forbidden"), ClusterError::Forbidden(_)));
        assert!(matches!(sorted(422, "data: Too long"), ClusterError::Refused(_)));
        assert!(matches!(sorted(429, "slow down"), ClusterError::Unavailable(_)));
        assert!(matches!(sorted(500, "etcd"), ClusterError::Unavailable(_)));
    }

    /// As a real API server answers: see the story `a_word_deletes_no_secret`.
    #[test]
    fn a_field_that_cannot_change_is_known_by_its_cause() {
        let invalid = |causes: &[(&str, &str, &str)]| {
            let (_, message, field) = causes[0];
            let message = format!("Secret \"s\" is invalid: {field}: {message}");
            ClusterError::from_status(&status(422, "Invalid", &message, causes))
        };
        let type_ = (
            "FieldValueInvalid",
            "Invalid value: \"Opaque\": field is immutable",
            "type",
        );
        let data = (
            "FieldValueForbidden",
            "Forbidden: field is immutable when `immutable` is set",
            "data",
        );
        let other = (
            "FieldValueTooLong",
            "Too long: may not be more than 1048576 bytes",
            "data",
        );
        assert!(matches!(invalid(&[type_]), ClusterError::Immutable(_)));
        assert!(matches!(invalid(&[data]), ClusterError::Immutable(_)));
        assert!(matches!(invalid(&[other, data]), ClusterError::Immutable(_)));
        assert!(matches!(invalid(&[other]), ClusterError::Refused(_)));
    }

    #[test]
    fn the_word_immutable_makes_nothing_immutable() {
        let denied = "secrets \"s\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: type: field is immutable";
        let named =
            "Secret \"my-immutable-creds\" is invalid: metadata.labels: Invalid value: \"a b\": field is immutable";
        let by_a_webhook =
            "admission webhook \"w\" denied the request: Secret \"s\" is invalid: type: field is immutable";
        let type_ = ("FieldValueInvalid", "field is immutable", "type");
        for refused in [
            status(422, "Invalid", denied, &[("", denied, "")]),
            status(422, "Invalid", denied, &[]),
            status(
                422,
                "Invalid",
                named,
                &[("FieldValueInvalid", named, "metadata.labels")],
            ),
            status(422, "Invalid", by_a_webhook, &[type_]),
            status(422, "", "Secret \"s\" is invalid: field is immutable", &[type_]),
        ] {
            let message = refused.message.clone();
            assert_eq!(ClusterError::from_status(&refused), ClusterError::Refused(message));
        }
    }

    #[test]
    fn the_end_of_a_namespace_is_no_lack_of_rights() {
        let message =
            "secrets \"s\" is forbidden: unable to create new content in namespace n because it is being terminated";
        let cause = (
            "NamespaceTerminating",
            "namespace n is being terminated",
            "metadata.namespace",
        );
        let refused = status(403, "Forbidden", message, &[cause]);
        assert_eq!(
            ClusterError::from_status(&refused),
            ClusterError::Terminating(message.to_owned())
        );
        let refused = status(403, "Forbidden", message, &[]);
        assert!(matches!(
            ClusterError::from_status(&refused),
            ClusterError::Forbidden(_)
        ));
    }
}
