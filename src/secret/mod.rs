//! The Secret: as it is to be, as it was seen, whose it is, and one file for each format of its content. Pure: nothing here talks to anybody.
//!
//! A format has a file of its own with `render`, and with `TYPE` unless the spec says the type, and is named in [`DesiredSecret::new`] and in [`crate::spec::Format`].

mod credential_process;
mod desired;
mod docker_config;
mod file;
mod map;
mod metadata;
pub mod observed;
pub mod ownership;
pub mod provenance;
mod repair;
mod template;

use std::collections::BTreeMap;
use std::fmt;

use crate::credentials::SecretString;
pub use desired::{DesiredSecret, Material, RenderError};
pub use metadata::SecretMetadata;
pub use observed::ObservedSecret;
pub use provenance::{FIELD_MANAGER, Provenance};
pub use repair::Repair;

/// Who wrote it, in Kubernetes' recommended label.
pub const MANAGED_BY_LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "aws-assume-role");

/// The label that the first of the predecessors put on its Secrets.
pub const OPERATOR_LABEL: (&str, &str) = ("aws-assume-role", "true");

/// The keys of the labels that every Secret has.
const OWN_LABELS: [&str; 2] = [MANAGED_BY_LABEL.0, OPERATOR_LABEL.0];

/// When the credentials in a Secret end, RFC 3339 in UTC.
pub const EXPIRATION_ANNOTATION: &str = "pincette.net/expiration";

/// Hash of what the credentials in a Secret depend on.
pub const SPEC_HASH_ANNOTATION: &str = "pincette.net/spec-hash";

/// The value of the resource's `pincette.net/refresh` that the credentials in a Secret answer, if they answer one.
pub const REFRESH_ANNOTATION: &str = crate::spec::REFRESH_ANNOTATION;

/// The operator's own Region at the time when the Secret was rendered, on a Secret that may show it.
pub const REGION_ANNOTATION: &str = "pincette.net/region";

/// The labels and annotations that a Secret has from `secretTemplate`, so that those which leave the spec can leave the Secret.
pub const TEMPLATE_ANNOTATION: &str = "pincette.net/secret-template";

/// The keys of a Secret with their values, which cannot be printed.
pub struct SecretData(pub BTreeMap<String, SecretString>);

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests;
