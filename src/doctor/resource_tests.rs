use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::super::report::Outcome;
use super::*;
use crate::api::{AWSAssumeRoleStatus, Condition};
use crate::aws::error::{Answer, Operation};
use crate::credentials::Credentials;
use crate::spec::fixtures;
use crate::spec::{Format, SessionRequest};

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
    let asked = Asked {
        request: &request,
        operator: &operator,
        registry: false,
    };
    let session = Session {
        credentials: Credentials {
            access_key_id: "ASIAPLANTED".into(),
            secret_access_key: "planted".into(),
            session_token: "planted".into(),
        },
        expiration: now() + Duration::from_secs(900),
        answered: None,
    };
    let check = asked.session(Ok(&session), now());
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
    let asked = Asked {
        request: &request,
        operator: &operator,
        registry: false,
    };
    let told = |error| asked.session(Err(error), now());
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
        "k8s:prod:team",
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
fn what_is_not_asked_is_said() {
    assert_eq!(not_asked(&NotAsked::NotPermitted).outcome, Outcome::Unknown);
    assert_eq!(not_asked(&NotAsked::Chained).outcome, Outcome::Failed);
    let account = not_asked(&NotAsked::ServiceAccount("app".to_owned()));
    assert!(account.outcome == Outcome::Unknown && account.message.contains("ServiceAccount app"));
}

#[test]
fn a_resource_has_to_be_where_the_operator_looks() {
    let resource = fixtures::resource(fixtures::spec(Format::Map));
    assert_eq!(found(&resource, &[]).outcome, Outcome::Ok);
    assert_eq!(found(&resource, &["team".to_owned()]).outcome, Outcome::Ok);
    assert_eq!(found(&resource, &["other".to_owned()]).outcome, Outcome::Failed);
    assert_eq!(spec(&resource, None).outcome, Outcome::Ok);
    assert_eq!(spec(&resource, Some(&"no such filter")).outcome, Outcome::Failed);
}

fn secret_check(observed: Option<&ObservedSecret>) -> Check {
    let (key, spec) = (fixtures::key(), fixtures::spec(Format::Map));
    let status = AWSAssumeRoleStatus::default();
    let situation = Situation {
        resource: &key,
        generation: 1,
        spec: &spec,
        refresh_request: None,
        status: &status,
        region: None,
        overdue: None,
        now: now(),
    };
    secret(situation, Ok(observed))
}

fn owned_by(uid: &str) -> ObservedSecret {
    let owner = OwnerReference {
        api_version: "pincette.net/v1".to_owned(),
        kind: "AWSAssumeRole".to_owned(),
        name: uid.to_owned(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    ObservedSecret {
        metadata: ObjectMeta {
            name: Some("secret".to_owned()),
            owner_references: Some(vec![owner]),
            annotations: Some([("pincette.net/expiration".to_owned(), "2026-01-01T11:00:00Z".to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..ObservedSecret::default()
    }
}

#[test]
fn a_secret_of_somebody_else_is_in_the_way() {
    assert_eq!(secret_check(None).outcome, Outcome::Ok);
    let check = secret_check(Some(&owned_by("another")));
    assert!(
        check.outcome == Outcome::Failed && check.message.contains("controlled by AWSAssumeRole another"),
        "{check:?}"
    );
    let check = secret_check(Some(&owned_by("uid-1")));
    assert!(
        check.outcome == Outcome::Failed && check.message.contains("ended at"),
        "{check:?}"
    );
}

fn status_check(generation: i64, refreshed: &str, reason: &str) -> Check {
    let condition = |type_: &str, status: &str| Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: "That is how it is.".to_owned(),
        ..Condition::default()
    };
    let mut resource = fixtures::resource(fixtures::spec(Format::Map));
    assert_eq!(status(&resource).outcome, Outcome::Failed);
    resource.status = Some(Box::new(AWSAssumeRoleStatus {
        observed_generation: Some(generation),
        conditions: vec![condition("Ready", refreshed), condition("Refreshed", refreshed)],
        ..AWSAssumeRoleStatus::default()
    }));
    status(&resource)
}

#[test]
fn the_status_is_told_with_how_to_try_again() {
    assert_eq!(status_check(1, "True", "Issued").outcome, Outcome::Ok);
    let failed = status_check(1, "False", "AccessDenied");
    assert_eq!(failed.outcome, Outcome::Failed);
    assert_eq!(failed.message, "AccessDenied: That is how it is.");
    assert!(
        failed
            .advice
            .unwrap()
            .contains("kubectl annotate awsassumerole mine --namespace team")
    );
    assert_eq!(status_check(0, "True", "Issued").outcome, Outcome::Unknown);
    assert_eq!(status_check(1, "Unknown", "Pending").outcome, Outcome::Unknown);
}

#[test]
fn a_ruling_is_told() {
    let told = |ruling| policy(ROLE, "team", false, &ruling);
    assert_eq!(told(Ruling::Permitted).outcome, Outcome::Ok);
    assert_eq!(told(Ruling::Unlisted).outcome, Outcome::Ok);
    assert_eq!(told(Ruling::Held("unreadable".to_owned())).outcome, Outcome::Failed);
    let denied = crate::refresh::policy::Denial::OwnRole(ROLE.to_owned());
    let denied = told(Ruling::Denied(denied));
    assert!(denied.outcome == Outcome::Failed && denied.message.contains(ROLE));
}
