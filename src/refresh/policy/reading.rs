//! How a policy is read, where it is not plain.

use thiserror::Error;

use super::denial::excerpt;
use super::glob::{self, Glob};
use super::{Namespaces, is_arn};
use crate::api::AWSAssumeRolePolicySpec;

/// A policy that cannot be acted on. The definition refuses these; one that was stored under another definition may be such.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidPolicy {
    /// None or both.
    #[error("give exactly one of spec.namespaces and spec.namespaceSelector")]
    Namespaces,
    /// No name of a namespace, and no glob over such.
    #[error(
        "spec.namespaces has {0:?}: give names of namespaces or globs over them, of lower case letters, digits, '-', '*' and '?'"
    )]
    Namespace(String),
    /// It selects nothing, or everything.
    #[error("spec.namespaceSelector.matchLabels is empty: give at least one label")]
    MatchLabels,
    /// Not there, as it is in other selectors.
    #[error("spec.namespaceSelector.matchExpressions is given: there is matchLabels only")]
    MatchExpressions,
    /// It would permit nothing.
    #[error("spec.roles is empty: give at least one glob over the whole ARN of a role")]
    NoRoles,
    /// It could match no role.
    #[error(
        "spec.roles has {0:?}: give globs over the whole ARN of a role, with its six fields, such as arn:aws:iam::123456789012:role/team-a/*"
    )]
    Role(String),
    /// A variable that there is not.
    #[error("spec.roles has {0:?}: there is ${{namespace}} only")]
    Variable(String),
    /// Out of range.
    #[error("spec.maxDurationSeconds is {0}: give 900 to 43200")]
    MaxDuration(i32),
    /// A beginning of every key.
    #[error("spec.secretMetadataPrefixes has an empty text: leave the field out to permit all keys")]
    MetadataPrefix,
}

pub(super) fn namespaces(spec: &AWSAssumeRolePolicySpec) -> Result<Namespaces, InvalidPolicy> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-*?".contains(&byte);
    match (spec.namespaces.as_slice(), &spec.namespace_selector) {
        ([], None) | ([_, ..], Some(_)) => Err(InvalidPolicy::Namespaces),
        ([], Some(selector)) if !selector.match_expressions.is_empty() => Err(InvalidPolicy::MatchExpressions),
        ([], Some(selector)) if selector.match_labels.is_empty() => Err(InvalidPolicy::MatchLabels),
        ([], Some(selector)) => Ok(Namespaces::Labelled(selector.match_labels.clone())),
        (names, None) => match names.iter().find(|name| name.is_empty() || !name.bytes().all(is_plain)) {
            Some(wrong) => Err(InvalidPolicy::Namespace(excerpt(wrong))),
            None => Ok(Namespaces::Named(names.iter().map(|name| Glob::new(name)).collect())),
        },
    }
}

pub(super) fn roles(roles: &[String]) -> Result<Box<[Glob]>, InvalidPolicy> {
    if roles.is_empty() {
        return Err(InvalidPolicy::NoRoles);
    }
    let glob = |role: &String| {
        if !is_arn(role) || !role.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidPolicy::Role(excerpt(role)));
        }
        match glob::is_understood(role) {
            true => Ok(Glob::new(role)),
            false => Err(InvalidPolicy::Variable(excerpt(role))),
        }
    };
    roles.iter().map(glob).collect()
}
