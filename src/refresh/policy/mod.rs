//! What the policies permit. An `AWSAssumeRolePolicy` is parsed once into a [`Policy`]; [`rule`] is asked before every `AssumeRole`, with all
//! [`Policies`] that there are and what a resource asks for.

mod denial;
mod glob;
mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::denial::{excerpt, for_the_status};
use self::glob::Glob;
use crate::api::{AWSAssumeRolePolicy, AWSAssumeRolePolicySpec};
use crate::aws::Identity;
use crate::spec::Spec;
pub use denial::{Denial, Lack};
pub use reading::InvalidPolicy;

/// The label that the API server gives every namespace, and lets nobody change: its name.
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name>
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The beginnings of the keys of tags that EKS gives to sessions, so that trust policies believe them.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
const TAGS_OF_EKS: [&str; 2] = ["kubernetes-", "eks-"];

/// How many fields an ARN has.
const ARN_FIELDS: usize = 6;

/// Who may have what, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    namespaces: Namespaces,
    roles: Box<[Glob]>,
    max_duration: Option<Duration>,
    policies: bool,
    tag_keys: Box<[String]>,
    external_ids: Box<[String]>,
    source_identities: Box<[String]>,
    metadata_prefixes: Option<Box<[String]>>,
}

/// Whom a policy is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Namespaces {
    Named(Box<[Glob]>),
    Labelled(BTreeMap<String, String>),
}

/// Whether a policy is about a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Yes,
    No,
    /// That depends on labels that are not known.
    Perhaps,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`InvalidPolicy`] says what to write instead.
    pub fn from_api(policy: &AWSAssumeRolePolicy) -> Result<Self, InvalidPolicy> {
        let spec = &policy.spec;
        let session = spec.session.clone().unwrap_or_default();
        let max_duration = spec.max_duration_seconds.map(|seconds| match seconds {
            900..=43_200 => Ok(Duration::from_secs(u64::from(seconds.unsigned_abs()))),
            _ => Err(InvalidPolicy::MaxDuration(seconds)),
        });
        let prefixes = spec.secret_metadata_prefixes.as_deref();
        if prefixes.is_some_and(|prefixes| prefixes.iter().any(String::is_empty)) {
            return Err(InvalidPolicy::MetadataPrefix);
        }
        Ok(Self {
            namespaces: reading::namespaces(spec)?,
            roles: reading::roles(&spec.roles)?,
            max_duration: max_duration.transpose()?,
            policies: session.policies.unwrap_or_default(),
            tag_keys: session.tag_keys.into(),
            external_ids: session.external_ids.into(),
            source_identities: session.source_identities.into(),
            metadata_prefixes: prefixes.map(Into::into),
        })
    }

    /// Whether the labels of namespaces have to be known.
    #[must_use]
    pub fn selects_by_label(&self) -> bool {
        matches!(self.namespaces, Namespaces::Labelled(_))
    }

    fn names(&self, demand: &Demand<'_>) -> Named {
        let wanted = match &self.namespaces {
            Namespaces::Named(globs) => {
                let named = globs
                    .iter()
                    .any(|glob| glob.matches(demand.namespace, demand.namespace));
                return if named { Named::Yes } else { Named::No };
            }
            Namespaces::Labelled(wanted) => wanted,
        };
        let mut named = Named::Yes;
        for (key, value) in wanted {
            let label = match demand.labels {
                Some(labels) => labels.get(key).map(String::as_str),
                None if key == NAME_LABEL => Some(demand.namespace),
                None => {
                    named = Named::Perhaps;
                    continue;
                }
            };
            if label != Some(value.as_str()) {
                return Named::No;
            }
        }
        named
    }

    /// What stands against a resource: nothing where it is permitted. Of each kind the first is told.
    fn lacks(&self, demand: &Demand<'_>) -> Vec<Lack> {
        let Demand { namespace, spec, .. } = demand;
        let session = &spec.session;
        let mut lacks = general_lacks(demand);
        let named = self.roles.iter().any(|glob| glob.matches(demand.role_arn, namespace));
        if !named || has_odd_path(demand.role_arn) {
            lacks.push(Lack::Role);
        }
        if let Some(most) = self.max_duration.filter(|most| spec.duration > *most) {
            let asked = spec.duration;
            lacks.push(Lack::Duration { asked, most });
        }
        if session.has_own_policies && !self.policies {
            lacks.push(Lack::SessionPolicy);
        }
        if let Some(key) = session.tags.keys().find(|key| !self.has_tag_key(key)) {
            lacks.push(Lack::TagKey(excerpt(key)));
        }
        if let Some(id) = session
            .external_id
            .as_ref()
            .filter(|id| !self.external_ids.contains(id))
        {
            lacks.push(Lack::ExternalId(excerpt(id)));
        }
        let identity = session.source_identity.as_ref();
        if let Some(identity) = identity.filter(|identity| !self.source_identities.contains(identity)) {
            lacks.push(Lack::SourceIdentity(excerpt(identity)));
        }
        let mut keys = spec.labels.keys().chain(spec.annotations.keys());
        if let Some(prefixes) = &self.metadata_prefixes
            && let Some(key) = keys.find(|key| !prefixes.iter().any(|prefix| key.starts_with(prefix)))
        {
            lacks.push(Lack::MetadataKey(excerpt(key)));
        }
        lacks
    }

    /// AWS takes keys of tags that differ in case only for one key, and trust policies do (`aws:PrincipalTag/Team` is `aws:PrincipalTag/team`),
    /// so whoever may have the one may have the other. Only of ASCII that is certain, so letters beyond it are compared as they are.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_session-tags.html>
    fn has_tag_key(&self, key: &str) -> bool {
        self.tag_keys
            .iter()
            .any(|permitted| permitted.eq_ignore_ascii_case(key))
    }
}

fn is_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.split(':').count() == ARN_FIELDS
}

/// Whether the path of an ARN goes up, or nowhere. To IAM `..` is a name like any other; to whoever wrote `role/team/*` it is not, and no role
/// needs it.
fn has_odd_path(arn: &str) -> bool {
    let resource = arn.splitn(ARN_FIELDS, ':').last().unwrap_or_default();
    resource.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

/// What stands against a resource of a namespace that any policy names.
fn general_lacks(demand: &Demand<'_>) -> Vec<Lack> {
    let session = &demand.spec.session;
    let mut lacks = Vec::new();
    if !is_arn(demand.role_arn) {
        lacks.push(Lack::NotAnArn);
    }
    let begins_with_namespace = || {
        let rest = session.name.strip_prefix(demand.namespace);
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    if session.is_named && !begins_with_namespace() {
        lacks.push(Lack::SessionName {
            name: excerpt(&session.name),
            namespace: demand.namespace.to_owned(),
        });
    }
    if let Some(key) = session.tags.keys().find(|key| is_tag_of_eks(key)) {
        lacks.push(Lack::OwnTag(excerpt(key)));
    }
    lacks
}

/// In whatever case, also where a letter beyond ASCII has one of ASCII in the other case.
fn is_tag_of_eks(key: &str) -> bool {
    let key = key.to_uppercase().to_lowercase();
    TAGS_OF_EKS.iter().any(|start| key.starts_with(start))
}

/// All policies that there are, by name.
#[derive(Default, Clone, Debug)]
pub struct Policies {
    /// Those that can be read.
    pub readable: BTreeMap<Arc<str>, Arc<Policy>>,
    /// Those that cannot, with the reason.
    pub unreadable: BTreeMap<Arc<str>, String>,
}

impl Policies {
    /// Takes down a policy as it was seen last, by what it says or why that could not be read.
    ///
    /// # Errors
    /// Why it cannot be acted on. It is taken down all the same.
    pub fn insert(&mut self, name: Arc<str>, spec: Result<Box<AWSAssumeRolePolicySpec>, String>) -> Result<(), &str> {
        self.readable.remove(&name);
        self.unreadable.remove(&name);
        let read = spec.and_then(|spec| {
            let policy = AWSAssumeRolePolicy::new(&name, *spec);
            Policy::from_api(&policy).map_err(|invalid| invalid.to_string())
        });
        match read {
            Ok(policy) => {
                self.readable.insert(name, Arc::new(policy));
                Ok(())
            }
            Err(why) => Err(self.unreadable.entry(name).or_insert(why)),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readable.is_empty() && self.unreadable.is_empty()
    }
}

/// What a namespace gets that no policy names.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum UnlistedNamespaces {
    /// Everything, as if there were no policies.
    #[default]
    Allow,
    /// Nothing.
    Deny,
}

/// What a resource asks for, and what is known of who asks.
#[derive(Copy, Clone, Debug)]
pub struct Demand<'a> {
    /// The resource's namespace.
    pub namespace: &'a str,
    /// The labels of the namespace. `None` where they are not known.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The role, with the account and the partition that it is in.
    pub role_arn: &'a str,
    /// The rest.
    pub spec: &'a Spec,
    /// Who the operator is. `None` where that is not known: then nothing is its own role.
    pub operator: Option<&'a Identity>,
}

/// What the policies say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The resource may have what it asks for.
    Permitted,
    /// It may, but only because no policy names its namespace, though there are some.
    Unlisted,
    /// It may not.
    Denied(Denial),
    /// That cannot be known now, for this reason. It may not for the time being, and keeps what it has.
    Held(String),
}

/// What the policies say to a demand.
#[must_use]
pub fn rule(policies: &Policies, unlisted: UnlistedNamespaces, demand: &Demand<'_>) -> Ruling {
    let Demand {
        namespace, role_arn, ..
    } = *demand;
    if policies.is_empty() && unlisted == UnlistedNamespaces::Allow {
        return Ruling::Permitted;
    }
    if demand.operator.is_some_and(|operator| is_own_role(operator, role_arn)) {
        return Ruling::Denied(Denial::OwnRole(excerpt(role_arn)));
    }
    let mut listed = false;
    // The first that would permit it, if it named the namespace.
    let mut in_doubt = None;
    let mut lacking = Vec::new();
    for (name, policy) in &policies.readable {
        let named = policy.names(demand);
        if named == Named::No {
            continue;
        }
        listed |= named == Named::Yes;
        let lacks = policy.lacks(demand);
        match (lacks.is_empty(), named) {
            (true, Named::Yes) => return Ruling::Permitted,
            (true, _) => in_doubt = in_doubt.or(Some(name)),
            (false, _) => lacking.push((name.clone(), lacks)),
        }
    }
    if !listed && let Some((name, why)) = policies.unreadable.first_key_value() {
        return held(&format!(
            "the AWSAssumeRolePolicy {name} cannot be read, and may name the namespace {namespace}, which no other certainly does: {why:?}"
        ));
    }
    let allow = !listed && unlisted == UnlistedNamespaces::Allow;
    let Some(name) = in_doubt.or(lacking.first().map(|(name, _)| name)) else {
        return match allow {
            true => Ruling::Unlisted,
            false => Ruling::Denied(Denial::Unlisted {
                namespace: namespace.to_owned(),
                role_arn: excerpt(role_arn),
            }),
        };
    };
    match (allow, in_doubt.is_some(), lacking.is_empty()) {
        // If they do not name it it is allowed, and whichever names it permits it.
        (true, true, true) => Ruling::Permitted,
        // None of those that may name it permits it, and if none names it that is no better.
        (false, false, _) => Ruling::Denied(Denial::lacking(namespace, role_arn, lacking, policies.unreadable.len())),
        _ => held(&format!(
            "the labels of the namespace {namespace} are not known, and the AWSAssumeRolePolicy {name} goes by them"
        )),
    }
}

fn held(why: &str) -> Ruling {
    Ruling::Held(for_the_status(why))
}

/// Whether it is the role that the operator itself has. The name of a role is unique in its account without regard to case, whatever its path
/// is, and the ARN of the operator's session lacks the path.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html>
fn is_own_role(operator: &Identity, role_arn: &str) -> bool {
    if !operator.is_role_session() {
        return false;
    }
    let principal = operator.principal();
    match (account_and_name(&principal), account_and_name(role_arn)) {
        (Some((account, own)), Some((other, name))) => account == other && own.eq_ignore_ascii_case(name),
        _ => false,
    }
}

fn account_and_name(role_arn: &str) -> Option<(&str, &str)> {
    let mut fields = role_arn.splitn(ARN_FIELDS, ':').skip(4);
    let (account, resource) = (fields.next()?, fields.next()?);
    Some((account, resource.rsplit('/').next()?))
}

#[cfg(test)]
mod cases;
#[cfg(test)]
mod doubt_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
