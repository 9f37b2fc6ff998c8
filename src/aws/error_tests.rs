use super::*;

fn sorted(operation: Operation, http_status: u16, code: &str, message: &str) -> Reason {
    AwsError::from_answer(
        http_status,
        Answer {
            operation,
            code: (!code.is_empty()).then(|| code.to_owned()),
            message: message.to_owned(),
            request_id: None,
            retry_after: None,
            date: None,
        },
    )
    .reason()
}

#[test]
fn codes_are_sorted_by_whose_move_it_is() {
    use Operation::{AssumeRole, AssumeRoleWithWebIdentity, GetAuthorizationToken};
    const TRUST: &str = "User: arn:aws:iam::123456789012:user/o is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/r";
    for (operation, status, code, message, reason) in [
        (AssumeRole, 403, "AccessDenied", TRUST, Reason::AccessDenied),
        (
            AssumeRole,
            403,
            "AccessDenied",
            "... because no identity-based policy allows the sts:AssumeRole action",
            Reason::NotPermitted,
        ),
        (
            AssumeRole,
            403,
            "AccessDenied",
            "... with an explicit deny in a service control policy",
            Reason::NotPermitted,
        ),
        (AssumeRole, 400, "ValidationError", "", Reason::InvalidRequest),
        (AssumeRole, 400, "MalformedPolicyDocument", "", Reason::InvalidRequest),
        (AssumeRole, 400, "PackedPolicyTooLarge", "", Reason::InvalidRequest),
        (AssumeRole, 403, "RegionDisabledException", "", Reason::InvalidRequest),
        (AssumeRole, 403, "RegionDisabled", "", Reason::InvalidRequest),
        (AssumeRole, 403, "", "", Reason::AwsUnavailable),
        (AssumeRole, 401, "", "", Reason::AwsUnavailable),
        (AssumeRole, 407, "", "", Reason::AwsUnavailable),
        (GetAuthorizationToken, 403, "", "", Reason::AwsUnavailable),
        (AssumeRole, 403, "SomethingNew", "", Reason::AccessDenied),
        (AssumeRole, 400, "Throttling", "Rate exceeded", Reason::Throttled),
        (
            AssumeRole,
            400,
            "ThrottlingException",
            "Rate exceeded",
            Reason::Throttled,
        ),
        (AssumeRole, 429, "", "", Reason::Throttled),
        (AssumeRole, 403, "InvalidClientTokenId", "", Reason::NoIdentity),
        (AssumeRole, 403, "ExpiredToken", "", Reason::NoIdentity),
        (AssumeRole, 403, "SignatureDoesNotMatch", "", Reason::NoIdentity),
        (AssumeRole, 503, "ServiceUnavailable", "", Reason::AwsUnavailable),
        (AssumeRole, 500, "", "", Reason::AwsUnavailable),
        (AssumeRole, 400, "", "", Reason::AwsUnavailable),
        (AssumeRole, 400, "RequestExpired", "", Reason::AwsUnavailable),
        (
            AssumeRoleWithWebIdentity,
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity because no session policy allows it",
            Reason::AccessDenied,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "InvalidIdentityToken",
            "No OpenIDConnect provider found in your account for https://issuer.example.com",
            Reason::AccessDenied,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "InvalidIdentityToken",
            "Incorrect token audience",
            Reason::AccessDenied,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider",
            Reason::AwsUnavailable,
        ),
        (
            AssumeRoleWithWebIdentity,
            403,
            "IDPRejectedClaim",
            "",
            Reason::AccessDenied,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "IDPCommunicationError",
            "",
            Reason::AwsUnavailable,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "ExpiredTokenException",
            "",
            Reason::AwsUnavailable,
        ),
        (
            AssumeRoleWithWebIdentity,
            403,
            "InvalidClientTokenId",
            "",
            Reason::AwsUnavailable,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "MalformedPolicyDocument",
            "",
            Reason::InvalidRequest,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "PackedPolicyTooLarge",
            "",
            Reason::InvalidRequest,
        ),
        (
            AssumeRoleWithWebIdentity,
            403,
            "RegionDisabledException",
            "",
            Reason::InvalidRequest,
        ),
        (
            AssumeRoleWithWebIdentity,
            400,
            "ValidationError",
            "",
            Reason::InvalidRequest,
        ),
        (
            GetAuthorizationToken,
            400,
            "AccessDeniedException",
            "... because no identity-based policy allows the ecr:GetAuthorizationToken action",
            Reason::AccessDenied,
        ),
        (
            GetAuthorizationToken,
            400,
            "UnrecognizedClientException",
            "",
            Reason::AwsUnavailable,
        ),
        (
            GetAuthorizationToken,
            400,
            "ExpiredTokenException",
            "",
            Reason::AwsUnavailable,
        ),
        (
            GetAuthorizationToken,
            400,
            "InvalidParameterException",
            "",
            Reason::InvalidRequest,
        ),
        (
            GetAuthorizationToken,
            500,
            "ServerException",
            "",
            Reason::AwsUnavailable,
        ),
    ] {
        assert_eq!(
            sorted(operation, status, code, message),
            reason,
            "{operation} {status} {code} {message}"
        );
    }
}

fn refused(code: &str) -> AwsError {
    AwsError::from_answer(
        403,
        Answer {
            operation: Operation::AssumeRole,
            code: Some(code.to_owned()),
            message: String::new(),
            request_id: None,
            retry_after: None,
            date: None,
        },
    )
}

fn request(role_arn: &str, region: Option<&str>) -> AssumeRole {
    AssumeRole {
        role_arn: role_arn.to_owned(),
        region: region.map(str::to_owned),
        session: crate::spec::SessionRequest::default(),
        duration: Duration::from_secs(900),
    }
}

#[test]
fn a_region_or_partition_that_does_not_know_a_good_key_is_the_specs_choice() {
    let operator = Identity::new("123456789012", "arn:aws:iam::123456789012:user/operator");
    let sorted = |code: &str, arn: &str, region| refused(code).in_light_of(&request(arn, region), &operator).reason();
    let (home, china) = (
        "arn:aws:iam::123456789012:role/r",
        "arn:aws-cn:iam::123456789012:role/r",
    );
    assert_eq!(sorted("InvalidClientTokenId", home, None), Reason::NoIdentity);
    assert_eq!(
        sorted("InvalidClientTokenId", home, Some("af-south-1")),
        Reason::InvalidRequest
    );
    assert_eq!(
        sorted("UnrecognizedClientException", home, Some("af-south-1")),
        Reason::InvalidRequest
    );
    assert_eq!(sorted("InvalidClientTokenId", china, None), Reason::InvalidRequest);
    assert_eq!(sorted("AccessDenied", china, None), Reason::InvalidRequest);
    assert_eq!(sorted("AccessDenied", home, Some("cn-north-1")), Reason::InvalidRequest);
    assert_eq!(sorted("AccessDenied", home, Some("af-south-1")), Reason::AccessDenied);
    assert_eq!(sorted("ExpiredToken", home, Some("af-south-1")), Reason::NoIdentity);
}

#[test]
fn a_page_without_a_code_names_its_status() {
    let answer = Answer {
        operation: Operation::AssumeRole,
        code: None,
        message: "AWS gave no message".to_owned(),
        request_id: None,
        retry_after: None,
        date: None,
    };
    let error = AwsError::from_answer(403, answer);
    assert!(error.to_string().contains("HTTP status 403"), "{error}");
}

#[test]
fn a_signature_that_is_refused_while_the_clocks_are_apart_is_no_lack_of_an_identity() {
    let sorted = |code: &str| refused(code).with_clocks_apart().reason();
    assert_eq!(sorted("SignatureDoesNotMatch"), Reason::AwsUnavailable);
    assert_eq!(sorted("InvalidSignatureException"), Reason::AwsUnavailable);
    assert_eq!(sorted("ExpiredToken"), Reason::NoIdentity);
}
