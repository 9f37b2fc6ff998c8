//! Asking AWS: for the ARN of the role, for a session of it, for a registry login where one is wanted; and what came back instead.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, Span};

use super::Cycle;
use crate::aws::gate::{Entry, Pass, Quota, Verdict};
use crate::aws::{AssumeRole, AwsError};
use crate::clock::{Clock, Reading};
use crate::refresh::advice::{self, CHAINED_SESSION_MAX, Circumstances, WebIdentity};
use crate::refresh::outcome::Failure;
use crate::refresh::pace::{class, earliest_call};
use crate::refresh::plan::{IssueReason, Plan, plan};
use crate::refresh::schedule::{
    EffectiveExpiration, Validity, asked_by_aws, earlier, effective_expiration, later, since, whole_seconds,
};
use crate::refresh::status::ended_waiting;
use crate::secret::{Material, ObservedSecret};
use crate::spec::{Format, Spec};
use crate::telemetry::spans;

/// When a resource without credentials counts as being without them, for its place among those of its class.
const NEWCOMERS_PATIENCE: Duration = Duration::from_secs(60);

/// How long a call may take to pass the gate before that is a wait of its own in the trace.
const NOTICEABLE: Duration = Duration::from_millis(5);

/// Credentials fresh from AWS.
#[derive(Debug)]
pub struct IssuedCredentials {
    /// Why they were needed.
    pub why: IssueReason,
    /// The role that was assumed.
    pub role_arn: String,
    /// Their validity, by AWS's clock.
    pub validity: Validity,
    /// What the Secret is made of.
    pub material: Material,
    /// What was odd about it.
    pub notes: Vec<String>,
}

impl Cycle {
    /// Asks AWS for what the Secret is to hold. Nothing, if it turns out not to be time yet: AWS told others the time while this waited at the
    /// gate.
    pub(super) async fn ask(
        &mut self,
        spec: &Spec,
        why: IssueReason,
        observed: Option<&ObservedSecret>,
    ) -> Result<Option<IssuedCredentials>, Failure> {
        let aws = self.context.aws.clone();
        let role_arn = match spec.role.known_arn() {
            Some(arn) => arn.to_owned(),
            None => {
                let identity = aws.identity().await;
                identity
                    .map_err(|error| refused(error, &*self.context.clock))?
                    .arn_of(&spec.role)
            }
        };
        if spec.duration > CHAINED_SESSION_MAX && spec.service_account_name.is_none() {
            let identity = aws.identity().await;
            if identity
                .map_err(|error| refused(error, &*self.context.clock))?
                .is_role_session()
            {
                return Err(Failure::Chained);
            }
        }
        Span::current().record("aws_assume_role.role_arn", role_arn.as_str());
        let request = AssumeRole {
            role_arn,
            region: spec.region.clone(),
            session: self
                .context
                .boundary
                .tenancy
                .session_request(&self.resource.key.namespace, spec),
            duration: spec.duration,
        };
        let earliest = earliest_call(self.trigger, self.memory.last_call);
        if let Some(moment) = earliest.filter(|moment| *moment > Instant::now()) {
            tokio::time::sleep_until(moment).instrument(spans::floor_wait()).await;
        }
        let quota = Quota {
            service: "STS",
            region: spec.region.clone().unwrap_or_else(|| aws.region().name.to_string()),
            account: None,
        };
        let pass = self.enter(quota).await?;
        if !matches!(plan(self.situation(spec), observed), Plan::Issue(_)) {
            return Ok(None);
        }
        let (asked, session) = self.session(spec, &request, pass).await?;
        // Counted back from the answer by a clock that does not jump. In whole seconds, as it is written down, so that the same times follow
        // from it after a restart.
        let issued = whole_seconds(earlier(self.context.now(), asked.elapsed()));
        let issued = asked_by_aws(issued, session.answered, spec.duration, session.expiration);
        let mut logins = BTreeMap::new();
        for endpoint in spec.format.registry_endpoints() {
            let quota = Quota {
                service: "ECR",
                region: endpoint.region.clone(),
                account: account_of(&request.role_arn),
            };
            let pass = self.enter(quota).await?;
            let login = aws.registry_login(&endpoint, &session.credentials).await;
            pass.tell(verdict(login.as_ref().err()));
            match login {
                Ok(login) => logins.insert(endpoint.region, login),
                Err(error) => return Err(self.advised(error, spec, &request, None).await),
            };
        }
        let token_ends: Vec<_> = logins.values().filter_map(|login| login.expiration).collect();
        let ends = effective_expiration(issued, spec.duration, session.expiration, &token_ends);
        Ok(Some(IssuedCredentials {
            why,
            role_arn: request.role_arn,
            validity: Validity {
                issued,
                expiration: ends.expiration,
            },
            material: Material::new(&spec.format, session.credentials, logins),
            notes: notes(&ends),
        }))
    }

    /// Waits for the leave to make one call to AWS. Credentials that end meanwhile are shown in the status at that moment.
    async fn enter(&mut self, quota: Quota) -> Result<Pass, Failure> {
        let now = self.context.now();
        let status = &self.memory.status.content;
        let entry = Entry {
            quota,
            class: class(status, self.resource.generation, self.current_expiration, now),
            namespace: self.resource.key.namespace.to_string(),
            expiration: self
                .current_expiration
                .unwrap_or_else(|| later(now, NEWCOMERS_PATIENCE)),
        };
        let started = Instant::now();
        let gate = self.context.gate.clone();
        let mut enter = gate.enter(entry).boxed();
        let mut pass = timeout(NOTICEABLE, &mut enter).await.ok();
        if pass.is_none()
            // They may have ended while a call was under way before this one.
            && let Some(end) = self
                .current_expiration
                .filter(|end| *end > now || self.memory.status.content.is_ready())
            // One that has no status yet is announced.
            && self.memory.status.content.observed_generation.is_some()
        {
            let until_the_end = since(self.context.now(), end);
            let wait = timeout(until_the_end, &mut enter).instrument(spans::gate_wait());
            pass = wait.await.ok();
            if pass.is_none() {
                let status = ended_waiting(&self.memory.status.content, self.facts());
                self.show(status).await;
            }
        }
        let pass = match pass {
            Some(pass) => pass,
            None => enter.instrument(spans::gate_wait()).await,
        };
        self.context.metrics.waited(started.elapsed());
        Ok(pass?)
    }

    /// An answer of AWS told the time.
    pub(super) fn measure_skew(&self, answered: Option<Timestamp>) {
        if let Some(answered) = answered {
            let received = Reading::of(&*self.context.clock);
            self.context.skew.measure(answered, received);
        }
    }

    /// A refusal with what can be done about it. Who the operator is makes the advice exact; it is not worth failing for.
    pub(super) async fn advised(
        &self,
        error: AwsError,
        spec: &Spec,
        request: &AssumeRole,
        web_identity: Option<WebIdentity<'_>>,
    ) -> Failure {
        let needs_identity = web_identity.is_none() && advice::needs_operator(&error);
        let identity = match needs_identity {
            true => self.context.aws.identity().await.ok(),
            false => None,
        };
        let skew = match error.answer().date {
            Some(date) => date.duration_since(self.context.clock.now()),
            None => self.context.skew.get(),
        };
        let circumstances = Circumstances {
            role_arn: Some(&request.role_arn),
            operator: identity.as_ref(),
            region: request.region.as_deref(),
            registry: matches!(spec.format, Format::EcrDockerConfigJson(_)),
            web_identity,
            skew,
        };
        let (error, advice) = advice::advised(error, Some(request), &circumstances);
        Failure::Aws { error, advice }
    }
}

/// The account in an ARN.
fn account_of(arn: &str) -> Option<String> {
    arn.split(':').nth(4).map(str::to_owned)
}

pub(super) fn verdict(error: Option<&AwsError>) -> Verdict {
    match error {
        None | Some(AwsError::AccessDenied(_) | AwsError::NotPermitted(_) | AwsError::InvalidRequest(_)) => {
            Verdict::Taken
        }
        Some(AwsError::Throttled(_)) => Verdict::Throttled,
        Some(AwsError::Unavailable(_) | AwsError::NoIdentity(_)) => Verdict::Unknown,
    }
}

pub(super) fn refused(error: AwsError, clock: &dyn Clock) -> Failure {
    let skew = error.answer().date.map(|date| date.duration_since(clock.now()));
    let circumstances = Circumstances {
        skew: skew.unwrap_or_default(),
        ..Circumstances::default()
    };
    let (error, advice) = advice::advised(error, None, &circumstances);
    Failure::Aws { error, advice }
}

/// What was odd about the ends that AWS gave.
fn notes(ends: &EffectiveExpiration) -> Vec<String> {
    let token = ends.token_disbelieved.map(|end| {
        format!(
            "AWS said that the registry token ends at {end}, which cannot be meant; the session's end counts instead."
        )
    });
    let session = ends.session_disbelieved.map(|end| {
        format!("AWS said that the session ends at {end}, which cannot be meant; the lifetime that was asked for counts instead.")
    });
    session.into_iter().chain(token).collect()
}
