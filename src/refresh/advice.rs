//! What a person can do about a failure, as far as it can be known.

mod web_identity;

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::schedule::whole_seconds;
use crate::aws::error::{Answer, Operation};
use crate::aws::{AssumeRole, AwsError, Identity};
use crate::spec::Format;

/// A session of a role that was assumed by a role session lasts one hour at most.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>
pub const CHAINED_SESSION_MAX: Duration = Duration::from_secs(3600);

/// Below this overlap a mounted Secret may reach its pods too late: the kubelet reads Secrets anew every minute or two.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#mounted-secrets-are-updated-automatically>
const OVERLAP_MIN: Duration = Duration::from_secs(180);

/// Below this overlap the credentials in a mounted file may end before they are read anew: AWS SDKs do so every 300 seconds, and the kubelet
/// takes up to two minutes to bring the file.
const FILE_OVERLAP_MIN: Duration = Duration::from_secs(420);

/// How far the clocks may be apart before AWS refuses a signature is five minutes; a little less is suspicious already.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html#signature-v4-troubleshooting-credential-scope>
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(240);

/// What is known about a call that AWS refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// The role that was to be assumed.
    pub role_arn: Option<&'a str>,
    /// Who the operator is.
    pub operator: Option<&'a Identity>,
    /// The Region that the spec names.
    pub region: Option<&'a str>,
    /// Whether it was for a registry login, for which the operator narrows the session by a policy of its own.
    pub registry: bool,
    /// Whose token it was made with, where it was not the operator's own credentials.
    pub web_identity: Option<WebIdentity<'a>>,
    /// How much later it is for AWS than by the operator's clock.
    pub skew: SignedDuration,
}

/// A ServiceAccount, as AWS knows it by its token.
#[derive(Clone, Copy, Debug)]
pub struct WebIdentity<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The name.
    pub service_account: &'a str,
    /// The URL of the cluster's issuer, where the token told it.
    pub issuer: Option<&'a str>,
}

impl Circumstances<'_> {
    /// Whether the clocks are so far apart that AWS refuses signatures for it.
    #[must_use]
    pub fn clocks_are_apart(&self) -> bool {
        self.skew.abs() >= CLOCKS_APART
    }
}

/// A refusal of what was asked for, sorted anew by what is known about it, with what to do about it.
#[must_use]
pub fn advised(error: AwsError, request: Option<&AssumeRole>, known: &Circumstances<'_>) -> (AwsError, String) {
    let error = match (known.operator, request) {
        (Some(operator), Some(request)) => error.in_light_of(request, operator),
        _ => error,
    };
    let error = match known.clocks_are_apart() {
        true => error.with_clocks_apart(),
        false => error,
    };
    let advice = for_aws(&error, known);
    (error, advice)
}

/// Whether the advice about a refusal is better where the operator is known.
#[must_use]
pub fn needs_operator(error: &AwsError) -> bool {
    match error {
        AwsError::AccessDenied(_) | AwsError::NotPermitted(_) => true,
        AwsError::NoIdentity(answer) => answer.is_unknown_key(),
        _ => false,
    }
}

/// What to do about a refusal by AWS, as a sentence to put behind AWS's own.
#[must_use]
pub fn for_aws(error: &AwsError, known: &Circumstances<'_>) -> String {
    let role = known.role_arn.unwrap_or("the role");
    let principal = known
        .operator
        .map_or_else(|| "the operator's own role or user".to_owned(), Identity::principal);
    let answer = error.answer();
    let of_web_identity = known.web_identity.as_ref();
    if let Some(advice) = of_web_identity.and_then(|identity| web_identity::advice(error, identity, known)) {
        return advice;
    }
    match error {
        _ if answer.is_the_clock() || (answer.may_be_the_clock() && known.clocks_are_apart()) => about_clocks(known.skew),
        AwsError::AccessDenied(answer) | AwsError::NotPermitted(answer) if answer.message.contains("session policy") => {
            about_session_policy(answer, &principal)
        }
        AwsError::AccessDenied(answer)
            if answer.operation == Operation::AssumeRole && answer.message.contains("explicit deny") =>
        {
            let action = answer.refused_action().unwrap_or("sts:AssumeRole");
            format!("Look for a denial of {action} to {principal} in the trust relationship of {role} and in resource control policies.")
        }
        AwsError::AccessDenied(answer) if answer.operation == Operation::AssumeRole => match other_action(answer) {
            Some(action) => format!(
                "Check that the trust relationship of {role} allows {action} to the principal {principal}; the operator's own policy must allow \
                 {action} on it."
            ),
            None => format!(
            "Check that {role} exists, and that its trust relationship allows sts:AssumeRole (with EKS Pod Identity \
             sts:TagSession too) to the principal {principal}; the operator's own policy must allow sts:AssumeRole on it."
            ),
        },
        AwsError::AccessDenied(answer) if answer.operation == Operation::GetAuthorizationToken => {
            format!(
                "Give {role} a policy that allows ecr:GetAuthorizationToken on *, and the pulling from the repository."
            )
        }
        AwsError::AccessDenied(answer) | AwsError::NotPermitted(answer) => about_own_policy(answer, &principal, role),
        AwsError::InvalidRequest(answer) => about_request(answer, known),
        AwsError::Unavailable(answer) if answer.code.is_none() && answer.message.contains("HTTP status") => {
            "Check the proxy, firewall or endpoint that the operator reaches AWS through. It will be tried again.".to_owned()
        }
        AwsError::Throttled(_) | AwsError::Unavailable(_) => "It will be tried again.".to_owned(),
        AwsError::NoIdentity(answer) if answer.may_be_the_clock() => {
            "The access key id is known and its secret is another one: check the operator's AWS credentials.".to_owned()
        }
        AwsError::NoIdentity(answer) if answer.code.is_some() => {
            "AWS does not accept the operator's own credentials; they are looked for again every few seconds. Check its EKS Pod Identity \
             association, its IRSA role or its access key."
                .to_owned()
        }
        AwsError::NoIdentity(_) => {
            "Give the operator's ServiceAccount an EKS Pod Identity association or an IRSA role, or the operator AWS \
             credentials in its environment."
                .to_owned()
        }
    }
}

/// What AWS refuses in a call for a session where that is not the call itself, such as its tags.
fn other_action(answer: &Answer) -> Option<&str> {
    answer.refused_action().filter(|action| *action != "sts:AssumeRole")
}

/// Which policy on the operator's side does not allow what, by what AWS says of it. The phrases are AWS's.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html#access-denied-examples>
fn about_own_policy(answer: &Answer, principal: &str, role: &str) -> String {
    let action = answer.refused_action().unwrap_or("sts:AssumeRole");
    let says = |words: &str| answer.message.contains(words);
    let kinds = ["service control policy", "permissions boundary", "VPC endpoint policy"];
    let kind = kinds.into_iter().find(|kind| says(kind));
    match (kind, says("explicit deny")) {
        (Some("permissions boundary"), false) => {
            format!("The permissions boundary of {principal} must allow {action} on {role}.")
        }
        (Some(kind), false) => format!("A {kind} must allow {action} on {role} to {principal}."),
        (Some(kind), true) => format!("A {kind} denies {principal} {action} on {role}: have that changed."),
        (None, true) => format!("A policy of {principal} denies it {action} on {role}: have that changed."),
        (None, false) => format!("Give {principal} a policy that allows {action} on {role}."),
    }
}

/// The policy of the session with which the call was made: that of the spec where it was for a registry login, and otherwise the operator's own.
fn about_session_policy(answer: &Answer, principal: &str) -> String {
    let action = answer.refused_action();
    match answer.operation {
        Operation::GetAuthorizationToken => format!(
            "spec.session.policy and spec.session.policyArns narrow the session: one of them must allow {} on *, and none deny it.",
            action.unwrap_or("ecr:GetAuthorizationToken")
        ),
        _ => format!(
            "The session of {principal} that the operator works with is narrowed by a session policy, which must allow {}.",
            action.unwrap_or("sts:AssumeRole")
        ),
    }
}

/// What is wrong with the spec, by what AWS says of it.
fn about_request(answer: &Answer, known: &Circumstances<'_>) -> String {
    let role = known.role_arn.unwrap_or("the role");
    let region = known.region.map_or("the Region", |region| region);
    match answer.short_code() {
        _ if answer.message.contains("role chaining") => chained(),
        _ if answer.message.contains("MaxSessionDuration") => {
            format!("Lower spec.durationSeconds, or raise the maximum session duration of {role}.")
        }
        // <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-abac.html>
        "PackedPolicyTooLarge" => {
            let own = match known.registry {
                true => " The policy that the operator adds for the registry counts too.",
                false => "",
            };
            format!(
                "With EKS Pod Identity the operator's own session tags, which every session inherits, take up to three quarters of the \
                 space: switch them off in its association (disableSessionTags), or shorten session.policy and session.tags.{own}"
            )
        }
        // <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html>
        "RegionDisabled" => {
            format!(
                "Activate {region} for STS in the account settings of IAM, or choose another Region in spec.region."
            )
        }
        "AccessDenied" | "InvalidClientTokenId" | "OptInRequired" | "UnrecognizedClient" => match known.operator {
            Some(operator) if operator.is_of_another_partition(known.role_arn, known.region) => format!(
                "The operator lives in the partition {}, and credentials of one partition are not known in another: use an operator there.",
                operator.partition
            ),
            _ => format!(
                "The operator's credentials are good, and {region} does not know them: enable that Region for the operator's account, or \
                 choose another in spec.region."
            ),
        },
        _ => "Correct the spec.".to_owned(),
    }
}

/// That the clocks are apart, and what to do about it.
#[must_use]
pub fn about_clocks(skew: SignedDuration) -> String {
    let seconds = skew.as_secs();
    let which = match seconds {
        1.. => format!("The operator's clock is {seconds} s behind AWS's"),
        0 => "The operator's clock and AWS's are apart".to_owned(),
        _ => format!("The operator's clock is {} s ahead of AWS's", seconds.unsigned_abs()),
    };
    format!(
        "{which}, and AWS refuses what was signed more than 5 minutes off: set the clock of the node right. It will be tried again."
    )
}

/// What is said of credentials that outlive the leave to have them. Nothing where there are none.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html>
#[must_use]
pub fn about_live_credentials(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |end| {
        let end = whole_seconds(end);
        format!(
            " Credentials that were issued before work in AWS until {end}, whatever becomes of the Secret: to end them sooner, revoke the role's \
             sessions, that is deny it everything where aws:TokenIssueTime is before now."
        )
    })
}

/// The limit on the lifetime under role chaining, and what to do about it.
#[must_use]
pub fn chained() -> String {
    "The operator runs with an assumed role itself (EKS Pod Identity, IRSA or an instance profile), and a session assumed from one \
     (role chaining) lasts 3600 seconds at most: set spec.durationSeconds to 3600 or less."
        .to_owned()
}

/// A warning about an overlap that is allowed and yet too short for mounted Secrets of that format.
#[must_use]
pub fn about_overlap(refresh_before: Option<Duration>, format: &Format) -> Option<String> {
    let (least, why) = match format {
        Format::File => (
            FILE_OVERLAP_MIN,
            "a mounted Secret takes up to two minutes to reach a pod, and AWS SDKs read a credentials file again only every five",
        ),
        _ => (OVERLAP_MIN, "a mounted Secret takes up to two minutes to reach a pod"),
    };
    let short = refresh_before.filter(|before| *before < least)?;
    Some(format!(
        "refreshBeforeSeconds is {}: {why}, so programs may use expired credentials; {} or more is safe.",
        short.as_secs(),
        least.as_secs()
    ))
}

#[cfg(test)]
mod tests;
