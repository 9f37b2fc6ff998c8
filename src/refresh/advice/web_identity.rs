//! What a person can do when AWS does not give a ServiceAccount its session. The operator's own identity plays no part in it.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>

use super::{Circumstances, WebIdentity};
use crate::aws::AwsError;
use crate::aws::error::Answer;
use crate::aws::region::partition;

/// What to do, where it is another thing than for the operator's own calls.
pub(super) fn advice(error: &AwsError, identity: &WebIdentity<'_>, known: &Circumstances<'_>) -> Option<String> {
    let role = known.role_arn.unwrap_or("the role");
    let account = part(role, 4).unwrap_or("of the role");
    let issuer = identity.issuer.unwrap_or("the issuer of the cluster's tokens");
    match error {
        AwsError::AccessDenied(answer) if answer.is_unknown_issuer() => Some(format!(
            "Create an IAM OIDC identity provider for {issuer} with the audience sts.amazonaws.com in the account {account}, which the role \
             is in."
        )),
        AwsError::AccessDenied(answer) if answer.is_unknown_audience() => Some(format!(
            "Add the audience (client ID) sts.amazonaws.com to the IAM OIDC identity provider for {issuer} in the account {account}."
        )),
        AwsError::AccessDenied(answer) if answer.short_code() == "IDPRejectedClaim" => Some(format!(
            "Check the IAM OIDC identity provider for {issuer} in the account {account}. {}",
            about_trust(role, identity)
        )),
        AwsError::AccessDenied(_) => Some(about_trust(role, identity)),
        AwsError::InvalidRequest(answer) => about_request(answer, role, known.region),
        AwsError::Unavailable(answer) => about_token(answer, issuer),
        _ => None,
    }
}

fn about_trust(role: &str, identity: &WebIdentity<'_>) -> String {
    let (partition, account) = (part(role, 1).unwrap_or("aws"), part(role, 4).unwrap_or("<account>"));
    // IAM leaves the scheme out.
    let issuer = identity.issuer.unwrap_or("<issuer>");
    let issuer = issuer.strip_prefix("https://").unwrap_or(issuer);
    let (namespace, name) = (identity.namespace, identity.service_account);
    format!(
        "Check that {role} exists, and that its trust policy allows sts:AssumeRoleWithWebIdentity to the federated principal \
         arn:{partition}:iam::{account}:oidc-provider/{issuer} where {issuer}:sub is system:serviceaccount:{namespace}:{name} and \
         {issuer}:aud is sts.amazonaws.com."
    )
}

fn about_request(answer: &Answer, role: &str, region: Option<&str>) -> Option<String> {
    let of_role = part(role, 1).unwrap_or("aws");
    match answer.short_code() {
        "PackedPolicyTooLarge" => Some("Shorten session.policy, or name fewer repositories or policies.".to_owned()),
        // Where none is named, it is the operator's, and that is mostly where most Regions are.
        "ValidationError" if region.map_or("aws", partition) != of_role => Some(format!(
            "A role in the partition {of_role} is to be asked for in a Region of that partition: see to spec.region."
        )),
        _ => None,
    }
}

fn about_token(answer: &Answer, issuer: &str) -> Option<String> {
    match answer.short_code() {
        "InvalidIdentityToken" | "IDPCommunicationError" => Some(format!(
            "AWS must be able to fetch {issuer}/.well-known/openid-configuration, and the keys that it names. It will be tried again with a \
             fresh token."
        )),
        "ExpiredToken" => Some(
            "The token was made for this call, so the clock of the API server may be wrong. It will be tried again with a fresh token."
                .to_owned(),
        ),
        _ => None,
    }
}

/// A part of an ARN.
fn part(arn: &str, number: usize) -> Option<&str> {
    arn.split(':').nth(number).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::for_aws;
    use super::*;
    use crate::aws::error::Operation;

    const ROLE: &str = "arn:aws:iam::123456789012:role/theirs";

    fn told(http_status: u16, code: &str, message: &str) -> String {
        told_of(ROLE, http_status, code, message)
    }

    fn told_of(role: &str, http_status: u16, code: &str, message: &str) -> String {
        let answer = Answer {
            operation: Operation::AssumeRoleWithWebIdentity,
            code: Some(code.to_owned()),
            message: message.to_owned(),
            request_id: None,
            retry_after: None,
            date: None,
        };
        let known = Circumstances {
            role_arn: Some(role),
            web_identity: Some(WebIdentity {
                namespace: "team",
                service_account: "app",
                issuer: Some("https://oidc.example.com/id/1"),
            }),
            ..Circumstances::default()
        };
        for_aws(&AwsError::from_answer(http_status, answer), &known)
    }

    #[test]
    fn a_trust_policy_that_is_missing_is_spelled_out() {
        let advice = told(
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        );
        for part in [
            ROLE,
            "arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/1",
            "oidc.example.com/id/1:sub is system:serviceaccount:team:app",
            "oidc.example.com/id/1:aud is sts.amazonaws.com",
        ] {
            assert!(advice.contains(part), "{part}: {advice}");
        }
    }

    #[test]
    fn a_provider_that_is_missing_is_to_be_made_in_the_roles_account() {
        let advice = told(
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://oidc.example.com/id/1",
        );
        assert!(
            advice.contains("Create an IAM OIDC identity provider for https://oidc.example.com/id/1"),
            "{advice}"
        );
        assert!(advice.contains("123456789012"), "{advice}");
        let advice = told(400, "InvalidIdentityToken", "Incorrect token audience");
        assert!(advice.contains("Add the audience"), "{advice}");
    }

    #[test]
    fn what_passes_is_tried_again_with_a_fresh_token() {
        for code in ["InvalidIdentityToken", "IDPCommunicationError", "ExpiredTokenException"] {
            let advice = told(400, code, "");
            assert!(advice.contains("fresh token"), "{advice}");
        }
        assert_eq!(told(503, "ServiceUnavailable", ""), "It will be tried again.");
    }

    #[test]
    fn nobody_is_sent_to_the_operators_own_identity() {
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "IDPRejectedClaim"),
            (403, "InvalidClientTokenId"),
            (400, "PackedPolicyTooLarge"),
            (400, "MalformedPolicyDocument"),
            (403, "RegionDisabledException"),
        ] {
            let advice = told(status, code, "");
            assert!(!advice.contains("operator"), "{code}: {advice}");
            assert!(!advice.contains("Pod Identity"), "{code}: {advice}");
        }
    }

    #[test]
    fn a_role_of_another_partition_is_asked_for_there() {
        let advice = told_of(
            "arn:aws-cn:iam::123456789012:role/r",
            400,
            "ValidationError",
            "Request ARN is invalid",
        );
        assert!(advice.contains("spec.region"), "{advice}");
        assert_eq!(told(400, "ValidationError", "no"), "Correct the spec.");
    }
}
