//! What the policies say of a cycle, and what it does to a Secret whose role is not permitted.

use k8s_openapi::jiff::Timestamp;
use tracing::{debug, info};

use super::ask::refused;
use super::{Cycle, Observation};
use crate::aws::AwsError;
use crate::cluster::ClusterError;
use crate::operator::context::Context;
use crate::refresh::outcome::Failure;
use crate::refresh::policy::{Denial, Ruling};
use crate::refresh::standing::WentBy;
use crate::refresh::withdrawal::{WhenWithdrawn, Withdrawal, withdrawal};
use crate::secret::{ObservedSecret, Repair};
use crate::spec::Spec;

/// The Secret of a role that is not permitted is as it should be.
pub(super) struct Withdrawn {
    /// When the last credentials end that were issued, if they have not ended.
    pub(super) live_until: Option<Timestamp>,
}

/// What is taken for granted by a ruling.
fn by(ruling: &Result<Ruling, AwsError>) -> WentBy {
    match ruling {
        Ok(Ruling::Permitted | Ruling::Unlisted) => WentBy::Permission,
        Ok(Ruling::Denied(_)) => WentBy::Refusal,
        Ok(Ruling::Held(_)) | Err(_) => WentBy::Unknown,
    }
}

impl Cycle {
    /// What the policies say.
    async fn ruling(&self, spec: &Spec) -> Result<Ruling, AwsError> {
        let Context { aws, boundary, .. } = &self.context;
        boundary.ask(&**aws, &self.resource.key.namespace, spec).await
    }

    /// Why the role is not permitted, if that is known. What is not known takes nothing away: it is asked again before AWS is.
    pub(super) async fn denial(&mut self, spec: &Spec) -> Option<Denial> {
        let ruling = self.ruling(spec).await;
        self.unlisted = matches!(ruling, Ok(Ruling::Unlisted));
        self.went_by = by(&ruling);
        match ruling {
            Ok(Ruling::Denied(denial)) => Some(denial),
            Ok(Ruling::Permitted | Ruling::Unlisted) => None,
            Ok(Ruling::Held(why)) => {
                debug!("what the policies say is not known: {why}");
                None
            }
            Err(error) => {
                debug!("what the policies say is not known: {error}");
                None
            }
        }
    }

    /// Whether AWS may be asked.
    pub(super) async fn check_permission(&mut self, spec: &Spec) -> Result<(), Failure> {
        let ruling = self.ruling(spec).await;
        self.went_by = by(&ruling);
        match ruling.map_err(|error| refused(error, &*self.context.clock))? {
            Ruling::Permitted | Ruling::Unlisted => Ok(()),
            Ruling::Held(why) => Err(Failure::PoliciesUnknown(why)),
            Ruling::Denied(denial) => {
                let now = self.context.now();
                let live_until = self.current_expiration.filter(|end| *end > now);
                Err(Failure::PolicyDenied { denial, live_until })
            }
        }
    }

    /// Does to the Secret what is to be done when its role is not permitted. Nothing, if it has to be looked at again first.
    pub(super) async fn withdraw(
        &mut self,
        spec: &Spec,
        observed: Option<&ObservedSecret>,
    ) -> Result<Option<Withdrawn>, Failure> {
        self.memory.unwritten = None;
        let now = self.context.now();
        let by_status = self.memory.status.content.expiration.as_ref().map(|end| end.0);
        let by_secret = observed.and_then(ObservedSecret::expiration);
        let live_until = by_status.max(by_secret).filter(|end| *end > now);
        let when = self.context.boundary.tenancy.when_withdrawn;
        let done = match (withdrawal(when, &self.resource.key, observed, now), observed) {
            (Withdrawal::Empty, Some(secret)) => self.empty(spec, secret).await?,
            (Withdrawal::Delete, Some(secret)) => self.delete_withdrawn(secret).await?,
            _ => true,
        };
        if !done {
            return Ok(None);
        }
        // Those of earlier names hold no other credentials.
        if when == WhenWithdrawn::Delete || live_until.is_none() {
            self.delete_leftovers(spec).await;
        }
        Ok(Some(Withdrawn { live_until }))
    }

    /// Takes the credentials out of the Secret. `false` when it is not as it was seen any more.
    async fn empty(&mut self, spec: &Spec, over: &ObservedSecret) -> Result<bool, Failure> {
        let emptying = Repair::emptying(spec, over);
        self.memory.observation = Observation::Unknown;
        match self.context.cluster.repair_secret(&emptying, over).await {
            Ok(seen) => {
                self.wrote(seen);
                self.current_expiration = None;
                info!(secret = emptying.name, "emptied, since its role is not permitted");
                Ok(true)
            }
            Err(ClusterError::Changed(_) | ClusterError::Gone(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_withdrawn(&mut self, over: &ObservedSecret) -> Result<bool, Failure> {
        let namespace = &self.resource.key.namespace;
        self.memory.observation = Observation::Unknown;
        match self.context.cluster.delete_secret(namespace, over.name(), over).await {
            Ok(()) => {
                self.memory.observation = Observation::Seen(None);
                self.current_expiration = None;
                info!(secret = over.name(), "deleted, since its role is not permitted");
                Ok(true)
            }
            Err(ClusterError::Changed(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
