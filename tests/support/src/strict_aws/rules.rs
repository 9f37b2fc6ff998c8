//! What `AssumeRole` refuses.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>, unless a rule names another page.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::fixtures::ACCOUNT;

use super::policy::{Context, Decision, all_allow, decide};
use super::{AssumeRole, Principal, Refusal, Role, SessionFacts};

/// The most that a packed policy may have, in bytes. AWS does not tell its compression; this is a stand-in for it.
const PACKED_MAX: usize = 2048;

/// How much more an inherited tag takes, so that the tags of EKS Pod Identity take about as much of the space as they do at AWS.
const INHERITED_WEIGHT: usize = 4;

/// The session that a request gives, and its end.
pub(super) fn assume_role(
    caller: &Principal,
    role: Option<&Role>,
    request: &AssumeRole,
    now: Timestamp,
) -> Result<(Principal, Timestamp), Refusal> {
    parameters(request)?;
    packed(caller, request)?;
    let tags = tags(caller, request)?;
    let role = authorized(caller, role, request, &tags)?;
    let seconds = duration(caller, role, request)?;
    let expiration = now + Duration::from_secs(seconds);
    let inherited = caller
        .session
        .iter()
        .flat_map(|session| session.transitive_tags.clone());
    let own = tags
        .into_iter()
        .filter(|(key, _)| request.transitive_tag_keys.contains(key));
    let source_identity = request
        .source_identity
        .clone()
        .or_else(|| caller.session.as_ref()?.source_identity.clone());
    let session = session_of(
        role,
        request,
        expiration,
        inherited.chain(own).collect(),
        source_identity,
    );
    Ok((session, expiration))
}

/// The session of a role that somebody may have.
pub(super) fn session_of(
    role: &Role,
    request: &AssumeRole,
    expiration: Timestamp,
    transitive_tags: BTreeMap<String, String>,
    source_identity: Option<String>,
) -> Principal {
    let mut policies = vec![role.policies.clone()];
    let inline = request
        .policy
        .iter()
        .map(|policy| serde_json::from_str(policy).unwrap_or_default());
    let managed = request.policy_arns.iter().map(|_| super::allow_all());
    let session_policies: Vec<Value> = inline.chain(managed).collect();
    if !session_policies.is_empty() {
        policies.push(session_policies);
    }
    let name = request.role_arn.rsplit('/').next().unwrap_or_default();
    let account = request.role_arn.split(':').nth(4).unwrap_or(ACCOUNT);
    Principal {
        secret: String::new(),
        token: None,
        arn: format!("arn:aws:sts::{account}:assumed-role/{name}/{}", request.session_name),
        policies,
        session: Some(SessionFacts {
            role_arn: request.role_arn.clone(),
            expiration,
            transitive_tags,
            source_identity,
        }),
    }
}

pub(super) fn invalid(parameter: &str, value: &str, constraint: &str) -> Refusal {
    let message = format!(
        "1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint: {constraint}"
    );
    Refusal::new(400, "ValidationError", message)
}

fn of(characters: &str) -> impl Fn(char) -> bool {
    let characters = characters.to_owned();
    move |c| c.is_ascii_alphanumeric() || c == '_' || characters.contains(c)
}

pub(super) fn parameters(request: &AssumeRole) -> Result<(), Refusal> {
    let arn = &request.role_arn;
    if arn.len() < 20 || arn.len() > 2048 {
        return Err(invalid("roleArn", arn, "Member must have length between 20 and 2048"));
    }
    if !arn.starts_with("arn:aws") || arn.split(':').count() < 6 {
        return Err(Refusal::new(400, "ValidationError", format!("{arn} is invalid")));
    }
    let pattern = "Member must satisfy regular expression pattern: ";
    let name = &request.session_name;
    if !(2..=64).contains(&name.len()) {
        return Err(invalid(
            "roleSessionName",
            name,
            "Member must have length between 2 and 64",
        ));
    }
    if !name.chars().all(of("+=,.@-")) {
        return Err(invalid("roleSessionName", name, &format!("{pattern}[\\w+=,.@-]*")));
    }
    let seconds = request.duration.unwrap_or(3600);
    if seconds < 900 {
        return Err(invalid(
            "durationSeconds",
            &seconds.to_string(),
            "Member must have value greater than or equal to 900",
        ));
    }
    if seconds > 43_200 {
        return Err(invalid(
            "durationSeconds",
            &seconds.to_string(),
            "Member must have value less than or equal to 43200",
        ));
    }
    if let Some(id) = &request.external_id
        && (!(2..=1224).contains(&id.len()) || !id.chars().all(of("+=,.@:/-")))
    {
        return Err(invalid("externalId", id, &format!("{pattern}[\\w+=,.@:\\/-]*")));
    }
    if let Some(identity) = &request.source_identity
        && (!(2..=64).contains(&identity.len()) || !identity.chars().all(of("+=,.@-")))
    {
        return Err(invalid("sourceIdentity", identity, &format!("{pattern}[\\w+=,.@-]*")));
    }
    policies(request)
}

fn policies(request: &AssumeRole) -> Result<(), Refusal> {
    if request.policy_arns.len() > 10 {
        return Err(invalid(
            "policyArns",
            &request.policy_arns.len().to_string(),
            "Member must have length less than or equal to 10",
        ));
    }
    let Some(policy) = &request.policy else {
        return Ok(());
    };
    let length = policy.chars().count() + request.policy_arns.iter().map(|arn| arn.chars().count()).sum::<usize>();
    if length > 2048 {
        return Err(invalid(
            "policy",
            policy,
            "Member must have length less than or equal to 2048",
        ));
    }
    match serde_json::from_str::<Value>(policy) {
        Ok(value) if !value["Statement"].is_null() => {}
        _ => {
            return Err(Refusal::new(
                400,
                "MalformedPolicyDocument",
                "This policy contains invalid Json",
            ));
        }
    }
    Ok(())
}

/// Policies and tags are packed together, and the tags that a session inherits with them.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_know>
pub(super) fn packed(caller: &Principal, request: &AssumeRole) -> Result<(), Refusal> {
    let of_policy = request
        .policy
        .iter()
        .map(|policy| policy.split_whitespace().collect::<String>().len() * 3 / 4)
        .sum::<usize>();
    let of_tags: usize = request.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
    let inherited = caller.session.iter().flat_map(|session| &session.transitive_tags);
    let of_inherited = inherited
        .map(|(key, value)| (key.len() + value.len()) * INHERITED_WEIGHT)
        .sum::<usize>();
    let percent = (of_policy + of_tags + of_inherited) * 100 / PACKED_MAX;
    if percent <= 100 {
        return Ok(());
    }
    let message = match of_tags + of_inherited > of_policy {
        true => format!("Packed size of session tags consumes {percent}% of allotted space."),
        false => format!("Packed policy consumes {percent}% of allotted space, please use smaller policy."),
    };
    Err(Refusal::new(400, "PackedPolicyTooLarge", message))
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>
fn tags(caller: &Principal, request: &AssumeRole) -> Result<BTreeMap<String, String>, Refusal> {
    let refused = |message: &str| Err(Refusal::new(400, "InvalidParameterValue", message));
    if request.tags.len() > 50 {
        return Err(invalid(
            "tags",
            &request.tags.len().to_string(),
            "Member must have length less than or equal to 50",
        ));
    }
    let mut seen = HashSet::new();
    for (key, value) in &request.tags {
        if !seen.insert(key.to_lowercase()) {
            return refused("Duplicate tag keys found. Please note that Tag keys are case insensitive.");
        }
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(invalid("tags", key, "Member must have length between 1 and 128"));
        }
        if key.to_lowercase().starts_with("aws:") {
            return refused("Tag keys beginning with 'aws:' are reserved for system use.");
        }
    }
    let tags: BTreeMap<String, String> = request.tags.iter().cloned().collect();
    if request.transitive_tag_keys.iter().any(|key| !tags.contains_key(key)) {
        return refused("The specified transitive tag key must be included in the requested tags.");
    }
    // <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html#id_session-tags_role-chaining>
    let inherited = caller.session.iter().flat_map(|session| session.transitive_tags.keys());
    if inherited.into_iter().any(|key| seen.contains(&key.to_lowercase())) {
        return refused(
            "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
        );
    }
    Ok(tags)
}

/// Both the caller's policy and the role's trust policy must allow it. A role that does not exist is refused as one that is not trusted.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_roles.html>
fn authorized<'a>(
    caller: &Principal,
    role: Option<&'a Role>,
    request: &AssumeRole,
    tags: &BTreeMap<String, String>,
) -> Result<&'a Role, Refusal> {
    let arn = &request.role_arn;
    let inherited = caller
        .session
        .as_ref()
        .is_some_and(|session| !session.transitive_tags.is_empty());
    let mut actions = vec!["sts:AssumeRole"];
    if !tags.is_empty() || inherited {
        actions.push("sts:TagSession");
    }
    if request.source_identity.is_some() {
        actions.push("sts:SetSourceIdentity");
    }
    let mut context: Context = tags
        .iter()
        .map(|(key, value)| (format!("aws:RequestTag/{key}"), value.clone()))
        .collect();
    if let Some(id) = &request.external_id {
        context.insert("sts:ExternalId".to_owned(), id.clone());
    }
    context.insert("sts:RoleSessionName".to_owned(), request.session_name.clone());
    let account = caller.arn.split(':').nth(4).unwrap_or_default();
    let mut names = vec![
        caller.arn.clone(),
        account.to_owned(),
        format!("arn:aws:iam::{account}:root"),
    ];
    names.extend(caller.session.as_ref().map(|session| session.role_arn.clone()));
    for action in actions {
        if !all_allow(&caller.policies, action, arn, &context) {
            let why = format!(" because no identity-based policy allows the {action} action");
            return Err(not_authorized(&caller.arn, action, arn, &why));
        }
        let trusted = role.map(|role| decide(&role.trust, Some(&names), action, None, &context));
        if trusted != Some(Decision::Allow) {
            return Err(not_authorized(&caller.arn, action, arn, ""));
        }
    }
    if let Some(earlier) = caller
        .session
        .as_ref()
        .and_then(|session| session.source_identity.as_ref())
        && request
            .source_identity
            .as_ref()
            .is_some_and(|identity| identity != earlier)
    {
        return Err(not_authorized(&caller.arn, "sts:SetSourceIdentity", arn, ""));
    }
    role.ok_or_else(|| not_authorized(&caller.arn, "sts:AssumeRole", arn, ""))
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
pub(super) fn not_authorized(who: &str, action: &str, resource: &str, why: &str) -> Refusal {
    let kind = if who.contains(":user/") || who.contains(":assumed-role/") {
        "User"
    } else {
        "Role"
    };
    Refusal::new(
        403,
        "AccessDenied",
        format!("{kind}: {who} is not authorized to perform: {action} on resource: {resource}{why}"),
    )
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>
pub(super) fn duration(caller: &Principal, role: &Role, request: &AssumeRole) -> Result<u64, Refusal> {
    let seconds = request.duration.unwrap_or(3600);
    if caller.session.is_some() && seconds > 3600 {
        return Err(Refusal::new(
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
        ));
    }
    if seconds > i64::from(role.max_session) {
        return Err(Refusal::new(
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    Ok(seconds.unsigned_abs())
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
