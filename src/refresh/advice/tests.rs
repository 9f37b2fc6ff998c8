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
        date: None,
    }
}

fn of_role() -> Circumstances<'static> {
    Circumstances {
        role_arn: Some(ROLE),
        ..Circumstances::default()
    }
}

fn coded(code: &str) -> Answer {
    Answer {
        code: Some(code.to_owned()),
        ..answer(Operation::AssumeRole, "no")
    }
}

fn operator() -> Identity {
    Identity::new("210987654321", "arn:aws:sts::210987654321:assumed-role/operator/eks-1")
}

#[test]
fn a_refusal_names_the_trust_relationship_that_is_missing() {
    let error = AwsError::AccessDenied(answer(Operation::AssumeRole, ""));
    let operator = operator();
    let known = Circumstances {
        operator: Some(&operator),
        ..of_role()
    };
    let advice = for_aws(&error, &known);
    assert!(advice.contains("trust relationship"));
    assert!(advice.contains(ROLE));
    assert!(advice.contains("arn:aws:iam::210987654321:role/operator"));
    assert!(advice.contains("sts:TagSession"));
}

#[test]
fn a_refusal_of_the_operator_is_put_down_to_the_policy_and_the_action_that_aws_names() {
    let operator = operator();
    let known = Circumstances {
        operator: Some(&operator),
        ..of_role()
    };
    let advice = |action: &str, why: &str| {
        let message = format!("User: u is not authorized to perform: {action} on resource: {ROLE} {why}");
        let refused = answer(Operation::AssumeRole, &message);
        let coded = Answer {
            code: Some("AccessDenied".to_owned()),
            ..refused
        };
        for_aws(&AwsError::from_answer(403, coded), &known)
    };
    for (action, why, parts) in [
        (
            "sts:TagSession",
            "because no identity-based policy allows the sts:TagSession action",
            ["role/operator a policy", "allows sts:TagSession"],
        ),
        (
            "sts:SetSourceIdentity",
            "because no identity-based policy allows the sts:SetSourceIdentity action",
            ["role/operator a policy", "allows sts:SetSourceIdentity"],
        ),
        (
            "sts:AssumeRole",
            "with an explicit deny in a service control policy",
            ["service control policy", "denies"],
        ),
        (
            "sts:AssumeRole",
            "because no permissions boundary allows the sts:AssumeRole action",
            ["permissions boundary of", "must allow sts:AssumeRole"],
        ),
        (
            "sts:AssumeRole",
            "with an explicit deny in an identity-based policy",
            ["policy of", "denies"],
        ),
        (
            "sts:AssumeRole",
            "because no session policy allows the sts:AssumeRole action",
            ["session of", "session policy"],
        ),
        ("sts:TagSession", "", ["trust relationship", "allows sts:TagSession"]),
        ("sts:AssumeRole", "", ["trust relationship", "allows sts:AssumeRole"]),
    ] {
        let advice = advice(action, why);
        for part in parts {
            assert!(advice.contains(part), "{action} {why}: {part}: {advice}");
        }
    }
}

#[test]
fn the_limits_on_the_lifetime_are_kept_apart() {
    let advice = |message: &str| {
        let error = AwsError::InvalidRequest(answer(Operation::AssumeRole, message));
        for_aws(&error, &of_role())
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
    assert!(for_aws(&error, &of_role()).contains("ecr:GetAuthorizationToken"));
    let narrowed = "not authorized to perform: ecr:GetAuthorizationToken on resource: * because no session policy allows the action";
    let error = AwsError::AccessDenied(answer(Operation::GetAuthorizationToken, narrowed));
    let advice = for_aws(&error, &of_role());
    assert!(
        advice.contains("spec.session.policy") && !advice.contains("Give"),
        "{advice}"
    );
}

#[test]
fn too_many_tags_are_blamed_on_pod_identity() {
    for code in ["PackedPolicyTooLarge", "PackedPolicyTooLargeException"] {
        let error = AwsError::InvalidRequest(coded(code));
        let advice = for_aws(&error, &of_role());
        assert!(
            advice.contains("disableSessionTags") && advice.contains("session.policy"),
            "{advice}"
        );
        assert!(!advice.contains("registry"), "{advice}");
        let registry = Circumstances {
            registry: true,
            ..of_role()
        };
        assert!(for_aws(&error, &registry).contains("registry"));
    }
}

#[test]
fn a_region_that_is_off_is_named() {
    let operator = operator();
    let known = Circumstances {
        region: Some("af-south-1"),
        operator: Some(&operator),
        ..of_role()
    };
    for code in ["RegionDisabledException", "InvalidClientTokenId"] {
        let advice = for_aws(&AwsError::InvalidRequest(coded(code)), &known);
        assert!(advice.contains("af-south-1"), "{advice}");
    }
}

#[test]
fn partitions_do_not_mix() {
    let operator = operator();
    for (role_arn, region) in [
        ("arn:aws-cn:iam::123456789012:role/theirs", None),
        (ROLE, Some("cn-north-1")),
    ] {
        let known = Circumstances {
            role_arn: Some(role_arn),
            region,
            operator: Some(&operator),
            ..Circumstances::default()
        };
        let advice = for_aws(&AwsError::InvalidRequest(coded("InvalidClientTokenId")), &known);
        assert!(advice.contains("partition"), "{advice}");
    }
}

#[test]
fn a_signature_that_is_refused_while_the_clocks_are_apart_is_blamed_on_the_clock() {
    let advice = |error: AwsError, seconds| {
        let known = Circumstances {
            skew: SignedDuration::from_secs(seconds),
            ..of_role()
        };
        for_aws(&error, &known)
    };
    let behind = advice(AwsError::Unavailable(coded("SignatureDoesNotMatch")), 3600);
    assert!(behind.contains("3600 s behind"), "{behind}");
    let ahead = advice(AwsError::Unavailable(coded("InvalidSignatureException")), -3600);
    assert!(ahead.contains("3600 s ahead"), "{ahead}");
    let told = advice(AwsError::Unavailable(coded("RequestExpired")), 0);
    assert!(told.contains("clock"), "{told}");
    let secret = advice(AwsError::NoIdentity(coded("SignatureDoesNotMatch")), 0);
    assert!(!secret.contains("clock"), "{secret}");
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
