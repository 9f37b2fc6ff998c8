//! What an operator that starts, or takes over, finds in order: nothing has to be done for it until its time comes.

use k8s_openapi::jiff::Timestamp;

use super::outcome::Outcome;
use super::plan::{Plan, Situation, plan};
use super::standing::Standing;
use super::status::{Facts, judge};
use crate::secret::ObservedSecret;
use crate::spec::Resource;

/// A resource that is in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InOrder {
    /// When there is something to do.
    pub next: Timestamp,
    /// How it stands.
    pub standing: Standing,
}

/// Whether a resource that may have its role is in order: its Secret holds what is wanted, it is not time yet, and its status says just that.
/// `unlisted` is whether it has it only since no policy names its namespace.
#[must_use]
pub fn in_order(
    resource: &Resource,
    situation: Situation<'_>,
    secret: &ObservedSecret,
    unlisted: bool,
) -> Option<InOrder> {
    let Plan::Keep(validity) = plan(situation, Some(secret)) else {
        return None;
    };
    let facts = Facts {
        resource: situation.resource,
        generation: situation.generation,
        spec: Some(situation.spec),
        current_expiration: Some(validity.expiration),
        unlisted,
        now: situation.now,
    };
    let outcome = Outcome::Kept(validity);
    let (status, next) = judge(situation.status, facts, &outcome);
    let next = next.filter(|_| status == *situation.status)?;
    Some(InOrder {
        next,
        standing: Standing::after(resource, &status, &outcome, Some(next)),
    })
}
