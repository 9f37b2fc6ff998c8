//! What a cycle does for a role that is assumed as a ServiceAccount.

use super::tests::{cycle, first, restarted};
use super::*;
use crate::api::Reason;
use crate::operator::fixtures::{Call, World, refusal};
use crate::spec::Format;
use crate::spec::fixtures::{resource, spec};
use crate::spec::role::RoleReference;

const ROLE: &str = "arn:aws:iam::210987654321:role/theirs";

/// A resource whose role is assumed as the ServiceAccount `app`, for twelve hours.
fn of_app() -> Resource {
    resource(Spec {
        role: RoleReference::Arn(ROLE.into()),
        service_account_name: Some("app".into()),
        duration: Duration::from_secs(43_200),
        ..spec(Format::Map)
    })
}

fn failed(report: &Report) -> (Reason, String) {
    match &report.outcome {
        Outcome::Failed(failure) => (failure.reason(), failure.to_string()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn aws_is_shown_a_token_of_the_service_account() {
    let world = World::new().await;
    let report = first(&world, &of_app()).await;
    assert!(matches!(report.outcome, Outcome::Issued { .. }), "{:?}", report.outcome);
    let asked = world.aws.web_identities();
    assert_eq!(asked.len(), 1);
    let (request, token) = &asked[0];
    assert_eq!(token, "header.app.signature");
    assert_eq!(request.role_arn, ROLE);
    assert_eq!(request.duration, Duration::from_secs(43_200));
    assert_eq!(world.aws.calls(), 0, "the operator asks for nothing itself");
    // Another token for another session, and none for what is still good.
    cycle(&world, &of_app(), Trigger::Created, restarted(&report)).await;
    assert_eq!(world.cluster.count(Call::Token, "app"), 1);
    let requested = Resource {
        refresh_request: Some("now".into()),
        ..of_app()
    };
    cycle(&world, &requested, Trigger::Requested, report.memory).await;
    assert_eq!(world.cluster.count(Call::Token, "app"), 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_token_aws_is_not_asked() {
    for (error, reason, part) in [
        (
            ClusterError::Gone("serviceaccounts \"app\" not found".into()),
            Reason::InvalidRequest,
            "no ServiceAccount app in the namespace team: create it",
        ),
        (
            ClusterError::Forbidden("serviceaccounts \"app\" is forbidden".into()),
            Reason::NotPermitted,
            "serviceAccountTokens.enabled",
        ),
        (
            ClusterError::Unavailable("connection refused".into()),
            Reason::ClusterUnavailable,
            "connection refused",
        ),
        (
            ClusterError::Terminating("it is being terminated".into()),
            Reason::Pending,
            "the namespace is being deleted",
        ),
    ] {
        let world = World::new().await;
        world.cluster.fail(Call::Token, [error]);
        let report = first(&world, &of_app()).await;
        let (found, message) = failed(&report);
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(part), "{message}");
        assert!(world.aws.web_identities().is_empty());
        assert_eq!(report.memory.last_call, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_takes_long_for_a_token_does_not_hold_a_pass_for_long() {
    let world = World::new().await;
    world.cluster.delay(Call::Token, 30);
    let began = Instant::now();
    let (reason, message) = failed(&first(&world, &of_app()).await);
    assert_eq!(reason, Reason::ClusterUnavailable, "{message}");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_service_account_and_not_the_operator() {
    let world = World::new().await;
    world.aws.will([refusal()]);
    let (reason, message) = failed(&first(&world, &of_app()).await);
    assert_eq!(reason, Reason::AccessDenied);
    assert!(message.contains("system:serviceaccount:team:app"), "{message}");
    assert!(!message.contains("user/operator"), "{message}");
}
