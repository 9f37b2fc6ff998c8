//! One cycle: look at the Secret, decide, ask AWS, write the Secret, write the status. The doing between the decisions.
//!
//! A cycle takes a [`Memory`] and gives one back. It may be dropped at any await: each write is whole or not there.

mod ask;
mod memory;
mod policy;
mod secret;
mod session;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::{Span, debug, info, warn};

use self::memory::Unwritten;
use self::policy::Withdrawn;
use super::context::Context;
use crate::api::AWSAssumeRoleStatus;
use crate::aws::Region;
use crate::cluster::{ClusterError, Event};
use crate::refresh::Trigger;
use crate::refresh::events::event_of;
use crate::refresh::outcome::{Failure, Outcome};
use crate::refresh::plan::{IssueReason, Plan, Situation, expiration_by_status, plan};
use crate::refresh::schedule::since;
use crate::refresh::standing::WentBy;
use crate::refresh::status::{Facts, judge, pending};
use crate::secret::ObservedSecret;
use crate::spec::{Resource, ResourceKey, Spec};
pub use memory::{Memory, Next, Observation, Status};

/// A new resource whose credentials take longer is said to be worked on. Usually they are there before that could be written.
const PENDING_AFTER: Duration = Duration::from_millis(500);

/// How often a write is tried because what it is about changed under it.
const WRITE_ATTEMPTS: usize = 4;

/// One cycle of one resource.
pub struct Cycle {
    context: Context,
    resource: Arc<Resource>,
    trigger: Trigger,
    memory: Memory,
    /// The operator's own Region.
    own_region: Region,
    /// When the credentials end that the Secret held when it was last seen.
    current_expiration: Option<Timestamp>,
    /// Whether it may have its role only since no policy names its namespace.
    unlisted: bool,
    /// What it takes for granted of the policies.
    went_by: WentBy,
}

/// What came of a cycle.
#[derive(Debug)]
pub struct Report {
    /// What is remembered now.
    pub memory: Memory,
    /// The event that it is worth, if any.
    pub event: Option<Event>,
    /// What came of it.
    pub outcome: Outcome,
    /// What it took for granted of the policies.
    pub went_by: WentBy,
}

impl Status {
    /// The resource was seen so. What is seen may be older than what was written.
    pub fn see(&mut self, resource: &Resource) {
        self.over = self.over.max(resource.version);
    }

    /// Stores it. A failure leaves it to be stored later. A resource that is gone, or another one by now, needs no status.
    pub async fn write(&mut self, context: &Context, resource: &ResourceKey) {
        match self.try_write(context, resource).await {
            Ok(()) | Err(ClusterError::Gone(_)) => self.written = true,
            Err(error) => warn!("the status was not written: {error}"),
        }
    }

    /// Whoever changes something else on the resource does not keep the status from being written.
    async fn try_write(&mut self, context: &Context, resource: &ResourceKey) -> Result<(), ClusterError> {
        let cluster = &context.cluster;
        for _ in 1..WRITE_ATTEMPTS {
            match cluster.write_status(resource, &self.content, self.over).await {
                Err(ClusterError::Changed(_)) => self.over = cluster.resource_version(resource).await?,
                written => {
                    self.over = written?;
                    return Ok(());
                }
            }
        }
        self.over = cluster.write_status(resource, &self.content, self.over).await?;
        Ok(())
    }
}

impl Cycle {
    /// A cycle over a resource and what is remembered of it.
    #[must_use]
    pub fn new(context: Context, resource: Arc<Resource>, trigger: Trigger, memory: Memory) -> Box<Self> {
        let status = &memory.status.content;
        let spec = resource.spec.as_ref().ok();
        Box::new(Self {
            current_expiration: spec.and_then(|spec| expiration_by_status(status, resource.generation, spec)),
            own_region: context.aws.region(),
            context,
            resource,
            trigger,
            memory,
            unlisted: false,
            went_by: WentBy::Nothing,
        })
    }

    /// Runs it to its end. What comes before and after the call to AWS lies in boxes of its own: ten thousand cycles may wait for that call
    /// at the same time.
    pub async fn run(mut self: Box<Self>) -> Report {
        let resource = self.resource.clone();
        let outcome = match &resource.spec {
            Ok(spec) => {
                let root = Span::current();
                root.record("k8s.secret.name", spec.secret_name.as_str());
                root.record("aws_assume_role.secret_type", spec.format.as_ref());
                let announcement = self.announcement(spec);
                let (refreshed, announced) = beside(self.refresh(spec), announcement).await;
                if let Some(status) = announced {
                    self.memory.status = status;
                }
                match refreshed {
                    Ok(outcome) => {
                        // What could not be written is in the Secret now, or not needed any more.
                        self.memory.unwritten = None;
                        outcome
                    }
                    Err(failure) => Outcome::Failed(failure),
                }
            }
            Err(invalid) => Outcome::Failed(invalid.clone().into()),
        };
        log(&outcome);
        let facts = self.facts();
        let (status, next) = judge(&self.memory.status.content, facts, &outcome);
        self.memory.next = next.map(|at| Next {
            at,
            instant: Instant::now() + since(facts.now, at),
        });
        if let Some(next) = next {
            Span::current().record("aws_assume_role.next_refresh_time", next.to_string());
        }
        let secret_name = resource.secret_name().unwrap_or_default();
        let event = event_of(&self.memory.status.content, &outcome, secret_name);
        // An operator that is stopping has nothing to say of a resource, and neither has one of a resource that is about to go.
        if !matches!(
            outcome,
            Outcome::Failed(Failure::Stopping(_) | Failure::NamespaceTerminating)
        ) {
            self.show(status).await;
        }
        Report {
            memory: self.memory,
            event,
            outcome,
            went_by: self.went_by,
        }
    }

    async fn refresh(&mut self, spec: &Spec) -> Result<Outcome, Failure> {
        for _ in 0..WRITE_ATTEMPTS {
            let (observed, unseen) = match self.observe(spec).await {
                Err(failure) if spec.suspend => (None, Some(failure)),
                observed => (observed?, None),
            };
            if let Some(denial) = self.denial(spec).await {
                // What is not seen cannot be withdrawn.
                if let Some(failure) = unseen {
                    return Err(failure);
                }
                match Box::pin(self.withdraw(spec, observed.as_deref())).await? {
                    None => continue,
                    Some(Withdrawn { live_until }) if spec.suspend => return Ok(Outcome::Suspended(live_until)),
                    Some(Withdrawn { live_until }) => return Err(Failure::PolicyDenied { denial, live_until }),
                }
            }
            if let Some(failure) = unseen {
                warn!("the Secret of a suspended resource could not be looked at: {failure}");
            }
            let why = match plan(self.situation(spec), observed.as_deref()) {
                Plan::Suspended => return Ok(Outcome::Suspended(None)),
                // What is in the way now may be gone at the next look.
                Plan::Foreign(holder) => {
                    self.memory.observation = Observation::Unknown;
                    let secret = spec.secret_name.clone();
                    return Err(Failure::SecretConflict { secret, holder });
                }
                Plan::Terminating => {
                    self.memory.observation = Observation::Unknown;
                    return Err(Failure::SecretTerminating(spec.secret_name.clone()));
                }
                Plan::Collect => {
                    self.collect(spec, observed.as_deref()).await?;
                    continue;
                }
                Plan::Keep(validity) => {
                    Box::pin(self.delete_leftovers(spec)).await;
                    return Ok(Outcome::Kept(validity));
                }
                Plan::Repair(validity, why) => {
                    if Box::pin(self.repair(spec, observed.as_deref())).await? {
                        info!(secret = spec.secret_name, %why, "repaired");
                        Box::pin(self.delete_leftovers(spec)).await;
                        return Ok(Outcome::Repaired(validity, why));
                    }
                    continue;
                }
                Plan::Issue(why) => why,
            };
            let Some(unwritten) = self.credentials(spec, why, observed.as_deref()).await? else {
                continue;
            };
            let secret = Box::pin(self.secret(spec, &unwritten)).await?;
            if Box::pin(self.write(&secret, observed.as_deref())).await? {
                let issued = &unwritten.issued;
                self.current_expiration = Some(issued.validity.expiration);
                Box::pin(self.delete_leftovers(spec)).await;
                return Ok(Outcome::Issued {
                    why: issued.why,
                    role_arn: issued.role_arn.clone(),
                    validity: issued.validity,
                    notes: issued.notes.clone(),
                });
            }
        }
        Err(ClusterError::Changed(format!("Secret {} keeps changing", spec.secret_name)).into())
    }

    /// Credentials to write: those that could not be written before, as long as they serve, or else fresh ones.
    async fn credentials(
        &mut self,
        spec: &Spec,
        why: IssueReason,
        observed: Option<&ObservedSecret>,
    ) -> Result<Option<Arc<Unwritten>>, Failure> {
        let now = self.context.now();
        if let Some(unwritten) = &self.memory.unwritten
            && unwritten.serves(&self.resource, spec, now)
        {
            return Ok(Some(unwritten.clone()));
        }
        self.memory.unwritten = None;
        Box::pin(self.check_templates(spec)).await?;
        if why == IssueReason::Deleted {
            self.check_namespace(spec).await?;
        }
        let Some(issued) = self.ask(spec, why, observed).await? else {
            return Ok(None);
        };
        let unwritten = Arc::new(Unwritten::new(&self.resource, spec, issued));
        self.memory.unwritten = Some(unwritten.clone());
        Ok(Some(unwritten))
    }

    fn situation<'a>(&'a self, spec: &'a Spec) -> Situation<'a> {
        Situation {
            region: self.own_region.is_known().then_some(&*self.own_region.name),
            resource: &self.resource.key,
            generation: self.resource.generation,
            spec,
            refresh_request: self.resource.refresh_request.as_deref(),
            status: &self.memory.status.content,
            overdue: self.memory.overdue,
            now: self.context.now(),
        }
    }

    /// Says of a resource that carries no status of this operator, and has no credentials, that it is being worked on.
    fn announcement(&self, spec: &Spec) -> Option<Pin<Box<impl Future<Output = Status> + Send + 'static>>> {
        let before = &self.memory.status.content;
        if before.observed_generation.is_some() || self.current_expiration.is_some() || spec.suspend {
            return None;
        }
        let mut status = Status {
            content: pending(before, self.facts()),
            written: false,
            over: self.memory.status.over,
        };
        let (context, resource) = (self.context.clone(), self.resource.key.clone());
        Some(Box::pin(async move {
            status.write(&context, &resource).await;
            status
        }))
    }

    /// Writes the status if it says something new.
    async fn show(&mut self, status: AWSAssumeRoleStatus) {
        if status == self.memory.status.content && self.memory.status.written {
            return;
        }
        self.memory.status.content = status;
        self.memory.status.written = false;
        self.memory.status.write(&self.context, &self.resource.key).await;
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            resource: &self.resource.key,
            generation: self.resource.generation,
            spec: self.resource.spec.as_ref().ok(),
            current_expiration: self.current_expiration,
            unlisted: self.unlisted,
            now: self.context.now(),
        }
    }
}

/// Does some work, and announces it beside that if it takes a while. An announcement that has begun is finished: two writes of one status
/// must not overtake each other.
async fn beside<T, S>(
    work: impl Future<Output = T> + Send,
    announcement: Option<impl Future<Output = S> + Send>,
) -> (T, Option<S>) {
    let Some(announcement) = announcement else {
        return (work.await, None);
    };
    let mut work = pin!(work);
    match timeout(PENDING_AFTER, &mut work).await {
        Ok(done) => (done, None),
        Err(_) => {
            let (done, announced) = tokio::join!(work, announcement);
            (done, Some(announced))
        }
    }
}

fn log(outcome: &Outcome) {
    match outcome {
        Outcome::Issued {
            why,
            role_arn,
            validity,
            ..
        } => {
            info!(role_arn, %why, expiration = %validity.expiration, "refreshed");
        }
        Outcome::Kept(validity) | Outcome::Repaired(validity, _) => {
            info!(expiration = %validity.expiration, "still valid");
        }
        Outcome::Suspended(_) => info!("suspended"),
        Outcome::Failed(failure @ (Failure::Stopping(_) | Failure::NamespaceTerminating)) => debug!("{failure}"),
        Outcome::Failed(failure) => warn!(reason = %failure.reason(), "not refreshed: {failure}"),
    }
}

#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod registry_tests;
#[cfg(test)]
mod service_account_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trouble_tests;
