//! One cycle: look, decide, ask AWS, write the Secret, write the status. The doing between the decisions.
//!
//! A cycle owns what it was given and reports what it found. It may be dropped at any await: each write is whole or not there.

mod issue;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, info, warn};

use self::issue::Issue;
use crate::aws::Aws;
use crate::aws::gate::Gate;
use crate::clock::{Clock, Skew};
use crate::cluster::{Cluster, ClusterError};
use crate::refresh::Trigger;
use crate::refresh::event::{Event, event_of};
use crate::refresh::outcome::{Facts, Failure, Outcome, judge, pending};
use crate::refresh::plan::{self, Plan, Situation, plan};
use crate::refresh::schedule::{shifted, since};
use crate::resource::AWSAssumeRoleStatus;
use crate::secret::ownership::{Ownership, ownership};
use crate::secret::{self, ObservedSecret, RenderError, Repair, WantedSecret};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::spans;
use crate::wanted::{ResourceKey, Wanted, Watched};

/// How often a write is tried anew because the Secret changed under it.
const WRITE_ATTEMPTS: usize = 4;

/// What all actors share: the two outside worlds, the time, and the gate before AWS. Each holds its own connections and no state of a
/// resource.
#[derive(Clone)]
pub struct Services {
    /// AWS.
    pub aws: Arc<dyn Aws>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How far AWS's clock is from the operator's.
    pub skew: Skew,
    /// The gate before AWS.
    pub gate: Gate,
    /// What is counted.
    pub metrics: Metrics,
}

impl Services {
    /// The present, by AWS's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        shifted(self.clock.now(), self.skew.get())
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

/// One cycle of one resource.
pub struct Cycle {
    /// AWS, cluster, time and gate.
    pub services: Services,
    /// The resource.
    pub watched: Arc<Watched>,
    /// What set it off.
    pub trigger: Trigger,
    /// What is known of its Secret.
    pub observation: Observation,
    /// The names of Secrets that it controls and does not want.
    pub leftovers: BTreeSet<String>,
    /// The status as it is to be.
    pub status: Status,
    /// The end of credentials whose time to be replaced has come, whatever the clock says now.
    pub overdue: Option<Timestamp>,
    /// When the credentials end that the Secret held when it was last seen.
    pub held_until: Option<Timestamp>,
    /// When AWS was last asked.
    pub asked: Option<Instant>,
    /// Before that AWS is not to be asked again, whatever it answered.
    pub not_before: Option<Instant>,
}

/// A status, and whether the API server has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// What it says.
    pub content: AWSAssumeRoleStatus,
    /// Whether it is stored so.
    pub written: bool,
}

/// What a cycle found and did.
#[derive(Debug)]
pub struct Report {
    /// What is known of the Secret now.
    pub observation: Observation,
    /// The Secrets that are still to be deleted.
    pub leftovers: BTreeSet<String>,
    /// The status now.
    pub status: Status,
    /// The event that it is worth, if it is.
    pub event: Option<Event>,
    /// What came of it.
    pub outcome: Outcome,
    /// When AWS was last asked.
    pub asked: Option<Instant>,
    /// When the next cycle is due.
    pub next: Option<Next>,
}

/// When a cycle is due: by AWS's clock, and by one that never jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// By AWS's clock, as it was known.
    pub at: Timestamp,
    /// By the other.
    pub instant: Instant,
}

impl Status {
    /// Stores it, once. A failure leaves it to be stored later; only a resource that is gone, or another one by now, needs no status more.
    pub async fn write(&mut self, services: &Services, resource: &ResourceKey) {
        let span = spans::status_write();
        let write = services.cluster.write_status(resource, &self.content);
        match write.instrument(span.clone()).await {
            Ok(()) | Err(ClusterError::Gone(_)) => self.written = true,
            Err(error) => {
                spans::failed(&span, (&error).into(), &error);
                warn!("the status was not written: {error}");
            }
        }
    }
}

/// Makes a call to the API server in a span of its own.
async fn in_span<T>(span: Span, call: impl Future<Output = Result<T, ClusterError>>) -> Result<T, ClusterError> {
    let result = call.instrument(span.clone()).await;
    if let Err(error) = &result {
        spans::failed(&span, error.into(), error);
    }
    result
}

impl Cycle {
    /// Runs it to its end.
    pub async fn run(mut self) -> Report {
        let watched = self.watched.clone();
        let outcome = match &watched.wanted {
            Ok(wanted) => {
                let root = Span::current();
                root.record("k8s.secret.name", wanted.secret_name.as_str());
                root.record("aws_assume_role.secret_type", wanted.format.as_ref());
                self.refresh(wanted).await.unwrap_or_else(Outcome::Failed)
            }
            Err(invalid) => Outcome::Failed(invalid.clone().into()),
        };
        match &outcome {
            Outcome::Issued { role_arn, validity, .. } => {
                info!(role_arn, expiration = %validity.expiration, "refreshed");
            }
            Outcome::Kept(validity) | Outcome::Repaired(validity) => {
                info!(expiration = %validity.expiration, "still valid");
            }
            Outcome::Suspended => info!("suspended"),
            Outcome::Failed(Failure::Stopping(stopping)) => debug!("{stopping}"),
            Outcome::Failed(failure) => warn!(reason = %failure.reason(), "not refreshed: {failure}"),
        }

        let facts = self.facts();
        let (status, next) = judge(&self.status.content, facts, &outcome);
        let next = next.map(|at| Next {
            at,
            instant: Instant::now() + since(facts.now, at),
        });
        if let Some(next) = next {
            Span::current().record("aws_assume_role.next_refresh_time", next.at.to_string());
        }
        let event = self.event(&outcome);
        // An operator that is stopping has nothing to say of a resource.
        if !matches!(outcome, Outcome::Failed(Failure::Stopping(_))) {
            self.show(status).await;
        }
        Report {
            observation: self.observation,
            leftovers: self.leftovers,
            status: self.status,
            event,
            outcome,
            asked: self.asked,
            next,
        }
    }

    async fn refresh(&mut self, wanted: &Wanted) -> Result<Outcome, Failure> {
        if wanted.suspend {
            self.look_for_the_record(wanted).await;
            return Ok(Outcome::Suspended);
        }
        let mut issue: Option<Issue> = None;
        for _ in 0..WRITE_ATTEMPTS {
            let observed = self.observe(wanted).await?;
            let over = match plan(self.situation(wanted), observed.as_deref()) {
                Plan::Suspended => return Ok(Outcome::Suspended),
                // What is in the way now may be gone at the next look.
                Plan::Foreign(holder) => {
                    self.observation = Observation::Unknown;
                    let secret = wanted.secret_name.clone();
                    return Err(Failure::SecretConflict { secret, holder });
                }
                Plan::Leaving => {
                    self.observation = Observation::Unknown;
                    return Err(Failure::SecretLeaving(wanted.secret_name.clone()));
                }
                Plan::Keep(validity) => {
                    self.delete_leftovers(wanted).await?;
                    return Ok(Outcome::Kept(validity));
                }
                Plan::Repair(validity) => {
                    if self.repair(wanted, observed.as_deref()).await? {
                        self.delete_leftovers(wanted).await?;
                        return Ok(Outcome::Repaired(validity));
                    }
                    continue;
                }
                Plan::Create | Plan::Replace => observed,
            };
            let fresh = match issue.take() {
                Some(fresh) => fresh,
                None => {
                    self.announce().await;
                    self.ask(wanted).await?
                }
            };
            let secret = self.secret(wanted, &fresh)?;
            if self.write(&secret, over.as_deref()).await? {
                self.held_until = Some(fresh.validity.expiration);
                self.delete_leftovers(wanted).await?;
                return Ok(Outcome::Issued {
                    role_arn: fresh.role_arn,
                    validity: fresh.validity,
                    notes: fresh.notes,
                });
            }
            issue = Some(fresh);
        }
        Err(ClusterError::Changed(format!("Secret {} keeps changing", wanted.secret_name)).into())
    }

    fn secret(&self, wanted: &Wanted, fresh: &Issue) -> Result<WantedSecret, RenderError> {
        let facts = secret::Facts {
            role_arn: &fresh.role_arn,
            region: wanted.region.as_deref().unwrap_or_else(|| self.services.aws.region()),
            expiration: fresh.validity.expiration,
        };
        let request = self.watched.refresh_request.as_deref();
        WantedSecret::new(&self.watched.key, wanted, &fresh.material, facts, request)
    }

    fn situation<'a>(&'a self, wanted: &'a Wanted) -> Situation<'a> {
        Situation {
            resource: &self.watched.key,
            wanted,
            refresh_request: self.watched.refresh_request.as_deref(),
            status: &self.status.content,
            overdue: self.overdue,
            now: self.services.now(),
        }
    }

    /// What is known of the Secret, looked up if nothing is.
    async fn observe(&mut self, wanted: &Wanted) -> Result<Option<Arc<ObservedSecret>>, Failure> {
        let known = match &self.observation {
            Observation::Seen(secret) => secret.clone(),
            Observation::Unknown => {
                let namespace = &self.watched.key.namespace;
                let look = self.services.cluster.observe_secret(namespace, &wanted.secret_name);
                let seen = in_span(spans::secret_read(&wanted.secret_name), look).await?;
                let seen = seen.map(Arc::new);
                self.observation = Observation::Seen(seen.clone());
                seen
            }
        };
        let held = known
            .as_ref()
            .filter(|secret| ownership(secret, &self.watched.key) == Ownership::Ours);
        self.held_until = held
            .and_then(|secret| plan::held(self.situation(wanted), secret))
            .map(|validity| validity.expiration);
        Ok(known)
    }

    /// Looks at the Secret of a suspended resource, whose end is worth telling. It is not worth failing for.
    async fn look_for_the_record(&mut self, wanted: &Wanted) {
        if let Err(failure) = self.observe(wanted).await {
            warn!("the Secret of a suspended resource could not be looked at: {failure}");
        }
    }

    /// Writes the Secret over what was seen. `false` when it is not as it was seen any more, and has to be looked at again.
    async fn write(&mut self, secret: &WantedSecret, over: Option<&ObservedSecret>) -> Result<bool, Failure> {
        let cluster = &self.services.cluster;
        let written = match over {
            None => in_span(spans::secret_write(&secret.name, "POST"), cluster.create_secret(secret)).await,
            Some(over) => {
                let replace = cluster.replace_secret(secret, over);
                in_span(spans::secret_write(&secret.name, "PUT"), replace).await
            }
        };
        // Until the answer is understood, nothing is known: a write may be done although its answer was lost.
        self.observation = Observation::Unknown;
        match (written, over) {
            (Ok(seen), _) => {
                self.observation = Observation::Seen(Some(Arc::new(seen)));
                Ok(true)
            }
            (Err(ClusterError::Immutable(_)), Some(over)) => {
                let namespace = &self.watched.key.namespace;
                let delete = cluster.delete_secret(namespace, &secret.name, over);
                match in_span(spans::secret_delete(&secret.name), delete).await {
                    Ok(()) | Err(ClusterError::Changed(_)) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
            (Err(ClusterError::Changed(_)), _) | (Err(ClusterError::Gone(_)), Some(_)) => Ok(false),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Puts right what is wrong on the Secret beside its credentials. `false` when it is not as it was seen any more.
    async fn repair(&mut self, wanted: &Wanted, over: Option<&ObservedSecret>) -> Result<bool, Failure> {
        let Some(over) = over else {
            return Ok(false);
        };
        let repair = Repair::new(&self.watched.key, wanted, over);
        self.observation = Observation::Unknown;
        let patch = self.services.cluster.repair_secret(&repair, over);
        match in_span(spans::secret_write(&wanted.secret_name, "PATCH"), patch).await {
            Ok(seen) => {
                info!(secret = wanted.secret_name, "repaired");
                self.observation = Observation::Seen(Some(Arc::new(seen)));
                Ok(true)
            }
            Err(ClusterError::Changed(_) | ClusterError::Gone(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the Secrets of earlier names, once the one that is wanted is there.
    async fn delete_leftovers(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        self.leftovers.extend(self.status.content.secret_name.clone());
        self.leftovers.remove(&wanted.secret_name);
        let cluster = &self.services.cluster;
        let namespace = &self.watched.key.namespace;
        while let Some(name) = self.leftovers.first().cloned() {
            let look = cluster.observe_secret(namespace, &name);
            if let Some(secret) = in_span(spans::secret_read(&name), look).await?
                && ownership(&secret, &self.watched.key) == Ownership::Ours
            {
                let delete = cluster.delete_secret(namespace, &name, &secret);
                in_span(spans::secret_delete(&name), delete).await?;
                info!(secret = name, "deleted, since it is not wanted any more");
            }
            self.leftovers.remove(&name);
        }
        Ok(())
    }

    /// Says of a resource that carries no status of this operator that it is being worked on: AWS may take its time.
    async fn announce(&mut self) {
        if self.status.content.observed_generation.is_none() {
            let status = pending(&self.status.content, self.facts());
            self.show(status).await;
        }
    }

    /// Writes the status if it says something new.
    async fn show(&mut self, status: AWSAssumeRoleStatus) {
        if status == self.status.content && self.status.written {
            return;
        }
        self.status = Status {
            content: status,
            written: false,
        };
        self.status.write(&self.services, &self.watched.key).await;
    }

    /// The event that an outcome is worth, as long as the status is still that of before.
    fn event(&self, outcome: &Outcome) -> Option<Event> {
        let secret = self.watched.wanted.as_ref().map_or("", |wanted| &wanted.secret_name);
        event_of(
            &self.status.content,
            self.watched.generation,
            self.trigger,
            outcome,
            secret,
        )
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            resource: &self.watched.key,
            generation: self.watched.generation,
            wanted: self.watched.wanted.as_ref().ok(),
            held_until: self.held_until,
            now: self.services.now(),
        }
    }
}
