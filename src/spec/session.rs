//! What a session is to be beyond its role, checked against the limits that the schema cannot express.

use std::collections::{BTreeMap, HashSet};

use serde_json::json;
use thiserror::Error;

use super::ecr::EcrRepositoryUrl;
use super::role::session_name;
use super::{Format, ResourceKey, excerpt};
use crate::api::SessionSpec;

/// The most characters that an inline policy and the ARNs of managed ones may have together.
const POLICY_MAX: usize = 2048;

/// What a session is to be, in the words of `AssumeRole`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRequest {
    /// `RoleSessionName`.
    pub name: String,
    /// Whether the spec gave the name.
    pub is_named: bool,
    /// The inline session policy.
    pub policy: Option<String>,
    /// The managed session policies.
    pub policy_arns: Vec<String>,
    /// Whether the spec gave a session policy, inline or managed. One that the operator made of the repositories' URLs is none.
    pub has_own_policies: bool,
    /// The session tags.
    pub tags: BTreeMap<String, String>,
    /// Those of the tags that are inherited.
    pub transitive_tag_keys: Vec<String>,
    /// The external id.
    pub external_id: Option<String>,
    /// The source identity.
    pub source_identity: Option<String>,
}

/// A session that cannot be asked for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidSession {
    /// Not JSON, or JSON that is no policy.
    #[error("policy is not a policy in JSON: {0}")]
    Policy(String),
    /// Too long.
    #[error("policy and spec.session.policyArns have {0} characters together: 2048 are allowed")]
    PolicyLength(usize),
    /// The one that the operator would send is too long.
    #[error(
        "policy: the one that the operator makes of the repositories' URLs would have {0} characters, and 2048 are allowed: name fewer \
         repositories, or a registry by its host alone (<account>.dkr.ecr.<region>.amazonaws.com), which means all of its repositories, or \
         give a spec.session.policy of your own"
    )]
    DerivedPolicyLength(usize),
    /// Two keys that are one to AWS.
    #[error("tags: {0} is there twice: AWS does not tell upper case from lower case")]
    DuplicateTag(String),
    /// A transitive key that is none of the tags.
    #[error("transitiveTagKeys: {0} is not a key of spec.session.tags")]
    TransitiveTag(String),
    /// An external id that tells a trust policy another cluster or namespace.
    #[error(
        "externalId is {0:?}: those that begin with k8s: are the operator's own, and name a cluster and a namespace. Leave it out, or agree \
         on another with the owner of the role"
    )]
    OwnExternalId(String),
}

impl SessionRequest {
    /// Reads what a spec says of the session, and confines the session of a registry login to what its URLs mean where nothing is said.
    ///
    /// # Errors
    /// [`InvalidSession`] says what to write instead.
    pub(super) fn from_spec(
        key: &ResourceKey,
        spec: Option<&SessionSpec>,
        format: &Format,
    ) -> Result<Self, InvalidSession> {
        let spec = spec.cloned().unwrap_or_default();
        if let Some(policy) = &spec.policy {
            check_policy(policy)?;
        }
        let length = spec.policy.as_ref().map_or(0, |policy| policy.chars().count())
            + spec.policy_arns.iter().map(|arn| arn.chars().count()).sum::<usize>();
        if length > POLICY_MAX {
            return Err(InvalidSession::PolicyLength(length));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = spec.tags.keys().find(|key| !seen.insert(key.to_lowercase())) {
            return Err(InvalidSession::DuplicateTag(twice.clone()));
        }
        if let Some(strange) = spec
            .transitive_tag_keys
            .iter()
            .find(|key| !spec.tags.contains_key(*key))
        {
            return Err(InvalidSession::TransitiveTag(strange.clone()));
        }
        if let Some(own) = spec.external_id.as_deref().filter(|id| is_own_external_id(id)) {
            return Err(InvalidSession::OwnExternalId(excerpt(own)));
        }
        let has_own_policies = spec.policy.is_some() || !spec.policy_arns.is_empty();
        let policy = match format {
            Format::EcrDockerConfigJson(urls) if !has_own_policies => {
                let policy = confined_to(urls);
                match policy.chars().count() {
                    length if length > POLICY_MAX => return Err(InvalidSession::DerivedPolicyLength(length)),
                    _ => Some(policy),
                }
            }
            _ => spec.policy,
        };
        Ok(Self {
            is_named: spec.name.is_some(),
            has_own_policies,
            name: spec.name.unwrap_or_else(|| session_name(&key.namespace, &key.name)),
            policy,
            policy_arns: spec.policy_arns,
            tags: spec.tags,
            transitive_tag_keys: spec.transitive_tag_keys,
            external_id: spec.external_id,
            source_identity: spec.source_identity,
        })
    }
}

/// Whether only the operator may send it, in whatever case: a trust policy may compare without regard to case.
fn is_own_external_id(id: &str) -> bool {
    id.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("k8s:"))
}

fn check_policy(policy: &str) -> Result<(), InvalidSession> {
    let invalid = |error: &dyn std::fmt::Display| InvalidSession::Policy(error.to_string());
    let value: serde_json::Value = serde_json::from_str(policy).map_err(|error| invalid(&error))?;
    match value.get("Statement") {
        Some(_) => Ok(()),
        None => Err(invalid(&"it has no Statement")),
    }
}

/// A session policy that lets a session fetch registry tokens and do to what the URLs mean what its role may do to it. A token carries the
/// rights of the session that asked for it.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
fn confined_to(urls: &[EcrRepositoryUrl]) -> String {
    let mut widest: Vec<&EcrRepositoryUrl> = Vec::new();
    for url in urls {
        if !widest.iter().any(|kept| kept.covers(url)) {
            widest.retain(|kept| !url.covers(kept));
            widest.push(url);
        }
    }
    let resources: Vec<String> = widest.into_iter().flat_map(EcrRepositoryUrl::arns).collect();
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {"Effect": "Allow", "Action": "ecr:*", "Resource": resources},
        ]
    })
    .to_string()
}
