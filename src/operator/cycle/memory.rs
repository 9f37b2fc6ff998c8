//! What a cycle leaves for the next one.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::api::AWSAssumeRoleStatus;
use crate::secret::ObservedSecret;

/// What is remembered of a resource between its cycles. A cycle takes it and gives it back.
#[derive(Clone, Debug)]
pub struct Memory {
    /// What is known of the Secret.
    pub observation: Observation,
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
}

impl Memory {
    /// That of a resource that was not worked on yet, and carries that status.
    #[must_use]
    pub fn new(status: AWSAssumeRoleStatus) -> Self {
        Self {
            observation: Observation::Unknown,
            leftovers: BTreeSet::new(),
            status: Status {
                content: status,
                written: true,
            },
            next: None,
            overdue: None,
            last_call: None,
        }
    }
}

/// What is known of the Secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Nothing: it must be looked at.
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
}

/// When a cycle is due: by AWS's clock, and by one that never jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// By AWS's clock, as it was known.
    pub at: Timestamp,
    /// By the other.
    pub instant: Instant,
}
