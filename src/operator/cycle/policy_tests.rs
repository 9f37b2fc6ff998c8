//! What a cycle does about a role that no policy permits.

use super::tests::{condition, failure, first, plain, restarted, said};
use super::*;
use crate::api::{AWSAssumeRolePolicy, ConditionType, Reason};
use crate::operator::boundary::{Boundary, Known, Labels, Tenancy};
use crate::operator::fixtures::{Call, World, at, pass, policy, secret, unavailable};
use crate::refresh::policy::{Policies, Policy, UnlistedNamespaces};
use crate::refresh::withdrawal::WhenWithdrawn;
use crate::spec::Format;
use crate::spec::fixtures::{key, resource, spec};

const ANY: &str = "arn:aws:iam::123456789012:role/*";

/// Permits the roles that a glob matches in the namespace of the tests.
fn permit(world: &World, roles: &str) {
    let observed = policy("p", &["team"], &[roles]);
    let policy = Policy::from_api(&AWSAssumeRolePolicy::new("p", *observed.spec.unwrap())).unwrap();
    let mut policies = Policies::default();
    policies.readable.insert(observed.name, Arc::new(policy));
    world.context.boundary.publish(Known {
        policies,
        labels: Labels::new(),
        held: None,
    });
}

fn permit_nothing(world: &World) {
    permit(world, "arn:aws:iam::123456789012:role/others/*");
}

async fn world_with(tenancy: Tenancy) -> World {
    let mut world = World::new().await;
    world.context.boundary = Boundary::new(tenancy);
    permit(&world, ANY);
    world
}

/// The resource after its owner suspended it.
fn suspended(spec: Spec) -> Resource {
    Resource {
        generation: 2,
        ..resource(Spec { suspend: true, ..spec })
    }
}

async fn again(world: &World, report: &Report) -> Report {
    super::tests::cycle(world, &plain(), Trigger::PolicyChanged, report.memory.clone()).await
}

#[tokio::test(start_paused = true)]
async fn aws_is_not_asked_for_what_no_policy_permits() {
    let world = World::new().await;
    permit_nothing(&world);
    let report = first(&world, &plain()).await;
    assert_eq!((world.aws.calls(), world.cluster.secret("secret")), (0, None));
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("False", Reason::PolicyDenied)
    );
    assert_eq!(
        condition(&world.cluster, ConditionType::Refreshed),
        said("False", Reason::PolicyDenied)
    );
    assert_eq!(report.event.as_ref().unwrap().reason, "RefreshFailed");
    assert!(
        report
            .event
            .as_ref()
            .unwrap()
            .note()
            .contains("arn:aws:iam::123456789012:role/r")
    );
    // Only a policy can help, and the supervisor tells of that.
    assert_eq!(report.memory.next, None);
    permit(&world, ANY);
    again(&world, &report).await;
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("True", Reason::Issued)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_withdrawn_while_the_call_waits_is_not_asked_for() {
    let world = World::new().await;
    permit(&world, ANY);
    let report = first(&world, &plain()).await;
    // It may be asked again only five seconds after the call before.
    let requested = Resource {
        refresh_request: Some("now".into()),
        ..plain()
    };
    let cycle = super::tests::cycle(&world, &requested, Trigger::PolicyChanged, report.memory);
    let withdraw = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        permit_nothing(&world);
    };
    let (report, ()) = tokio::join!(cycle, withdraw);
    assert_eq!((world.aws.calls(), failure(report).reason()), (1, Reason::PolicyDenied));
    assert!(world.cluster.secret("secret").is_some());
}

#[tokio::test(start_paused = true)]
async fn withdrawn_credentials_stay_until_they_end_and_the_message_says_how_to_end_them_sooner() {
    let world = world_with(Tenancy::default()).await;
    let report = first(&world, &plain()).await;
    permit_nothing(&world);
    world.cluster.take_calls();
    let report = again(&world, &report).await;
    assert_eq!(world.cluster.take_calls(), [Call::Status]);
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("True", Reason::Issued)
    );
    assert_eq!(report.memory.next.unwrap().at, at(900));
    let message = world.cluster.status().conditions[1].message.clone();
    assert!(
        message.contains("aws:TokenIssueTime") && message.contains(&at(900).to_string()),
        "{message}"
    );
    pass(900).await;
    let report = again(&world, &report).await;
    assert_eq!(world.cluster.take_calls(), [Call::Repair, Call::Status]);
    let emptied = world.cluster.secret("secret").unwrap();
    assert!(emptied.is_emptied());
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("False", Reason::PolicyDenied)
    );
    // Once, also after a restart.
    let report = super::tests::cycle(&world, &plain(), Trigger::Created, restarted(&report)).await;
    assert_eq!(world.cluster.take_calls(), [Call::Observe, Call::Status]);
    assert!(!failure(report).to_string().contains("TokenIssueTime"));
}

#[tokio::test(start_paused = true)]
async fn or_the_secret_is_deleted_at_once() {
    let deleting = Tenancy {
        when_withdrawn: WhenWithdrawn::Delete,
        ..Tenancy::default()
    };
    let world = world_with(deleting).await;
    let report = first(&world, &plain()).await;
    permit_nothing(&world);
    world.cluster.take_calls();
    let report = again(&world, &report).await;
    assert_eq!(world.cluster.take_calls(), [Call::Delete, Call::Status]);
    assert_eq!(world.cluster.secret("secret"), None);
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("False", Reason::PolicyDenied)
    );
    let message = failure(again(&world, &report).await).to_string();
    assert!(message.contains("aws:TokenIssueTime"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_resource_keeps_no_credentials_that_were_withdrawn() {
    let deleting = Tenancy {
        when_withdrawn: WhenWithdrawn::Delete,
        ..Tenancy::default()
    };
    let world = world_with(deleting).await;
    let report = first(&world, &plain()).await;
    permit_nothing(&world);
    let suspended = suspended(spec(Format::Map));
    let report = super::tests::cycle(&world, &suspended, Trigger::SpecChanged, report.memory).await;
    assert!(matches!(report.outcome, Outcome::Suspended(_)), "{:?}", report.outcome);
    assert_eq!(world.cluster.secret("secret"), None);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_resource_whose_spec_is_another_by_now_loses_what_was_withdrawn_when_it_ends() {
    let world = world_with(Tenancy::default()).await;
    let report = first(&world, &plain()).await;
    permit_nothing(&world);
    let suspended = suspended(Spec {
        duration: Duration::from_secs(1800),
        ..spec(Format::Map)
    });
    let report = super::tests::cycle(&world, &suspended, Trigger::SpecChanged, report.memory).await;
    assert!(!world.cluster.secret("secret").unwrap().is_emptied());
    assert_eq!(report.memory.next.as_ref().unwrap().at, at(900));
    pass(900).await;
    let report = super::tests::cycle(&world, &suspended, Trigger::Due, report.memory).await;
    assert!(
        matches!(report.outcome, Outcome::Suspended(None)),
        "{:?}",
        report.outcome
    );
    assert!(world.cluster.secret("secret").unwrap().is_emptied());
    assert_eq!(report.memory.next, None);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_could_not_be_seen_does_not_count_as_withdrawn() {
    let deleting = Tenancy {
        when_withdrawn: WhenWithdrawn::Delete,
        ..Tenancy::default()
    };
    let world = world_with(deleting).await;
    let report = first(&world, &plain()).await;
    permit_nothing(&world);
    let suspended = suspended(spec(Format::Map));
    world.cluster.fail(Call::Observe, [unavailable()]);
    let report = super::tests::cycle(&world, &suspended, Trigger::SpecChanged, restarted(&report)).await;
    assert!(matches!(report.outcome, Outcome::Failed(_)), "{:?}", report.outcome);
    assert!(report.memory.next.is_some(), "it is tried again");
    let report = super::tests::cycle(&world, &suspended, Trigger::Retry, report.memory).await;
    assert!(matches!(report.outcome, Outcome::Suspended(_)), "{:?}", report.outcome);
    assert_eq!(world.cluster.secret("secret"), None);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_secret_is_left_alone_whatever_is_withdrawn() {
    let deleting = Tenancy {
        when_withdrawn: WhenWithdrawn::Delete,
        unlisted_namespaces: UnlistedNamespaces::Deny,
        ..Tenancy::default()
    };
    let world = world_with(deleting).await;
    permit_nothing(&world);
    let other = crate::spec::ResourceKey {
        name: "other".into(),
        uid: "uid-9".into(),
        ..key()
    };
    let foreign = world.cluster.put(secret("secret", &[(&other, true)]), "Opaque");
    let report = first(&world, &plain()).await;
    assert_eq!(failure(report).reason(), Reason::PolicyDenied);
    assert_eq!(world.cluster.secret("secret"), Some(foreign));
}

#[tokio::test(start_paused = true)]
async fn credentials_that_could_not_be_written_are_not_written_after_they_were_withdrawn() {
    let world = world_with(Tenancy::default()).await;
    world
        .cluster
        .fail(Call::Create, [crate::operator::fixtures::unavailable()]);
    let report = first(&world, &plain()).await;
    assert!(report.memory.unwritten.is_some());
    permit_nothing(&world);
    let report = again(&world, &report).await;
    assert!(report.memory.unwritten.is_none());
    assert_eq!((world.aws.calls(), world.cluster.secret("secret")), (1, None));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_an_external_id_of_its_own_where_the_cluster_has_a_name() {
    let named = Tenancy {
        cluster_name: Some("prod".into()),
        ..Tenancy::default()
    };
    let world = world_with(named).await;
    let hash = first(&world, &plain()).await;
    drop(hash);
    let mut own = spec(Format::Map);
    own.session.external_id = Some("agreed".into());
    own.secret_name = "other".into();
    permit(&world, ANY);
    world.context.boundary.publish(Known {
        policies: Policies::default(),
        labels: Labels::new(),
        held: None,
    });
    first(&world, &resource(own)).await;
    let ids: Vec<_> = world
        .aws
        .requests()
        .into_iter()
        .map(|request| request.session.external_id)
        .collect();
    assert_eq!(ids, [Some("k8s:prod:team".to_owned()), Some("agreed".to_owned())]);
}
