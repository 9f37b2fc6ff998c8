//! What a cycle leaves for the next one.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use super::ask::IssuedCredentials;
use crate::api::AWSAssumeRoleStatus;
use crate::refresh::plan::due_of;
use crate::secret::ObservedSecret;
use crate::spec::template::TemplateError;
use crate::spec::{Resource, ResourceVersion, Spec};

/// What is remembered of a resource between its cycles. A cycle takes it and gives it back.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What is known of the Secret.
    pub observation: Observation,
    /// The UID of a Secret to which somebody wrote under the operator's own name, until the operator has written it. A look does not show that.
    pub forged: Option<String>,
    /// The names of Secrets that the resource controls and does not want.
    pub leftovers: BTreeSet<String>,
    /// The status as it is to be.
    pub status: Status,
    /// When the next cycle is due.
    pub next: Option<Next>,
    /// The end of credentials whose time to be replaced has come, whatever the clock says now.
    pub overdue: Option<Timestamp>,
    /// When AWS was last asked for a session.
    pub last_call: Option<Instant>,
    /// When the Secret was last written.
    pub last_write: Option<Instant>,
    /// Credentials that AWS gave and that could not be written yet.
    pub unwritten: Option<Arc<Unwritten>>,
    /// What came of checking the templates of that generation.
    pub checked: Option<(i64, Result<(), TemplateError>)>,
}

/// Credentials that AWS gave and that could not be written yet, with what they were asked for.
#[derive(Debug)]
pub struct Unwritten {
    spec_hash: String,
    refresh_request: Option<String>,
    /// The credentials.
    pub(super) issued: IssuedCredentials,
}

impl Unwritten {
    pub(super) fn new(resource: &Resource, spec: &Spec, issued: IssuedCredentials) -> Self {
        Self {
            spec_hash: spec.spec_hash.clone(),
            refresh_request: resource.refresh_request.clone(),
            issued,
        }
    }

    /// Whether they can still be written: they are what the resource asks for, and not due for replacement themselves.
    pub(super) fn serves(&self, resource: &Resource, spec: &Spec, now: Timestamp) -> bool {
        self.spec_hash == spec.spec_hash
            && self.refresh_request == resource.refresh_request
            && now < due_of(&resource.key, spec, self.issued.validity)
    }
}

impl Memory {
    /// Whether somebody wrote to that Secret under the operator's own name, and the operator has not written it since.
    #[must_use]
    pub fn is_forged(&self, secret: &ObservedSecret) -> bool {
        self.forged.is_some() && self.forged == secret.metadata.uid
    }

    /// That of a resource that was not worked on yet, and carries that status.
    #[must_use]
    pub fn new(status: AWSAssumeRoleStatus) -> Self {
        Self {
            status: Status {
                content: status,
                written: true,
                over: None,
            },
            ..Self::default()
        }
    }
}

/// What is known of the Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Observation {
    /// Nothing: it must be looked at.
    #[default]
    Unknown,
    /// It was seen so, or seen not to be there.
    Seen(Option<Arc<ObservedSecret>>),
}

/// A status, and whether the API server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// What it says.
    pub content: AWSAssumeRoleStatus,
    /// Whether it is stored so.
    pub written: bool,
    /// The version of the resource over which the next one is written: a status that comes too late, from a leader that is none any more, is not
    /// taken.
    pub over: Option<ResourceVersion>,
}

/// When a cycle is due: by AWS's clock, and by one that never jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// By AWS's clock, as it was known.
    pub at: Timestamp,
    /// By the other.
    pub instant: Instant,
}
