//! What every resource needs: a cluster that knows the operator and its kinds, an operator that acts, and an AWS that knows the operator.

use std::fmt;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::examination::{Settings, Source};
use super::report::{Check, Outcome};
use crate::aws::sdk::{Caller, EndpointSource};
use crate::aws::{AwsError, RegionSource};
use crate::cluster::ClusterError;
use crate::cluster::crd::published::Published;
use crate::cluster::inquiry::ServiceAccountName;
use crate::cluster::lease::LeaseRecord;
use crate::refresh::advice::{self, CHAINED_SESSION_MAX, Circumstances};
use crate::refresh::policy::UnlistedNamespaces;

/// The kind without which there are no policies.
pub(super) const POLICIES: &str = "AWSAssumeRolePolicy";

/// How many of the things that a schema lacks are named.
const LACKING: usize = 8;

/// Of whom a command speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// It is made with the ServiceAccount of the operator, as in its pod.
    Operator(ServiceAccountName),
    /// It is somebody else's, as on a laptop, and this is the operator's ServiceAccount if that is known.
    Somebody {
        /// The user's name, if the API server tells.
        user: Option<String>,
        operator: Option<ServiceAccountName>,
    },
}

impl Subject {
    /// What was found out of the operator. Of somebody else's rights nothing follows, and neither does it from settings that may not be the
    /// operator's.
    pub(super) fn judged(&self, check: Check, source: &Source) -> Check {
        match self {
            Self::Somebody { operator: None, .. } => check.in_doubt(),
            Self::Somebody { .. } if *source == Source::Command => check.in_doubt(),
            _ => check,
        }
    }

    /// Whether it is the operator itself.
    pub(super) fn is_operator(&self) -> bool {
        matches!(self, Self::Operator(_))
    }

    /// The ServiceAccount of the operator, if that is known.
    pub(super) fn account(&self) -> Option<&ServiceAccountName> {
        match self {
            Self::Operator(account) => Some(account),
            Self::Somebody { operator, .. } => operator.as_ref(),
        }
    }

    /// Whoever has the rights that are asked about, and whose ServiceAccount that is if it is not the one that asks.
    pub(super) fn holder(&self) -> (String, Option<&ServiceAccountName>) {
        match self {
            Self::Operator(account) => (format!("ServiceAccount {account}"), None),
            Self::Somebody {
                operator: Some(account),
                ..
            } => (format!("ServiceAccount {account}"), Some(account)),
            Self::Somebody { user, .. } => (user.clone().unwrap_or_else(|| "whoever asks".to_owned()), None),
        }
    }
}

pub(super) fn cluster(subject: &Subject) -> Check {
    const NAME: &str = "cluster";
    match subject {
        Subject::Operator(account) => Check::ok(
            NAME,
            format!("The API server answers, and knows this as ServiceAccount {account}."),
        ),
        Subject::Somebody { user, operator } => {
            let user = user.as_deref().unwrap_or("somebody whom it does not name");
            match operator {
                Some(account) => Check::ok(
                    NAME,
                    format!(
                        "The API server answers, and knows this as {user}. Rights are those of the operator's ServiceAccount {account}; \
                         what is asked of AWS is asked with this command's own AWS identity."
                    ),
                ),
                None => Check::unknown(
                    NAME,
                    format!("The API server answers, and knows this as {user}. Whose ServiceAccount the operator has is not known, so this speaks of {user}."),
                )
                .with_advice("Name it with --service-account NAMESPACE/NAME, or run this in the operator's pod with kubectl exec."),
            }
        }
    }
}

pub(super) fn no_cluster(error: &impl fmt::Display) -> Check {
    Check::failed(
        "cluster",
        error.to_string(),
        "See to the kubeconfig, or run this in the operator's pod with kubectl exec. What is in the cluster was not looked at.",
    )
}

pub(super) fn settings(settings: &Settings, subject: Option<&Subject>) -> Check {
    const NAME: &str = "settings";
    let unlisted = match settings.tenancy.unlisted_namespaces {
        UnlistedNamespaces::Allow => "Allow",
        UnlistedNamespaces::Deny => "Deny",
    };
    let cluster = settings.tenancy.cluster_name.as_deref().unwrap_or("none");
    let namespaces = match settings.watch_namespaces.as_slice() {
        [] => "all".to_owned(),
        some => some.join(","),
    };
    let shown = format!("unlisted namespaces {unlisted}, cluster name {cluster}, namespaces {namespaces}");
    match (&settings.source, subject) {
        (Source::RunningOperator, _) => Check::ok(
            NAME,
            format!("Those of the operator that runs here, from its command line and environment: {shown}."),
        ),
        (Source::Deployment(name), _) => Check::ok(
            NAME,
            format!("Those of Deployment {name}, unless this command's flags say otherwise: {shown}."),
        ),
        (Source::Command, Some(Subject::Operator(_))) => {
            Check::ok(NAME, format!("From the environment and this command's flags: {shown}."))
        }
        (Source::Command, _) => Check::unknown(
            NAME,
            format!("From the environment and this command's flags: {shown}. The operator may have others."),
        )
        .with_advice("Give --unlisted-namespaces, --cluster-name and --watch-namespaces as the operator has them."),
    }
}

/// How the definition of a kind is, given also the release that it is of, and whether that is a newer one.
pub(super) fn definition(
    kind: &str,
    published: Result<Published, ClusterError>,
    release: Option<&(String, bool)>,
) -> Check {
    const NAME: &str = "definition";
    let of_release = release.map_or_else(String::new, |(version, _)| format!(", of release {version}"));
    let command = match kind {
        POLICIES => "aws-assume-role crd policies",
        _ => "aws-assume-role crd",
    };
    match published {
        Ok(Published::Complete) => Check::ok(
            NAME,
            format!(
                "{kind} is installed{of_release}, and has all fields and rules of release {}.",
                version()
            ),
        ),
        Ok(Published::Lacking(_)) if release.is_some_and(|(_, newer)| *newer) => Check::ok(
            NAME,
            format!(
                "{kind} is installed{of_release}, which is newer than this one, {}.",
                version()
            ),
        ),
        Ok(Published::Lacking(lacking)) => {
            let more = lacking.len().saturating_sub(LACKING);
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let named: Vec<_> = lacking.into_iter().take(LACKING).collect();
            Check::failed(
                NAME,
                format!(
                    "{kind} is installed{of_release}, and lacks of release {}: {}{more}.",
                    version(),
                    named.join(", ")
                ),
                format!(
                    "Bring it up to date with kubectl apply --server-side --force-conflicts: `{command}` prints it."
                ),
            )
        }
        // The operator works without it.
        Ok(Published::NotInstalled) if kind == POLICIES => Check::unknown(
            NAME,
            format!("The API server does not know {kind}, which counts as no policies."),
        )
        .with_advice(format!(
            "To have policies, install the definition with kubectl apply --server-side: `{command}` prints it."
        )),
        Ok(Published::NotInstalled) => Check::failed(
            NAME,
            format!("The API server does not know {kind}."),
            format!("Install the definition with kubectl apply --server-side: `{command}` prints it."),
        ),
        Err(error) => Check::unknown(NAME, format!("How {kind} is installed is not known: {error}")),
    }
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Whether somebody acts.
pub(super) fn leader(lease: (&str, &str), found: Result<Option<LeaseRecord>, ClusterError>, now: Timestamp) -> Check {
    const NAME: &str = "leader";
    let lease = format!("Lease {}/{}", lease.0, lease.1);
    let advice = "See whether the operator's pods run: kubectl get pods, and their log.";
    let record = match found {
        Ok(Some(record)) => record,
        Ok(None) => return Check::failed(NAME, format!("There is no {lease}, so no operator acts by it."), advice),
        Err(error) => return Check::unknown(NAME, format!("{lease} could not be looked at: {error}")),
    };
    let Some((holder, renewed)) = record.holder.as_ref().zip(record.renewed) else {
        return Check::failed(NAME, format!("Nobody holds {lease}, so no operator acts."), advice);
    };
    let age = now.duration_since(renewed);
    // Its holder's clock may be a little off.
    let patience = SignedDuration::try_from(record.duration * 2).unwrap_or(SignedDuration::MAX);
    match age <= patience {
        true => Check::ok(NAME, format!("{holder} holds {lease}, and acts.")),
        false => Check::failed(
            NAME,
            format!("{holder} holds {lease} and has not renewed it for {} s.", age.as_secs()),
            advice,
        ),
    }
}

/// What a call to AWS told of the one who made it, by a clock that shows `now`.
pub(super) fn aws(caller: &Caller, subject: Option<&Subject>, now: Timestamp) -> Vec<Check> {
    let is_operator = matches!(subject, Some(Subject::Operator(_)));
    let who = if is_operator { "The operator" } else { "This command" };
    // Where it is not the operator's, neither says anything of the operator.
    let clock = clock(caller, now).map(|check| match check.outcome {
        Outcome::Failed if !is_operator => check.with_advice("Set the clock of this machine right."),
        _ => check,
    });
    let around = std::iter::once(region(caller)).chain(clock);
    let mut checks: Vec<Check> = match is_operator {
        true => around.collect(),
        false => around.map(Check::in_doubt).collect(),
    };
    checks.extend(identity(caller, who, is_operator, now));
    checks
}

fn region(caller: &Caller) -> Check {
    const NAME: &str = "aws-region";
    let endpoint = match (&caller.endpoint, caller.endpoint_source) {
        (Some(endpoint), EndpointSource::Region) => format!("STS is asked at {endpoint}."),
        (Some(endpoint), source) => format!("STS is asked at {endpoint}, by {source}."),
        (None, _) => "STS could not be asked.".to_owned(),
    };
    let region = &caller.region;
    let source = match region.source {
        RegionSource::Environment => "the environment",
        RegionSource::Profile => "a profile",
        RegionSource::InstanceMetadata => "instance metadata",
        RegionSource::Fallback => {
            return Check::failed(
                NAME,
                format!("Nobody names a Region, so it is {region}. {endpoint}"),
                "Set AWS_REGION, which for the operator is aws.region in the values of the chart.",
            );
        }
    };
    Check::ok(NAME, format!("{region}, from {source}. {endpoint}"))
}

/// How much later it is for AWS.
pub(super) fn skew(caller: &Caller, now: Timestamp) -> Option<SignedDuration> {
    let error = caller.identity.as_ref().err();
    let date = caller.answered.or_else(|| error?.answer().date)?;
    Some(SignedDuration::from_secs(date.duration_since(now).as_secs()))
}

fn clock(caller: &Caller, now: Timestamp) -> Option<Check> {
    const NAME: &str = "clock";
    let skew = skew(caller, now)?;
    let circumstances = Circumstances {
        skew,
        ..Circumstances::default()
    };
    let seconds = skew.as_secs();
    let shown = match seconds {
        -5..=5 => "The clock here and AWS's agree.".to_owned(),
        6.. => format!("The clock here is {seconds} s behind AWS's."),
        _ => format!("The clock here is {} s ahead of AWS's.", seconds.unsigned_abs()),
    };
    Some(match circumstances.clocks_are_apart() {
        false => Check::ok(NAME, shown),
        true => Check::failed(NAME, shown, advice::about_clocks(skew)),
    })
}

/// What to do for one who has no AWS credentials and is not the operator.
const ALONE: &str =
    "Give this command AWS credentials, such as with AWS_PROFILE, or run it in the operator's pod with kubectl exec.";

fn identity(caller: &Caller, who: &str, is_operator: bool, now: Timestamp) -> Vec<Check> {
    const NAME: &str = "aws-identity";
    let provider = caller.provider.as_deref();
    let identity = match &caller.identity {
        Ok(identity) => identity,
        Err(error) => {
            let circumstances = Circumstances {
                skew: skew(caller, now).unwrap_or_default(),
                ..Circumstances::default()
            };
            let (error, advice) = advice::advised(error.clone(), None, &circumstances);
            let advice = match &error {
                AwsError::NoIdentity(answer) if answer.code.is_none() && !is_operator => ALONE.to_owned(),
                _ => advice,
            };
            let by = provider.map_or_else(String::new, |provider| {
                format!(" Its credentials are given by {provider}.")
            });
            let error = error.to_string();
            let error = error.trim_end_matches('.');
            return vec![Check::failed(
                NAME,
                format!("{who} is not known to AWS: {error}.{by}"),
                advice,
            )];
        }
    };
    let by = provider.unwrap_or("a provider that is not known");
    let chaining = match identity.is_role_session() {
        true => format!(
            "{who} is a role session itself, so the sessions that it assumes last {} s at most (role chaining).",
            CHAINED_SESSION_MAX.as_secs()
        ),
        false => format!(
            "{who} is not a role session, so the sessions that it assumes may last as long as their roles allow."
        ),
    };
    vec![
        Check::ok(
            NAME,
            format!("{who} is {}. Its credentials are given by {by}.", identity.arn),
        ),
        Check::ok("aws-chaining", chaining),
    ]
}

#[cfg(test)]
#[path = "surroundings_tests.rs"]
mod tests;
