//! What AWS says to the session of a role, as the operator would ask for it: as a whole, and to each thing that it looks at.

use k8s_openapi::jiff::Timestamp;

use super::report::Check;
use crate::aws::error::Answer;
use crate::aws::{AssumeRole, AwsError, Identity};
use crate::credentials::Session;
use crate::refresh::advice::{self, Circumstances};
use crate::refresh::schedule::whole_seconds;
use crate::spec::ecr::EcrEndpoint;

const SESSION: &str = "session";
const TRUST: &str = "trust";
const TAGS: &str = "tags";
const DURATION: &str = "duration";
const EXTERNAL_ID: &str = "external-id";
const REGISTRY: &str = "registry";

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
    /// Whether it is the operator who asks.
    pub(super) is_operator: bool,
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

    /// A refusal at a time by this clock, sorted by what is known, with what to do about it.
    fn advised(&self, error: AwsError, now: Timestamp) -> (AwsError, String) {
        let date = error.answer().date;
        let circumstances = Circumstances {
            role_arn: Some(&self.request.role_arn),
            operator: Some(self.operator),
            region: self.request.region.as_deref(),
            registry: self.registry,
            web_identity: None,
            skew: date.map(|date| date.duration_since(now)).unwrap_or_default(),
        };
        advice::advised(error, Some(self.request), &circumstances)
    }

    /// What came of the request as a whole, and what follows for each thing that AWS looks at.
    pub(super) fn session(&self, answer: Result<&Session, AwsError>, now: Timestamp) -> Vec<Check> {
        let shown = self.shown();
        let (whole, parts) = match answer {
            Ok(session) => {
                let end = whole_seconds(session.expiration);
                let message = format!(
                    "AWS allows {shown}. The session would last until {end}; its credentials were thrown away."
                );
                (Check::ok(SESSION, message), self.parts(None))
            }
            Err(error) => {
                let (error, advice) = self.advised(error, now);
                let parts = self.parts(Some(&error));
                (refused(SESSION, &shown, &error, advice), parts)
            }
        };
        let checks = std::iter::once(whole).chain(parts);
        match self.is_operator {
            true => checks.collect(),
            // It may well be allowed to the operator.
            false => checks.map(Check::in_doubt).collect(),
        }
    }

    /// The things that AWS looks at, one by one. Where it refuses it names one at most, and what it did not come to is not known.
    fn parts(&self, error: Option<&AwsError>) -> Vec<Check> {
        let says_duration = |answer: &Answer| {
            ["DurationSeconds", "MaxSessionDuration"]
                .iter()
                .any(|word| answer.message.contains(word))
        };
        let refusal = match error {
            None => None,
            Some(AwsError::AccessDenied(answer) | AwsError::NotPermitted(answer)) => Some(answer),
            Some(AwsError::InvalidRequest(answer)) if says_duration(answer) => Some(answer),
            // They were not looked at.
            Some(_) => return Vec::new(),
        };
        let judged = |name, holds: String, refused: Option<(&str, String)>| match (refusal, refused) {
            (None, _) => Check::ok(name, holds),
            (Some(_), Some((message, advice))) => Check::failed(name, message, advice),
            (Some(_), None) => Check::unknown(name, "AWS refuses the session, and does not say whether for this."),
        };
        let AssumeRole {
            role_arn,
            session,
            duration,
            ..
        } = self.request;
        let principal = self.operator.principal();
        let seconds = duration.as_secs();
        let action = refusal.and_then(Answer::refused_action).unwrap_or("sts:AssumeRole");
        let of_tags = action == "sts:TagSession";
        let is_denied = refusal.is_some_and(|answer| answer.message.contains("explicit deny"));
        let of_trust = matches!(error, Some(AwsError::AccessDenied(_))) && !of_tags;
        let trust = of_trust.then(|| match is_denied {
            true => (
                "It is denied explicitly.",
                format!("Look for a denial of {action} to {principal} in the trust policy of {role_arn} and in resource control policies."),
            ),
            false => (
                "The role is not there, or its trust policy does not allow what is asked for.",
                format!("Let the trust policy of {role_arn} allow {action} to {principal}."),
            ),
        });
        let tags = (refusal.is_some() && of_tags).then(|| {
            (
                "sts:TagSession is not allowed.",
                match is_denied {
                    true => "The line of the session says where to look for the denial.".to_owned(),
                    false => format!(
                        "Let the trust policy of {role_arn} allow sts:TagSession to {principal}, and the operator's own policy allow it on the role."
                    ),
                },
            )
        });
        let lifetime = refusal.is_some_and(says_duration).then(|| {
            (
                "The role does not allow sessions that long.",
                "Lower spec.durationSeconds, or raise the maximum session duration of the role.".to_owned(),
            )
        });
        let tagged = match session.tags.is_empty() {
            true => "No session tags are asked for, and those that the caller's own session passes on are allowed.",
            false => "sts:TagSession is allowed, with the tags that are asked for.",
        };
        vec![
            judged(
                TRUST,
                format!("The trust policy of {role_arn} lets {principal} assume it."),
                trust,
            ),
            judged(TAGS, tagged.to_owned(), tags),
            judged(DURATION, format!("The role allows sessions of {seconds} s."), lifetime),
            external_id(session.external_id.as_deref(), refusal.is_some()),
        ]
    }

    pub(super) fn registry(&self, endpoint: &EcrEndpoint, error: Option<AwsError>, now: Timestamp) -> Check {
        let what = format!(
            "ecr:GetAuthorizationToken in {} with the session of the role",
            endpoint.region
        );
        match error {
            Some(error) => {
                let (error, advice) = self.advised(error, now);
                refused(REGISTRY, &what, &error, advice)
            }
            None => Check::ok(
                REGISTRY,
                format!("AWS allows {what}. Whether it may pull from the repository shows when it does."),
            ),
        }
    }
}

/// A refusal of what was asked for.
fn refused(name: &'static str, what: &str, error: &AwsError, advice: String) -> Check {
    let asked = format!("AWS refuses {what}: {error}");
    match error {
        AwsError::Throttled(_) | AwsError::Unavailable(_) => Check::unknown(name, asked).with_advice(advice),
        _ => Check::failed(name, asked, advice),
    }
}

/// The external ID that was sent. AWS never says that it was for that.
fn external_id(sent: Option<&str>, is_refused: bool) -> Check {
    match (sent, is_refused) {
        (Some(id), false) => Check::ok(EXTERNAL_ID, format!("The external ID {id} is the right one, if one is required.")),
        (None, false) => Check::ok(EXTERNAL_ID, "None is sent, and none is required."),
        (Some(id), true) => Check::unknown(EXTERNAL_ID, format!("The external ID {id} was sent.")).with_advice(format!(
            "If the trust policy has a condition on sts:ExternalId, it must be {id}."
        )),
        (None, true) => Check::unknown(EXTERNAL_ID, "No external ID was sent.").with_advice(
            "If the trust policy has a condition on sts:ExternalId, set spec.session.externalId. With tenancy.clusterName in the values of the \
             chart each namespace has one.",
        ),
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
