//! What a cycle does to Secrets: it looks at them, writes them, repairs them, deletes those that are not wanted any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::memory::Unwritten;
use super::{Cycle, Observation};
use crate::aws::gate::GateClosed;
use crate::cluster::ClusterError;
use crate::operator::renderer::Unfinished;
use crate::refresh::outcome::Failure;
use crate::refresh::plan::current_expiration;
use crate::secret::ownership::{Ownership, ownership};
use crate::secret::{DesiredSecret, ObservedSecret, RenderError, Repair};
use crate::spec::template::{self, TemplateError, Variables};
use crate::spec::{Format, Spec};

/// How long templates may take, the wait for their turn included. What they may do takes a fraction of a second.
const RENDER_TIMEOUT: Duration = Duration::from_secs(30);

impl Cycle {
    /// What is known of the Secret, looked up if nothing is.
    pub(super) async fn observe(&mut self, spec: &Spec) -> Result<Option<Arc<ObservedSecret>>, Failure> {
        let known = match &self.memory.observation {
            Observation::Seen(secret) => secret.clone(),
            Observation::Unknown => {
                let namespace = &self.resource.key.namespace;
                let look = self.context.cluster.observe_secret(namespace, &spec.secret_name);
                let mut seen = look.await?;
                if let Some(seen) = &mut seen {
                    seen.forged = self.memory.is_forged(seen);
                }
                let seen = seen.map(Arc::new);
                self.memory.observation = Observation::Seen(seen.clone());
                seen
            }
        };
        self.current_expiration = current_expiration(self.situation(spec), known.as_deref());
        Ok(known)
    }

    /// The Secret as it is to be.
    pub(super) async fn secret(&self, spec: &Spec, unwritten: &Arc<Unwritten>) -> Result<DesiredSecret, Failure> {
        let own_region = self.own_region.clone();
        let (resource, unwritten) = (self.resource.clone(), unwritten.clone());
        let rendered = move || {
            let issued = &unwritten.issued;
            // It is the spec that this cycle works on, so it can be read.
            let spec = resource.spec.as_ref().map_err(|_| RenderError::Mismatch)?;
            let variables = Variables {
                role_arn: &issued.role_arn,
                region: spec.region.as_deref().unwrap_or(&own_region.name),
                expiration: issued.validity.expiration,
            };
            let request = resource.refresh_request.as_deref();
            DesiredSecret::new(&resource.key, spec, &issued.material, variables, request)
        };
        match &spec.format {
            Format::Template(_) => Ok(self.render(rendered).await??),
            _ => Ok(rendered()?),
        }
    }

    /// Checks the templates of a spec, once for each generation, before AWS is asked.
    pub(super) async fn check_templates(&mut self, spec: &Spec) -> Result<(), Failure> {
        let Format::Template(template) = &spec.format else {
            return Ok(());
        };
        let generation = self.resource.generation;
        let result = match &self.memory.checked {
            Some((checked, result)) if *checked == generation => result.clone(),
            _ => {
                let template = template.clone();
                let result = self.render(move || template::check(&template)).await?;
                self.memory.checked = Some((generation, result.clone()));
                result
            }
        };
        result.map_err(|error| Failure::Render(error.into()))
    }

    /// Does some work with templates away from the runtime.
    async fn render<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let namespace = &self.resource.key.namespace;
        let work = self.context.renderer.run(namespace, work);
        match timeout(RENDER_TIMEOUT, work).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(Unfinished)) if self.context.renderer.is_gone() => Err(GateClosed.into()),
            Ok(Err(Unfinished)) | Err(_) => Err(Failure::Render(TemplateError::Unfinished.into())),
        }
    }

    /// Whether the namespace takes a Secret: one that is being deleted has its Secrets deleted, and takes no new one. AWS is not asked for
    /// what cannot be written.
    pub(super) async fn check_namespace(&self, spec: &Spec) -> Result<(), Failure> {
        let namespace = &self.resource.key.namespace;
        let probe = self.context.cluster.probe_secret(namespace, &spec.secret_name);
        match probe.await {
            Err(ClusterError::Terminating(_)) => Err(Failure::NamespaceTerminating),
            // Whatever else is wrong shows when it is written.
            _ => Ok(()),
        }
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
                self.memory.forged = None;
                self.wrote(seen);
                Ok(true)
            }
            (Err(ClusterError::Immutable(_)), Some(over)) => self.make_room(&secret.name, over).await,
            (Err(ClusterError::Changed(_)), _) | (Err(ClusterError::Gone(_)), Some(_)) => Ok(false),
            (Err(ClusterError::Terminating(_)), _) => Err(Failure::NamespaceTerminating),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The Secret was written, and is so now.
    pub(super) fn wrote(&mut self, seen: ObservedSecret) {
        self.memory.last_write = Some(Instant::now());
        self.memory.observation = Observation::Seen(Some(Arc::new(seen)));
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
                self.wrote(seen);
                Ok(true)
            }
            Err(ClusterError::Immutable(_)) => self.make_room(&spec.secret_name, over).await,
            Err(ClusterError::Changed(_) | ClusterError::Gone(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a Secret that can only be made anew. It has to be looked at again in any case.
    async fn make_room(&self, name: &str, over: &ObservedSecret) -> Result<bool, Failure> {
        let namespace = &self.resource.key.namespace;
        match self.context.cluster.delete_secret(namespace, name, over).await {
            Ok(()) | Err(ClusterError::Changed(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the Secret of an earlier resource of the same name, if that one is gone for certain: if the API server says, after the Secret
    /// was seen, that the resource of that name is this one.
    pub(super) async fn collect(&mut self, spec: &Spec, over: Option<&ObservedSecret>) -> Result<(), Failure> {
        self.memory.observation = Observation::Unknown;
        let terminating = || Failure::SecretTerminating(spec.secret_name.clone());
        let over = over.ok_or_else(terminating)?;
        match self.context.cluster.resource_version(&self.resource.key).await {
            Ok(_) => {}
            Err(ClusterError::Gone(_)) => return Err(terminating()),
            Err(error) => return Err(error.into()),
        }
        self.make_room(&spec.secret_name, over).await?;
        info!(
            secret = spec.secret_name,
            "deleted, since an earlier resource of the same name left it"
        );
        Ok(())
    }

    /// Deletes the Secrets of earlier names, once the one that is wanted is there. What cannot be deleted is remembered.
    pub(super) async fn delete_leftovers(&mut self, spec: &Spec) {
        self.memory
            .leftovers
            .extend(self.memory.status.content.secret_name.clone());
        self.memory.leftovers.remove(&spec.secret_name);
        for name in self.memory.leftovers.clone() {
            match self.delete_leftover(&name).await {
                Ok(()) => {
                    self.memory.leftovers.remove(&name);
                }
                Err(error) => warn!(
                    secret = name,
                    "it is not wanted any more, and could not be deleted: {error}"
                ),
            }
        }
    }

    async fn delete_leftover(&self, name: &str) -> Result<(), ClusterError> {
        let cluster = &self.context.cluster;
        let namespace = &self.resource.key.namespace;
        if let Some(secret) = cluster.observe_secret(namespace, name).await?
            && ownership(&secret, &self.resource.key) == Ownership::Ours
        {
            cluster.delete_secret(namespace, name, &secret).await?;
            info!(secret = name, "deleted, since it is not wanted any more");
        }
        Ok(())
    }
}
