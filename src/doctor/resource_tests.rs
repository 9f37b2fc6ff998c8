use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;

use super::super::report::Outcome;
use super::*;
use crate::api::{AWSAssumeRoleStatus, Condition};
use crate::spec::Format;
use crate::spec::fixtures;

const ROLE: &str = "arn:aws:iam::123456789012:role/theirs";

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
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

#[test]
fn a_role_without_an_account_is_the_one_that_the_operator_named() {
    let spec = fixtures::spec(Format::Map);
    let RoleReference::Name(name) = &spec.role else {
        panic!("it names an account");
    };
    let arn = format!("arn:aws:iam::123456789012:role/{name}");
    let known = with_known_role(&spec, Some(&arn));
    assert_eq!(known.role.known_arn(), Some(arn.as_str()));
    // That of an earlier spec is another one.
    assert_eq!(with_known_role(&spec, Some(ROLE)).role, spec.role);
    assert_eq!(with_known_role(&spec, None).role, spec.role);
}

#[test]
fn what_rests_on_a_supposition_is_not_known() {
    let found = || Check::ok(POLICY, "Every role is permitted.");
    let check = supposed(found());
    assert!(check.outcome == Outcome::Unknown && check.message.contains("account is that of this command: Every"));
    let check = by_unknown_setting(found());
    assert!(check.outcome == Outcome::Unknown && check.message.contains("setting is another one"));
    let named = Tenancy {
        cluster_name: Some("prod".to_owned()),
        ..Tenancy::default()
    };
    for (tenancy, has_id) in [(named, true), (Tenancy::default(), false)] {
        let advice = namespace_unknown(&tenancy).advice.unwrap();
        assert_eq!(advice.contains("external ID"), has_id, "{advice}");
    }
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
