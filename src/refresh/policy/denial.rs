//! Why something is refused, in words for the status. What others wrote is quoted, so that no line can be forged with it, and cut.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

/// The most bytes of a text for the status.
const LENGTH: usize = 1000;

/// The most bytes of one value in it. A role's ARN is seldom longer.
const QUOTED: usize = 200;

/// The most bytes of what is behind the role and the namespace.
const REST: usize = 550;

/// The most policies that it speaks of.
const POLICIES: usize = 4;

/// Why no policy permits what a resource asks for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Denial {
    /// It asks for the operator's own role.
    #[error("{} is the operator's own role, which can be had in no namespace: give the resource a role of its own", quoted(.0))]
    OwnRole(String),
    /// Its namespace is in no policy.
    #[error(
        "no AWSAssumeRolePolicy names the namespace {namespace}, and --unlisted-namespaces is Deny: an administrator can permit it with a \
         policy whose namespaces name it, and whose roles match {}", quoted(.role_arn)
    )]
    Unlisted {
        /// The namespace.
        namespace: String,
        /// The role.
        role_arn: String,
    },
    /// What no policy permits where its namespace is in one.
    #[error(
        "{} is refused in the namespace {namespace}, which an AWSAssumeRolePolicy names: {}", quoted(.role_arn), cut(&joined(.lacks), REST)
    )]
    Forbidden {
        /// The namespace.
        namespace: String,
        /// The role.
        role_arn: String,
        /// What is wrong.
        lacks: Vec<Lack>,
    },
    /// The policies that name its namespace permit less.
    #[error(
        "no AWSAssumeRolePolicy permits {} to the namespace {namespace} as it is asked for: {}{}",
        quoted(.role_arn), shortfalls(.policies, *.further), unread(*.unreadable)
    )]
    Lacking {
        /// The namespace.
        namespace: String,
        /// The role.
        role_arn: String,
        /// Some of the policies, with what each lacks. Those that lack least come first.
        policies: Vec<(Arc<str>, Vec<Lack>)>,
        /// How many more there are.
        further: usize,
        /// How many policies cannot be read.
        unreadable: usize,
    },
}

/// What stands against a resource.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Lack {
    /// Against every policy: the ARN is none.
    #[error("a role's ARN has six fields between colons, as arn:aws:iam::123456789012:role/my-role has")]
    NotAnArn,
    /// Against every policy: the session would pass for one of another namespace.
    #[error("session.name is {}, and has to begin with {namespace}. (with the dot): leave it out, or let it begin so", quoted(.name))]
    SessionName {
        /// What is asked for.
        name: String,
        /// The namespace.
        namespace: String,
    },
    /// Against every policy: the tag would pass for one that EKS gives.
    #[error("session.tags has {}, and those that begin with kubernetes- or eks- are for EKS to give: leave it out", quoted(.0))]
    OwnTag(String),
    /// No glob over roles matches.
    #[error("no entry of its roles matches that ARN")]
    Role,
    /// The session is to last longer.
    #[error("its maxDurationSeconds is {}, and durationSeconds is {}", .most.as_secs(), .asked.as_secs())]
    Duration {
        /// What is asked for.
        asked: Duration,
        /// What is permitted.
        most: Duration,
    },
    /// The spec has a session policy of its own.
    #[error("its session.policies is not true, and session.policy or session.policyArns is given")]
    SessionPolicy,
    /// A tag.
    #[error("its session.tagKeys lack {}", quoted(.0))]
    TagKey(String),
    /// The external id.
    #[error("its session.externalIds lack {}", quoted(.0))]
    ExternalId(String),
    /// The source identity.
    #[error("its session.sourceIdentities lack {}", quoted(.0))]
    SourceIdentity(String),
    /// A label or an annotation of the Secret.
    #[error("its secretMetadataPrefixes have no beginning of {}, which is a key of secretTemplate", quoted(.0))]
    MetadataKey(String),
}

impl Lack {
    /// Whether no policy could help.
    pub(super) const fn is_against_every_policy(&self) -> bool {
        matches!(self, Self::NotAnArn | Self::SessionName { .. } | Self::OwnTag(_))
    }
}

impl Denial {
    /// That none of the policies that may name the namespace permits it.
    pub(super) fn lacking(
        namespace: &str,
        role_arn: &str,
        mut policies: Vec<(Arc<str>, Vec<Lack>)>,
        unreadable: usize,
    ) -> Self {
        let (namespace, role_arn) = (namespace.to_owned(), excerpt(role_arn));
        let general = policies.first().into_iter().flat_map(|(_, lacks)| lacks);
        let general: Vec<Lack> = general.filter(|lack| lack.is_against_every_policy()).cloned().collect();
        if !general.is_empty() {
            return Self::Forbidden {
                namespace,
                role_arn,
                lacks: general,
            };
        }
        // Whoever permits the role is more likely to be meant than whoever lacks nothing else.
        policies.sort_by_key(|(_, lacks)| (lacks.contains(&Lack::Role), lacks.len()));
        let further = policies.len().saturating_sub(POLICIES);
        policies.truncate(POLICIES);
        Self::Lacking {
            namespace,
            role_arn,
            policies,
            further,
            unreadable,
        }
    }
}

fn joined(lacks: &[Lack]) -> String {
    let lacks: Vec<String> = lacks.iter().map(Lack::to_string).collect();
    lacks.join("; ")
}

/// What each policy lacks.
fn shortfalls(policies: &[(Arc<str>, Vec<Lack>)], further: usize) -> String {
    let policies = policies
        .iter()
        .map(|(name, lacks)| format!("policy {name}: {}", joined(lacks)));
    let mut told: Vec<String> = policies.collect();
    if further > 0 {
        told.push(format!("{further} more lack something too"));
    }
    cut(&told.join(". "), REST)
}

fn unread(policies: usize) -> String {
    match policies {
        0 => String::new(),
        _ => format!(". Policies that cannot be read permit nothing until they can: {policies}"),
    }
}

/// A text that somebody else wrote, so that it can be told from what is said of it.
fn quoted(text: &str) -> impl fmt::Display + '_ {
    fmt::from_fn(move |f| f.write_str(&cut(&format!("{text:?}"), QUOTED)))
}

/// What is kept of a text that is to be quoted.
pub(super) fn excerpt(text: &str) -> String {
    cut(text, QUOTED)
}

/// A text for the status, cut where it is too long for that.
pub(super) fn for_the_status(text: &str) -> String {
    cut(text, LENGTH)
}

/// The beginning of a text that is longer.
fn cut(text: &str, most: usize) -> String {
    match text.len() <= most {
        true => text.to_owned(),
        false => format!("{}...", &text[..text.floor_char_boundary(most - 3)]),
    }
}
