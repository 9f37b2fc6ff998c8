//! What a cycle does to Secrets: it looks at them, writes them, repairs them, deletes those that are not wanted any more.

use std::sync::Arc;

use tracing::info;

use super::ask::IssuedCredentials;
use super::{Cycle, Observation};
use crate::cluster::ClusterError;
use crate::refresh::outcome::Failure;
use crate::refresh::plan::current_expiration;
use crate::secret::ownership::{Ownership, ownership};
use crate::secret::{DesiredSecret, ObservedSecret, RenderError, Repair};
use crate::spec::Spec;
use crate::spec::template::Variables;

impl Cycle {
    /// What is known of the Secret, looked up if nothing is.
    pub(super) async fn observe(&mut self, spec: &Spec) -> Result<Option<Arc<ObservedSecret>>, Failure> {
        let known = match &self.memory.observation {
            Observation::Seen(secret) => secret.clone(),
            Observation::Unknown => {
                let namespace = &self.resource.key.namespace;
                let look = self.context.cluster.observe_secret(namespace, &spec.secret_name);
                let seen = look.await?.map(Arc::new);
                self.memory.observation = Observation::Seen(seen.clone());
                seen
            }
        };
        self.current_expiration = current_expiration(self.situation(spec), known.as_deref());
        Ok(known)
    }

    /// The Secret as it is to be.
    pub(super) fn secret(&self, spec: &Spec, issued: &IssuedCredentials) -> Result<DesiredSecret, RenderError> {
        let own_region = self.context.aws.region();
        let variables = Variables {
            role_arn: &issued.role_arn,
            region: spec.region.as_deref().unwrap_or(&own_region.name),
            expiration: issued.validity.expiration,
        };
        let request = self.resource.refresh_request.as_deref();
        DesiredSecret::new(&self.resource.key, spec, &issued.material, variables, request)
    }

    /// Writes the Secret over what was seen. `false` when it is not as it was seen any more, and has to be looked at again.
    pub(super) async fn write(
        &mut self,
        secret: &DesiredSecret,
        over: Option<&ObservedSecret>,
    ) -> Result<bool, Failure> {
        let cluster = &self.context.cluster;
        let written = match over {
            None => cluster.create_secret(secret).await,
            Some(over) => cluster.replace_secret(secret, over).await,
        };
        // Until the answer is understood, nothing is known: a write may be done although its answer was lost.
        self.memory.observation = Observation::Unknown;
        match (written, over) {
            (Ok(seen), _) => {
                self.memory.observation = Observation::Seen(Some(Arc::new(seen)));
                Ok(true)
            }
            (Err(ClusterError::Immutable(_)), Some(over)) => {
                let namespace = &self.resource.key.namespace;
                match cluster.delete_secret(namespace, &secret.name, over).await {
                    Ok(()) | Err(ClusterError::Changed(_)) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
            (Err(ClusterError::Changed(_)), _) | (Err(ClusterError::Gone(_)), Some(_)) => Ok(false),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Puts right what is wrong on the Secret beside its credentials. `false` when it is not as it was seen any more.
    pub(super) async fn repair(&mut self, spec: &Spec, over: Option<&ObservedSecret>) -> Result<bool, Failure> {
        let Some(over) = over else {
            return Ok(false);
        };
        let repair = Repair::new(&self.resource.key, spec, over);
        self.memory.observation = Observation::Unknown;
        match self.context.cluster.repair_secret(&repair, over).await {
            Ok(seen) => {
                self.memory.observation = Observation::Seen(Some(Arc::new(seen)));
                Ok(true)
            }
            Err(ClusterError::Changed(_) | ClusterError::Gone(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the Secrets of earlier names, once the one that is wanted is there.
    pub(super) async fn delete_leftovers(&mut self, spec: &Spec) -> Result<(), Failure> {
        let leftovers = &mut self.memory.leftovers;
        leftovers.extend(self.memory.status.content.secret_name.clone());
        leftovers.remove(&spec.secret_name);
        let cluster = &self.context.cluster;
        let namespace = &self.resource.key.namespace;
        while let Some(name) = leftovers.first().cloned() {
            if let Some(secret) = cluster.observe_secret(namespace, &name).await?
                && ownership(&secret, &self.resource.key) == Ownership::Ours
            {
                cluster.delete_secret(namespace, &name, &secret).await?;
                info!(secret = name, "deleted, since it is not wanted any more");
            }
            leftovers.remove(&name);
        }
        Ok(())
    }
}
