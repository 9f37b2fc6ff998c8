//! As much of IAM's evaluation as the operator's roles need: effects, actions, resources, principals and string conditions.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use std::collections::BTreeMap;

use serde_json::Value;

/// The values of condition keys: `sts:ExternalId`, `aws:RequestTag/team`, ...
pub type Context = BTreeMap<String, String>;

/// What a set of statements says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny,
    Nothing,
}

/// Whether each set of policies allows an action by itself, as identity policies and session policies must.
pub fn all_allow(sets: &[Vec<Value>], action: &str, resource: &str, context: &Context) -> bool {
    sets.iter().all(|set| {
        let decisions: Vec<_> = set
            .iter()
            .map(|policy| decide(policy, None, action, Some(resource), context))
            .collect();
        !decisions.contains(&Decision::Deny) && decisions.contains(&Decision::Allow)
    })
}

/// What a policy says of an action. A trust policy has principals and no resources.
pub fn decide(
    policy: &Value,
    principal: Option<&[String]>,
    action: &str,
    resource: Option<&str>,
    context: &Context,
) -> Decision {
    let mut allowed = false;
    for statement in list(&policy["Statement"]) {
        let applies = list(&statement["Action"])
            .iter()
            .any(|pattern| like(text(pattern), action, true))
            && resource.is_none_or(|resource| {
                list(&statement["Resource"])
                    .iter()
                    .any(|pattern| like(text(pattern), resource, false))
            })
            && principal.is_none_or(|names| trusts(&statement["Principal"], names))
            && conditions(&statement["Condition"], context);
        match (applies, text(&statement["Effect"])) {
            (true, "Deny") => return Decision::Deny,
            (true, "Allow") => allowed = true,
            _ => {}
        }
    }
    match allowed {
        true => Decision::Allow,
        false => Decision::Nothing,
    }
}

fn trusts(principal: &Value, names: &[String]) -> bool {
    match principal {
        Value::String(all) => all == "*",
        other => [list(&other["AWS"]), list(&other["Federated"])]
            .concat()
            .iter()
            .any(|trusted| text(trusted) == "*" || names.iter().any(|name| name == text(trusted))),
    }
}

fn conditions(conditions: &Value, context: &Context) -> bool {
    conditions.as_object().into_iter().flatten().all(|(operator, keys)| {
        keys.as_object().into_iter().flatten().all(|(key, wanted)| {
            let Some(value) = context.get(key) else {
                return operator.ends_with("IfExists") || operator == "Null";
            };
            let wanted = list(wanted);
            match operator.trim_end_matches("IfExists") {
                "StringEquals" => wanted.iter().any(|wanted| text(wanted) == value),
                "StringNotEquals" => wanted.iter().all(|wanted| text(wanted) != value),
                "StringLike" => wanted.iter().any(|wanted| like(text(wanted), value, false)),
                other => panic!("the condition {other} is not understood here"),
            }
        })
    })
}

fn list(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether a text is like a pattern with `*` and `?`.
fn like(pattern: &str, text: &str, fold_case: bool) -> bool {
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => matches(&pattern[1..], text) || (!text.is_empty() && matches(pattern, &text[1..])),
            (Some(b'?'), Some(_)) => matches(&pattern[1..], &text[1..]),
            (Some(one), Some(other)) if one == other => matches(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
    match fold_case {
        true => matches(pattern.to_lowercase().as_bytes(), text.to_lowercase().as_bytes()),
        false => matches(pattern.as_bytes(), text.as_bytes()),
    }
}
