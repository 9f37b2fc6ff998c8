//! What one resource needs: a spec that can be read, a policy that permits it, an AWS that gives its session, a Secret that is its own.

use std::fmt;

use k8s_openapi::jiff::Timestamp;

use super::report::Check;
use crate::api::{ConditionType, Reason};
use crate::aws::{AssumeRole, AwsError, Identity};
use crate::cluster::ClusterError;
use crate::credentials::Session;
use crate::refresh::advice::{self, Circumstances};
use crate::refresh::plan::{IssueReason, Plan, Situation, due_of, plan};
use crate::refresh::policy::Ruling;
use crate::refresh::schedule::whole_seconds;
use crate::secret::ObservedSecret;
use crate::spec::ecr::EcrEndpoint;
use crate::spec::{Resource, ResourceKey, Spec};

const SPEC: &str = "spec";
const POLICY: &str = "policy";
const SESSION: &str = "session";
const REGISTRY: &str = "registry";
const SECRET: &str = "secret";
const STATUS: &str = "status";

pub(super) fn not_found(namespace: &str, name: &str, error: Option<&ClusterError>) -> Check {
    match error {
        None => Check::failed(
            "resource",
            format!("There is no AWSAssumeRole {name} in the namespace {namespace}."),
            "See what there is with kubectl get awsassumeroles --all-namespaces.",
        ),
        Some(error) => Check::unknown(
            "resource",
            format!("{namespace}/{name} could not be looked at: {error}"),
        ),
    }
}

/// Whether the operator has anything to do with it.
pub(super) fn found(resource: &Resource, watch_namespaces: &[String]) -> Check {
    const NAME: &str = "resource";
    let key = &resource.key;
    if !watch_namespaces.is_empty() && !watch_namespaces.iter().any(|namespace| **namespace == *key.namespace) {
        return Check::failed(
            NAME,
            format!("{key} is there, and the operator does not work in its namespace."),
            "Add the namespace to watchNamespaces in the values of the chart.",
        );
    }
    if resource.terminating {
        return Check::failed(
            NAME,
            format!("{key} is being deleted."),
            "Wait until it is gone. If it does not go, see its metadata.finalizers.",
        );
    }
    Check::ok(NAME, format!("{key} is there."))
}

/// Whether the spec can be acted on, given also what its templates came to.
pub(super) fn spec(resource: &Resource, templates: Option<&dyn fmt::Display>) -> Check {
    const ADVICE: &str = "Correct the spec with kubectl edit awsassumerole.";
    match (&resource.spec, templates) {
        (Err(error), _) => Check::failed(SPEC, error.to_string(), ADVICE),
        (Ok(_), Some(error)) => Check::failed(SPEC, format!("spec.template.data: {error}"), ADVICE),
        (Ok(spec), None) if spec.suspend => Check::ok(SPEC, "It can be read, and says not to refresh (suspend).")
            .with_advice("Take spec.suspend out for the operator to refresh the credentials again."),
        (Ok(_), None) => Check::ok(SPEC, "It can be read."),
    }
}

/// What the policies say to a role in a namespace.
pub(super) fn policy(role: &str, namespace: &str, is_open: bool, ruling: &Ruling) -> Check {
    match ruling {
        Ruling::Permitted if is_open => Check::ok(
            POLICY,
            "There is no AWSAssumeRolePolicy, and every role is permitted without one.",
        ),
        Ruling::Permitted => Check::ok(POLICY, format!("A policy permits {role} to the namespace {namespace}.")),
        Ruling::Unlisted => Check::ok(
            POLICY,
            format!("No policy names the namespace {namespace}, and every role is permitted there."),
        )
        .with_advice(
            "Write an AWSAssumeRolePolicy for the namespace before tenancy.unlistedNamespaces is set to Deny.",
        ),
        Ruling::Denied(denial) => Check::failed(
            POLICY,
            denial.to_string(),
            "Ask for less in the spec, or have an administrator permit it: kubectl get awsassumerolepolicies shows what there is.",
        ),
        Ruling::Held(why) => Check::failed(
            POLICY,
            format!("No role is assumed until it is known who may have which: {why}"),
            "Have an administrator correct the policy, or let the operator list namespaces.",
        ),
    }
}

pub(super) fn policies_unknown(why: &str) -> Check {
    Check::unknown(POLICY, format!("What the policies say is not known: {why}."))
}

/// Why AWS is not asked for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotAsked {
    /// Who the operator is, is not known.
    NoIdentity,
    /// No policy permits it, or that is not known.
    NotPermitted,
    /// The session would be another one's.
    ServiceAccount(String),
    /// It would be longer than role chaining allows.
    Chained,
}

pub(super) fn not_asked(why: &NotAsked) -> Check {
    match why {
        NotAsked::NoIdentity => Check::unknown(
            SESSION,
            "AWS was not asked for a session, since it does not know who asks.",
        ),
        NotAsked::NotPermitted => Check::unknown(
            SESSION,
            "AWS was not asked for a session, since the operator asks for none that no policy is known to permit.",
        ),
        NotAsked::ServiceAccount(name) => Check::unknown(
            SESSION,
            format!("The role is assumed as ServiceAccount {name}, with a token that this command does not make."),
        )
        .with_advice("See what AWS said to the operator in the status, below."),
        NotAsked::Chained => Check::failed(
            SESSION,
            "spec.durationSeconds is more than role chaining allows.",
            advice::chained(),
        ),
    }
}

/// What AWS said to the request, which is the operator's own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) request: &'a AssumeRole,
    pub(super) operator: &'a Identity,
    /// Whether the operator confines the session by a policy of its own.
    pub(super) registry: bool,
}

impl Asked<'_> {
    /// What was asked for, for people.
    fn shown(&self) -> String {
        let AssumeRole {
            role_arn,
            region,
            session,
            duration,
        } = self.request;
        let mut shown = format!(
            "sts:AssumeRole on {role_arn} by {}, as {} for {} s",
            self.operator.arn,
            session.name,
            duration.as_secs()
        );
        if let Some(region) = region {
            shown.push_str(&format!(", in {region}"));
        }
        if let Some(id) = &session.external_id {
            shown.push_str(&format!(", with the external ID {id}"));
        }
        if let Some(identity) = &session.source_identity {
            shown.push_str(&format!(", with the source identity {identity}"));
        }
        if !session.tags.is_empty() {
            let keys: Vec<&str> = session.tags.keys().map(String::as_str).collect();
            shown.push_str(&format!(", with the tags {} (sts:TagSession)", keys.join(", ")));
        }
        if session.policy.is_some() || !session.policy_arns.is_empty() {
            shown.push_str(", with a session policy");
        }
        shown
    }

    /// A refusal, at a time by this clock.
    fn refused(&self, name: &'static str, what: &str, error: AwsError, now: Timestamp) -> Check {
        let date = error.answer().date;
        let circumstances = Circumstances {
            role_arn: Some(&self.request.role_arn),
            operator: Some(self.operator),
            region: self.request.region.as_deref(),
            registry: self.registry,
            web_identity: None,
            skew: date.map(|date| date.duration_since(now)).unwrap_or_default(),
        };
        let (error, mut advice) = advice::advised(error, Some(self.request), &circumstances);
        if let (AwsError::AccessDenied(_), Some(id)) = (&error, &self.request.session.external_id)
            && name == SESSION
        {
            advice.push_str(&format!(
                " If the trust policy has a condition on sts:ExternalId, it must be {id}."
            ));
        }
        let asked = format!("AWS refuses {what}: {error}");
        match error {
            AwsError::Throttled(_) | AwsError::Unavailable(_) => Check::unknown(name, asked).with_advice(advice),
            _ => Check::failed(name, asked, advice),
        }
    }

    pub(super) fn session(&self, answer: Result<&Session, AwsError>, now: Timestamp) -> Check {
        let shown = self.shown();
        let session = match answer {
            Ok(session) => session,
            Err(error) => return self.refused(SESSION, &shown, error, now),
        };
        let end = whole_seconds(session.expiration);
        Check::ok(
            SESSION,
            format!("AWS allows {shown}. The session would last until {end}; its credentials were thrown away."),
        )
    }

    pub(super) fn registry(&self, endpoint: &EcrEndpoint, error: Option<AwsError>, now: Timestamp) -> Check {
        let what = format!(
            "ecr:GetAuthorizationToken in {} with the session of the role",
            endpoint.region
        );
        match error {
            Some(error) => self.refused(REGISTRY, &what, error, now),
            None => Check::ok(
                REGISTRY,
                format!("AWS allows {what}. Whether it may pull from the repository shows when it does."),
            ),
        }
    }
}

/// What holds the Secret. The type of one that is there is not looked at: if it is another one, the operator makes its own Secrets anew.
pub(super) fn secret(situation: Situation<'_>, observed: Result<Option<&ObservedSecret>, ClusterError>) -> Check {
    let name = &situation.spec.secret_name;
    let observed = match observed {
        Ok(observed) => observed,
        Err(error) => return Check::unknown(SECRET, format!("Secret {name} could not be looked at: {error}")),
    };
    // What is suspended has a Secret too.
    let spec = Spec {
        suspend: false,
        ..situation.spec.clone()
    };
    let plan = plan(
        Situation {
            spec: &spec,
            ..situation
        },
        observed,
    );
    let end = observed.and_then(ObservedSecret::expiration);
    match plan {
        Plan::Foreign(holder) => Check::failed(
            SECRET,
            format!("Secret {name} exists and {holder}. The operator does not touch it."),
            "Delete it, or choose another spec.secretName.",
        ),
        Plan::Terminating | Plan::Collect => Check::unknown(
            SECRET,
            format!("Secret {name} is being deleted, and is made anew as soon as it is gone."),
        ),
        Plan::Issue(IssueReason::New | IssueReason::Deleted) => {
            Check::ok(SECRET, format!("There is no Secret {name}: the name is free."))
        }
        Plan::Keep(validity) | Plan::Repair(validity, _) => {
            let due = whole_seconds(due_of(situation.resource, situation.spec, validity));
            let end = whole_seconds(validity.expiration);
            Check::ok(
                SECRET,
                format!(
                    "Secret {name} is the resource's own. Its credentials are good until {end}, and are replaced at {due}."
                ),
            )
        }
        Plan::Issue(why) => match end.filter(|end| *end <= situation.now) {
            Some(end) => Check::failed(
                SECRET,
                format!(
                    "Secret {name} is the resource's own, and its credentials ended at {}.",
                    whole_seconds(end)
                ),
                "The checks above and the status say why there are no others.",
            ),
            None => Check::ok(
                SECRET,
                format!("Secret {name} is the resource's own. New credentials are wanted ({why})."),
            ),
        },
        Plan::Suspended => Check::ok(SECRET, "It is left as it is."),
    }
}

/// How to have the operator try again at once.
fn again(key: &ResourceKey) -> String {
    format!(
        "For another attempt now: kubectl annotate awsassumerole {} --namespace {} --overwrite pincette.net/refresh=\"$(date +%s)\"",
        key.name, key.namespace
    )
}

/// What the operator itself says.
pub(super) fn status(resource: &Resource) -> Check {
    let Some(status) = resource
        .status
        .as_deref()
        .filter(|status| !status.conditions.is_empty())
    else {
        return Check::failed(
            STATUS,
            "The operator has said nothing of it.",
            "If it is not quite new, see whether the operator runs and watches its namespace.",
        );
    };
    let said = |type_| {
        status
            .condition(type_)
            .map(|condition| format!("{}: {}", condition.reason, condition.message))
    };
    let said = said(ConditionType::Refreshed)
        .or_else(|| said(ConditionType::Ready))
        .unwrap_or_default();
    if !status.is_of_generation(resource.generation) {
        return Check::unknown(STATUS, format!("It is about an earlier spec. {said}"));
    }
    if status.has_failed() {
        return Check::failed(STATUS, said, again(&resource.key));
    }
    match status.is_ready() || status.is_suspended() {
        true => Check::ok(STATUS, said),
        false if status.failure_reason() == Some(Reason::Pending) => Check::unknown(STATUS, said),
        false => Check::unknown(STATUS, said).with_advice(again(&resource.key)),
    }
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
