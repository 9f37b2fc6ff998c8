//! What one resource needs: a spec that can be read, a policy that permits it, an AWS that gives its session, a Secret that is its own.

use std::fmt;

use super::report::{Check, Outcome};
use crate::api::{ConditionType, Reason};
use crate::cluster::ClusterError;
use crate::operator::boundary::Tenancy;
use crate::refresh::plan::{IssueReason, Plan, Situation, due_of, plan};
use crate::refresh::policy::Ruling;
use crate::refresh::schedule::whole_seconds;
use crate::secret::ObservedSecret;
use crate::spec::role::RoleReference;
use crate::spec::{Resource, ResourceKey, Spec};

const RESOURCE: &str = "resource";
const SPEC: &str = "spec";
const POLICY: &str = "policy";
const SECRET: &str = "secret";
const STATUS: &str = "status";

pub(super) fn not_found(namespace: &str, name: &str, error: Option<&ClusterError>) -> Check {
    match error {
        None => Check::failed(
            RESOURCE,
            format!("There is no AWSAssumeRole {name} in the namespace {namespace}."),
            "See what there is with kubectl get awsassumeroles --all-namespaces.",
        ),
        Some(error) => Check::unknown(RESOURCE, format!("{namespace}/{name} could not be looked at: {error}")),
    }
}

/// Whether the operator works in a namespace.
pub(super) fn is_served(namespace: &str, watch_namespaces: &[String]) -> bool {
    watch_namespaces.is_empty() || watch_namespaces.iter().any(|served| served == namespace)
}

pub(super) fn not_served(namespace: &str) -> Check {
    Check::failed(
        RESOURCE,
        format!("The operator does not work in the namespace {namespace}."),
        "Add the namespace to watchNamespaces in the values of the chart, or ask the operator that works there.",
    )
}

/// Whether the operator has anything to do with it.
pub(super) fn found(resource: &Resource, watch_namespaces: &[String]) -> Check {
    let key = &resource.key;
    if !is_served(&key.namespace, watch_namespaces) {
        return not_served(&key.namespace);
    }
    if resource.terminating {
        return Check::failed(
            RESOURCE,
            format!("{key} is being deleted."),
            "Wait until it is gone. If it does not go, see its metadata.finalizers.",
        );
    }
    Check::ok(RESOURCE, format!("{key} is there."))
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

/// Where no namespace is named for a role.
pub(super) fn namespace_unknown(tenancy: &Tenancy) -> Check {
    let id = match tenancy.cluster_name {
        Some(_) => " The session has its external ID then, and has none now.",
        None => "",
    };
    policies_unknown("it depends on the namespace").with_advice(format!(
        "Name the namespace that the resource is to be in with --namespace.{id}"
    ))
}

/// What follows from a setting that may be another one in the operator.
pub(super) fn by_unknown_setting(check: Check) -> Check {
    Check {
        outcome: Outcome::Unknown,
        message: format!(
            "{} That is so unless the operator's setting is another one.",
            check.message
        ),
        ..check
    }
}

/// What follows for a role that is named without its account, by the account of somebody who is not the operator.
pub(super) fn supposed(check: Check) -> Check {
    Check {
        outcome: Outcome::Unknown,
        message: format!("If the operator's account is that of this command: {}", check.message),
        ..check
    }
}

/// The spec with the ARN of its role, where the operator has said which one it is.
pub(super) fn with_known_role(spec: &Spec, role_arn: Option<&str>) -> Spec {
    let mut known = spec.clone();
    if let (RoleReference::Name(name), Some(arn)) = (&spec.role, role_arn)
        && arn.ends_with(&format!(":role/{name}"))
    {
        known.role = RoleReference::Arn(arn.into());
    }
    known
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
