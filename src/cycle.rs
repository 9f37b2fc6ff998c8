//! One cycle: look, decide, ask AWS, write the Secret, write the status. The doing between the decisions.
//!
//! A cycle owns what it was given and reports what it found. It may be dropped at any await: each write is whole or not there.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use tracing::{info, warn};

use crate::aws::{AssumeRole, Aws, AwsError};
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterError};
use crate::refresh::advice::{self, CHAINED_SESSION_MAX};
use crate::refresh::outcome::{Facts, Failure, Outcome, judge, pending};
use crate::refresh::plan::{Plan, held, plan};
use crate::refresh::schedule::{Believed, Validity, believed};
use crate::resource::AWSAssumeRoleStatus;
use crate::secret::ownership::{Ownership, ownership};
use crate::secret::{Material, ObservedSecret, WantedSecret};
use crate::wanted::{Format, InvalidSpec, ResourceKey, Wanted};

/// How often a write is tried anew because the Secret changed under it.
const WRITE_ATTEMPTS: usize = 4;

/// What all actors share: the two outside worlds and the time. Each holds its own connections and no state of a resource.
#[derive(Clone)]
pub struct Services {
    /// AWS.
    pub aws: Arc<dyn Aws>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What is known of the Secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// Nothing: it must be looked at.
    Unknown,
    /// It was seen so, or seen not to be there.
    Seen(Option<Box<ObservedSecret>>),
}

/// One cycle of one resource.
pub struct Cycle {
    /// AWS, cluster and time.
    pub services: Services,
    /// The resource.
    pub resource: ResourceKey,
    /// The generation of its spec.
    pub generation: i64,
    /// What it asks for.
    pub wanted: Result<Wanted, InvalidSpec>,
    /// What is known of its Secret.
    pub observation: Observation,
    /// The status as it is to be.
    pub status: Status,
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
    /// The status now.
    pub status: Status,
    /// When the next cycle is due.
    pub next: Option<Timestamp>,
}

/// Credentials fresh from AWS.
struct Issue {
    role_arn: String,
    validity: Validity,
    material: Material,
    notes: Vec<String>,
}

impl Status {
    /// Stores it, once. A failure leaves it to be stored later; only a resource that is gone, or another one by now, needs no status more.
    pub async fn write(&mut self, services: &Services, resource: &ResourceKey) {
        match services.cluster.write_status(resource, &self.content).await {
            Ok(()) | Err(ClusterError::Gone(_) | ClusterError::Changed(_)) => self.written = true,
            Err(error) => warn!("the status was not written: {error}"),
        }
    }
}

impl Cycle {
    /// Runs it to its end.
    pub async fn run(mut self) -> Report {
        let outcome = match self.wanted.clone() {
            Ok(wanted) => self.refresh(&wanted).await.unwrap_or_else(Outcome::Failed),
            Err(invalid) => Outcome::Failed(invalid.into()),
        };
        match &outcome {
            Outcome::Issued { role_arn, validity, .. } => {
                info!(role_arn, expiration = %validity.expiration, "refreshed");
            }
            Outcome::Kept(validity) => info!(expiration = %validity.expiration, "still valid"),
            Outcome::Failed(failure) => warn!(reason = %failure.reason(), "not refreshed: {failure}"),
        }

        let (status, next) = judge(&self.status.content, self.facts(), &outcome);
        self.show(status).await;
        Report {
            observation: self.observation,
            status: self.status,
            next,
        }
    }

    async fn refresh(&mut self, wanted: &Wanted) -> Result<Outcome, Failure> {
        let mut issue: Option<Issue> = None;
        for _ in 0..WRITE_ATTEMPTS {
            let observed = self.observe(wanted).await?;
            let now = self.services.clock.now();
            let over = match plan(&self.resource, wanted, observed.as_ref(), &self.status.content, now) {
                // What is in the way now may be gone at the next look.
                Plan::Foreign(holder) => {
                    self.observation = Observation::Unknown;
                    return Err(Failure::SecretConflict {
                        secret: wanted.secret_name.clone(),
                        holder,
                    });
                }
                Plan::Leaving => {
                    self.observation = Observation::Unknown;
                    return Err(Failure::SecretLeaving(wanted.secret_name.clone()));
                }
                Plan::Keep(validity) => {
                    self.delete_renamed(wanted).await?;
                    return Ok(Outcome::Kept(validity));
                }
                Plan::Create => None,
                Plan::Replace(over) => Some(over),
            };
            let fresh = match issue.take() {
                Some(fresh) => fresh,
                None => {
                    self.announce().await;
                    self.ask(wanted).await?
                }
            };
            let secret = WantedSecret::new(&self.resource, wanted, &fresh.material, fresh.validity.expiration)?;
            if self.write(&secret, over.as_deref()).await? {
                self.delete_renamed(wanted).await?;
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

    /// What is known of the Secret, looked up if nothing is.
    async fn observe(&mut self, wanted: &Wanted) -> Result<Option<ObservedSecret>, Failure> {
        let known = match &self.observation {
            Observation::Seen(secret) => secret.clone(),
            Observation::Unknown => {
                let namespace = &self.resource.namespace;
                let seen = self
                    .services
                    .cluster
                    .observe_secret(namespace, &wanted.secret_name)
                    .await?
                    .map(Box::new);
                self.observation = Observation::Seen(seen.clone());
                seen
            }
        };
        Ok(known.map(|secret| *secret))
    }

    /// Asks AWS for what the Secret is to hold.
    async fn ask(&self, wanted: &Wanted) -> Result<Issue, Failure> {
        let aws = &self.services.aws;
        let role_arn = match wanted.role.known_arn() {
            Some(arn) => arn.to_owned(),
            None => {
                let identity = aws.identity().await;
                wanted.role.arn(&identity.map_err(|error| refused(error, None))?)
            }
        };
        if wanted.duration > CHAINED_SESSION_MAX {
            let identity = aws.identity().await;
            if identity.map_err(|error| refused(error, None))?.is_role_session() {
                return Err(Failure::Chained);
            }
        }
        let request = AssumeRole {
            role_arn,
            session_name: wanted.session_name.clone(),
            duration: wanted.duration,
        };
        let asked = self.services.clock.now();
        let session = match aws.assume_role(&request).await {
            Ok(session) => session,
            Err(error) => return Err(self.advised(error, &request.role_arn).await),
        };
        let (material, token_end) = match &wanted.format {
            Format::Map | Format::File => (Material::Session(session.credentials), None),
            Format::EcrDockerConfigJson(repository) => {
                match aws.registry_login(&repository.region, &session.credentials).await {
                    Ok(login) => {
                        let end = login.expiration;
                        (Material::Login(login), end)
                    }
                    Err(error) => return Err(self.advised(error, &request.role_arn).await),
                }
            }
        };
        let ends = believed(asked, wanted.duration, session.expiration, token_end);
        Ok(Issue {
            role_arn: request.role_arn,
            validity: Validity {
                issued: asked,
                expiration: ends.expiration,
            },
            material,
            notes: notes(&ends),
        })
    }

    /// A refusal with what can be done about it. Who the operator is makes the advice exact; it is not worth failing for.
    async fn advised(&self, error: AwsError, role_arn: &str) -> Failure {
        let needs_identity = matches!(error, AwsError::AccessDenied(_) | AwsError::NotPermitted(_));
        let identity = match needs_identity {
            true => self.services.aws.identity().await.ok(),
            false => None,
        };
        Failure::Aws {
            advice: advice::for_aws(&error, Some(role_arn), identity.as_ref()),
            error,
        }
    }

    /// Writes the Secret over what was seen. `false` when it is not as it was seen any more, and has to be looked at again.
    async fn write(&mut self, secret: &WantedSecret, over: Option<&ObservedSecret>) -> Result<bool, Failure> {
        let cluster = &self.services.cluster;
        let written = match over {
            None => cluster.create_secret(secret).await,
            Some(over) => cluster.replace_secret(secret, over).await,
        };
        // Until the answer is understood, nothing is known: a write may be done although its answer was lost.
        self.observation = Observation::Unknown;
        match (written, over) {
            (Ok(seen), _) => {
                self.observation = Observation::Seen(Some(Box::new(seen)));
                Ok(true)
            }
            (Err(ClusterError::Immutable(_)), Some(over)) => {
                let namespace = &self.resource.namespace;
                match cluster.delete_secret(namespace, &secret.name, over).await {
                    Ok(()) | Err(ClusterError::Changed(_)) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
            (Err(ClusterError::Changed(_)), _) | (Err(ClusterError::Gone(_)), Some(_)) => Ok(false),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Deletes the Secret of an earlier `secretName`, once the new one is there.
    async fn delete_renamed(&self, wanted: &Wanted) -> Result<(), Failure> {
        let Some(earlier) = self.status.content.secret_name.as_deref() else {
            return Ok(());
        };
        if earlier == wanted.secret_name {
            return Ok(());
        }
        let cluster = &self.services.cluster;
        let namespace = &self.resource.namespace;
        if let Some(secret) = cluster.observe_secret(namespace, earlier).await?
            && ownership(&secret, &self.resource) == Ownership::Ours
        {
            cluster.delete_secret(namespace, earlier, &secret).await?;
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
        self.status.write(&self.services, &self.resource).await;
    }

    fn facts(&self) -> Facts<'_> {
        let wanted = self.wanted.as_ref().ok();
        let held_until = match (&self.observation, wanted) {
            (Observation::Seen(Some(secret)), Some(wanted)) if ownership(secret, &self.resource) == Ownership::Ours => {
                held(wanted, secret, &self.status.content).map(|validity| validity.expiration)
            }
            _ => None,
        };
        Facts {
            resource: &self.resource,
            generation: self.generation,
            wanted,
            held_until,
            now: self.services.clock.now(),
        }
    }
}

fn refused(error: AwsError, role_arn: Option<&str>) -> Failure {
    Failure::Aws {
        advice: advice::for_aws(&error, role_arn, None),
        error,
    }
}

/// What was odd about the ends that AWS told.
fn notes(ends: &Believed) -> Vec<String> {
    let token = ends.token_disbelieved.map(|end| {
        format!("AWS said that the registry token ended at {end}, before it was asked for; the session's end counts instead.")
    });
    let session = ends.session_disbelieved.map(|end| {
        format!("AWS said that the session ended at {end}, before it was asked for; the lifetime that was asked for counts instead.")
    });
    session.into_iter().chain(token).collect()
}
