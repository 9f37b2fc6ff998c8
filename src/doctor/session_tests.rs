use std::time::Duration;

use super::super::report::Outcome;
use super::*;
use crate::aws::error::Operation;
use crate::credentials::Credentials;
use crate::spec::SessionRequest;

const ROLE: &str = "arn:aws:iam::123456789012:role/theirs";

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn operator() -> Identity {
    Identity::new("210987654321", "arn:aws:sts::210987654321:assumed-role/operator/eks-1")
}

fn request() -> AssumeRole {
    AssumeRole {
        role_arn: ROLE.to_owned(),
        region: None,
        session: SessionRequest {
            name: "team.mine".to_owned(),
            external_id: Some("k8s:prod:team".to_owned()),
            tags: [("team".to_owned(), "a".to_owned())].into(),
            ..SessionRequest::default()
        },
        duration: Duration::from_secs(900),
    }
}

fn by_the_operator<'a>(request: &'a AssumeRole, operator: &'a Identity) -> Asked<'a> {
    Asked {
        request,
        operator,
        registry: false,
        is_operator: true,
    }
}

fn answer(operation: Operation, code: &str, message: &str) -> Answer {
    Answer {
        operation,
        code: Some(code.to_owned()),
        message: message.to_owned(),
        request_id: None,
        retry_after: None,
        date: None,
    }
}

#[test]
fn a_session_says_what_was_asked_for_and_no_credential() {
    let (request, operator) = (request(), operator());
    let asked = by_the_operator(&request, &operator);
    let session = Session {
        credentials: Credentials {
            access_key_id: "ASIAPLANTED".into(),
            secret_access_key: "planted".into(),
            session_token: "planted".into(),
        },
        expiration: now() + Duration::from_secs(900),
        answered: None,
    };
    let mut checks = asked.session(Ok(&session), now());
    let names: Vec<_> = checks.iter().map(|check| (check.name, check.outcome)).collect();
    let expected = [SESSION, TRUST, TAGS, DURATION, EXTERNAL_ID].map(|name| (name, Outcome::Ok));
    assert_eq!(names, expected);
    let check = checks.remove(0);
    assert_eq!(check.outcome, Outcome::Ok);
    for part in [
        ROLE,
        "team.mine",
        "900 s",
        "k8s:prod:team",
        "the tags team",
        "12:15:00Z",
        operator.arn.as_str(),
    ] {
        assert!(check.message.contains(part), "{part}: {}", check.message);
    }
    assert!(!format!("{check:?}").to_lowercase().contains("planted"));
}

#[test]
fn a_refusal_says_what_to_do() {
    let (request, operator) = (request(), operator());
    let asked = by_the_operator(&request, &operator);
    let told = |error| asked.session(Err(error), now()).remove(0);
    let denied = AwsError::from_answer(
        403,
        answer(Operation::AssumeRole, "AccessDenied", "User is not authorized"),
    );
    let check = told(denied);
    assert_eq!(check.outcome, Outcome::Failed);
    let advice = check.advice.unwrap();
    for part in [
        "trust relationship",
        "arn:aws:iam::210987654321:role/operator",
        "sts:TagSession",
    ] {
        assert!(advice.contains(part), "{part}: {advice}");
    }
    let long = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    let check = told(AwsError::from_answer(
        400,
        answer(Operation::AssumeRole, "ValidationError", long),
    ));
    assert!(check.advice.unwrap().contains("maximum session duration"));
    let check = told(AwsError::from_answer(
        400,
        answer(Operation::AssumeRole, "Throttling", "slow down"),
    ));
    assert_eq!(check.outcome, Outcome::Unknown);
    let endpoint = EcrEndpoint {
        region: "eu-west-1".to_owned(),
        fips: false,
        dual_stack: false,
    };
    let denied = AwsError::from_answer(
        400,
        answer(Operation::GetAuthorizationToken, "AccessDeniedException", "no"),
    );
    let check = asked.registry(&endpoint, Some(denied), now());
    assert!(check.outcome == Outcome::Failed && check.advice.unwrap().contains("ecr:GetAuthorizationToken"));
    assert_eq!(asked.registry(&endpoint, None, now()).outcome, Outcome::Ok);
}

#[test]
fn a_refusal_is_put_down_to_what_aws_names() {
    let (request, operator) = (request(), operator());
    let without_id = AssumeRole {
        session: SessionRequest {
            external_id: None,
            ..request.session.clone()
        },
        ..request.clone()
    };
    let parts = |request: &AssumeRole, status, code: &str, message: &str| {
        let asked = by_the_operator(request, &operator);
        let error = AwsError::from_answer(status, answer(Operation::AssumeRole, code, message));
        asked.session(Err(error), now()).split_off(1)
    };
    let failed = |checks: &[Check]| -> Vec<&'static str> {
        let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed);
        failed.map(|check| check.name).collect()
    };
    let may_not = |action: &str| format!("User: u is not authorized to perform: {action} on resource: {ROLE}");
    let trust = parts(&request, 403, "AccessDenied", &may_not("sts:AssumeRole"));
    assert_eq!(failed(&trust), [TRUST]);
    let id = trust.iter().find(|check| check.name == EXTERNAL_ID).unwrap();
    assert!(id.advice.as_ref().unwrap().contains("must be k8s:prod:team"));
    let trust = parts(&without_id, 403, "AccessDenied", &may_not("sts:AssumeRole"));
    let id = trust.iter().find(|check| check.name == EXTERNAL_ID).unwrap();
    assert!(id.advice.as_ref().unwrap().contains("spec.session.externalId"));
    let tags = parts(&request, 403, "AccessDenied", &may_not("sts:TagSession"));
    assert_eq!(failed(&tags), [TAGS]);
    let own = format!(
        "{} because no identity-based policy allows the sts:TagSession action",
        may_not("sts:TagSession")
    );
    assert_eq!(failed(&parts(&request, 403, "AccessDenied", &own)), [TAGS]);
    let source = parts(&request, 403, "AccessDenied", &may_not("sts:SetSourceIdentity"));
    let trust = source.iter().find(|check| check.name == TRUST).unwrap();
    assert!(trust.advice.as_ref().unwrap().contains("allow sts:SetSourceIdentity"));
    let denied = format!(
        "{} with an explicit deny in a resource-based policy",
        may_not("sts:AssumeRole")
    );
    let denied = parts(&request, 403, "AccessDenied", &denied);
    assert!(denied[0].advice.as_ref().unwrap().contains("denial"), "{denied:?}");
    assert!(parts(&request, 403, "RegionDisabledException", "STS is not activated").is_empty());
    let long = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
    assert_eq!(failed(&parts(&request, 400, "ValidationError", long)), [DURATION]);
    assert!(parts(&request, 400, "Throttling", "slow down").is_empty());
}

#[test]
fn what_is_refused_to_somebody_else_may_be_allowed_to_the_operator() {
    let (request, operator) = (request(), operator());
    let asked = Asked {
        is_operator: false,
        ..by_the_operator(&request, &operator)
    };
    let denied = AwsError::from_answer(403, answer(Operation::AssumeRole, "AccessDenied", "no"));
    let checks = asked.session(Err(denied), now());
    assert!(
        checks.iter().all(|check| check.outcome == Outcome::Unknown),
        "{checks:?}"
    );
}

#[test]
fn what_is_not_asked_is_said() {
    assert_eq!(not_asked(&NotAsked::NotPermitted).outcome, Outcome::Unknown);
    assert_eq!(not_asked(&NotAsked::Chained).outcome, Outcome::Failed);
    let account = not_asked(&NotAsked::ServiceAccount("app".to_owned()));
    assert!(account.outcome == Outcome::Unknown && account.message.contains("ServiceAccount app"));
}
