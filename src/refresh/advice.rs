//! What a person can do about a failure, as far as it can be known.

use std::time::Duration;

use crate::aws::error::Operation;
use crate::aws::{AwsError, Identity};
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

/// What to do about a refusal by AWS, as a sentence to put behind AWS's own.
#[must_use]
pub fn for_aws(error: &AwsError, role_arn: Option<&str>, operator: Option<&Identity>) -> String {
    let role = role_arn.unwrap_or("the role");
    let principal = operator.map_or_else(|| "the operator's own role or user".to_owned(), Identity::principal);
    match error {
        AwsError::AccessDenied(answer) if answer.operation == Operation::AssumeRole => format!(
            "Check that {role} exists, and that its trust relationship allows sts:AssumeRole (with EKS Pod Identity \
             sts:TagSession too) to the principal {principal}; the operator's own policy must allow sts:AssumeRole on it."
        ),
        AwsError::AccessDenied(answer) if answer.operation == Operation::GetAuthorizationToken => {
            format!(
                "Give {role} a policy that allows ecr:GetAuthorizationToken on *, and the pulling from the repository."
            )
        }
        AwsError::AccessDenied(_) | AwsError::NotPermitted(_) => {
            format!("Give {principal} a policy that allows sts:AssumeRole on {role}.")
        }
        AwsError::InvalidRequest(answer) if answer.message.contains("role chaining") => chained(),
        AwsError::InvalidRequest(answer) if answer.message.contains("MaxSessionDuration") => {
            format!("Lower spec.durationSeconds, or raise the maximum session duration of {role}.")
        }
        AwsError::InvalidRequest(_) => "Correct the spec.".to_owned(),
        AwsError::Throttled(_) | AwsError::Unavailable(_) => "It will be tried again.".to_owned(),
        AwsError::NoIdentity(_) => {
            "Give the operator's ServiceAccount an EKS Pod Identity association or an IRSA role, or the operator AWS \
             credentials in its environment."
                .to_owned()
        }
    }
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
mod tests {
    use super::*;
    use crate::aws::error::Answer;

    const ROLE: &str = "arn:aws:iam::123456789012:role/theirs";

    fn answer(operation: Operation, message: &str) -> Answer {
        Answer {
            operation,
            code: None,
            message: message.to_owned(),
            request_id: None,
            retry_after: None,
        }
    }

    fn operator() -> Identity {
        Identity::new("210987654321", "arn:aws:sts::210987654321:assumed-role/operator/eks-1")
    }

    #[test]
    fn a_refusal_names_the_trust_relationship_that_is_missing() {
        let error = AwsError::AccessDenied(answer(Operation::AssumeRole, ""));
        let advice = for_aws(&error, Some(ROLE), Some(&operator()));
        assert!(advice.contains("trust relationship"));
        assert!(advice.contains(ROLE));
        assert!(advice.contains("arn:aws:iam::210987654321:role/operator"));
        assert!(advice.contains("sts:TagSession"));
    }

    #[test]
    fn the_limits_on_the_lifetime_are_kept_apart() {
        let advice = |message: &str| {
            let error = AwsError::InvalidRequest(answer(Operation::AssumeRole, message));
            for_aws(&error, Some(ROLE), None)
        };
        assert!(
            advice("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
                .contains("3600")
        );
        assert!(
            advice("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
                .contains("maximum session duration of arn")
        );
    }

    #[test]
    fn a_registry_refusal_speaks_of_the_roles_own_policy() {
        let error = AwsError::AccessDenied(answer(Operation::GetAuthorizationToken, ""));
        assert!(for_aws(&error, Some(ROLE), None).contains("ecr:GetAuthorizationToken"));
    }

    #[test]
    fn an_overlap_that_mounted_secrets_lose_is_warned_of() {
        let advice = |seconds, format| about_overlap(Some(Duration::from_secs(seconds)), &format);
        assert!(advice(179, Format::Map).is_some_and(|advice| advice.contains("180 or more")));
        assert_eq!(advice(180, Format::Map), None);
        assert_eq!(advice(180, Format::CredentialProcess), None);
        assert_eq!(about_overlap(None, &Format::Map), None);
    }

    #[test]
    fn an_overlap_that_a_mounted_file_loses_is_warned_of_sooner() {
        let advice = |seconds| about_overlap(Some(Duration::from_secs(seconds)), &Format::File);
        assert!(advice(419).is_some_and(|advice| advice.contains("420 or more")));
        assert_eq!(advice(420), None);
        assert_eq!(about_overlap(None, &Format::File), None);
    }
}
