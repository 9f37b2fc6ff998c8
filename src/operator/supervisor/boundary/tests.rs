use std::collections::BTreeMap;

use super::*;
use crate::api::Reason;
use crate::cluster::{ObservedNamespace, ObservedPolicy, WatchEvent};
use crate::operator::boundary::{Boundary, Tenancy};
use crate::operator::fixtures::{Call, MemoryCluster, World, pass, policy, settle};
use crate::operator::supervisor::scopes_tests::of;
use crate::operator::supervisor::tests::{Running, named, ready};
use crate::refresh::policy::UnlistedNamespaces;
use crate::spec::role::RoleReference;
use crate::spec::{Resource, Spec};

pub(super) const ANY: &str = "arn:aws:iam::123456789012:role/*";
pub(super) const OTHERS: &str = "arn:aws:iam::123456789012:role/others/*";

pub(super) async fn tell(running: &Running, event: PolicyEvent) {
    running.world.cluster.tell_policy(event);
    tokio::time::sleep(REASSESS_AFTER).await;
    settle().await;
}

pub(super) fn reasons(running: &Running) -> Vec<Option<Reason>> {
    let statuses = running.world.cluster.statuses();
    statuses.iter().map(|status| status.failure_reason()).collect()
}

pub(super) async fn counted(running: &Running) -> [usize; 4] {
    running.snapshot().await.rulings.map(|(_, number)| number)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_of_aws_before_the_policies_are_listed() {
    let world = World::new().await;
    world.cluster.hold_policies();
    let running = Running::leading_in(world).await;
    let resources = [named("a", "1")];
    running.list(&resources).await;
    running.list_secrets(&resources).await;
    pass(30).await;
    assert_eq!((running.world.aws.calls(), running.is_ready()), (0, false));
    running.world.cluster.tell_policy(TenancyEvent::ListStarted);
    tell(&running, TenancyEvent::Listed(policy("p", &["team"], &[ANY]))).await;
    assert_eq!(running.world.aws.calls(), 0);
    tell(&running, TenancyEvent::ListDone).await;
    assert_eq!((running.world.aws.calls(), running.is_ready()), (1, true));
    assert_eq!(counted(&running).await, [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_is_not_installed_counts_as_no_policies() {
    let world = World::new().await;
    world.cluster.hold_policies();
    let running = Running::leading_in(world).await;
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    tell(&running, TenancyEvent::NotInstalled).await;
    assert_eq!((running.world.aws.calls(), running.is_ready()), (1, true));
    // And it is installed later.
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[OTHERS]))).await;
    assert_eq!(counted(&running).await, [0, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn any_other_failure_holds_new_calls_and_keeps_the_secrets() {
    let world = World::new().await;
    world.cluster.hold_policies();
    let running = Running::leading_in(world).await;
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    tell(&running, TenancyEvent::Failed("forbidden".into())).await;
    assert_eq!(running.world.aws.calls(), 0);
    assert_eq!(reasons(&running), [Some(Reason::ClusterUnavailable)]);
    let message = running.world.cluster.status().conditions[1].message.clone();
    assert!(message.contains("forbidden"), "{message}");
    running.world.cluster.tell_policy(TenancyEvent::ListStarted);
    tell(&running, TenancyEvent::ListDone).await;
    assert_eq!(running.world.aws.calls(), 1);
    // A failure that lasts is one too; one that passes is none.
    tell(&running, TenancyEvent::Failed("away".into())).await;
    pass(30).await;
    tell(&running, TenancyEvent::Heard).await;
    pass(45).await;
    tell(&running, TenancyEvent::Failed("forbidden".into())).await;
    pass(75).await;
    running.world.cluster.take_calls();
    running.tell(WatchEvent::Applied(requested("a", "1", "now"))).await;
    assert_eq!(running.world.aws.calls(), 1);
    assert!(!running.world.cluster.take_calls().contains(&Call::Delete));
    assert_eq!(
        running.world.cluster.status().failure_reason(),
        Some(Reason::ClusterUnavailable)
    );
    tell(&running, TenancyEvent::Heard).await;
    pass(60).await;
    assert_eq!(running.world.aws.calls(), 2);
}

pub(super) fn requested(name: &str, uid: &str, request: &str) -> Resource {
    Resource {
        refresh_request: Some(request.to_owned()),
        ..named(name, uid)
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_is_withdrawn_is_refused_at_once_and_had_again_when_it_is_permitted_again() {
    let running = Running::with(&[named("a", "1"), named("b", "2")]).await;
    assert_eq!((running.world.aws.calls(), running.awake()), (2, 0));
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[OTHERS]))).await;
    let denied = Some(Reason::PolicyDenied);
    assert_eq!(reasons(&running)[2..], [denied, denied]);
    assert_eq!(counted(&running).await, [0, 0, 2, 0]);
    // What was issued stays until it ends, and then it is emptied.
    assert!(
        running
            .world
            .cluster
            .secret("secret-of-a")
            .unwrap()
            .expiration()
            .is_some()
    );
    pass(905).await;
    assert!(running.world.cluster.secret("secret-of-a").unwrap().is_emptied());
    assert_eq!(running.world.aws.calls(), 2);
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[ANY]))).await;
    assert_eq!((running.world.aws.calls(), running.awake()), (4, 0));
    assert_eq!(running.children().await, (vec![ready("1"), ready("2")], 2));
    assert!(
        running
            .world
            .cluster
            .secret("secret-of-a")
            .unwrap()
            .expiration()
            .is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_changes_nothing_for_a_resource_wakes_nobody() {
    let running = Running::with(&[named("a", "1")]).await;
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[ANY]))).await;
    running.world.cluster.take_calls();
    tell(&running, TenancyEvent::Applied(policy("q", &["team"], &[OTHERS]))).await;
    tell(&running, TenancyEvent::Applied(policy("r", &["elsewhere"], &[OTHERS]))).await;
    tell(&running, TenancyEvent::Deleted("q".into())).await;
    assert_eq!((running.world.cluster.take_calls(), running.awake()), (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn a_resource_without_a_policy_is_told_so_once_there_is_one() {
    let running = Running::with(&[named("a", "1")]).await;
    let message = || running.world.cluster.status().conditions[0].message.clone();
    let before = message();
    tell(&running, TenancyEvent::Applied(policy("p", &["elsewhere"], &[ANY]))).await;
    assert_eq!(counted(&running).await, [0, 1, 0, 0]);
    assert!(
        message().contains("No AWSAssumeRolePolicy names this namespace"),
        "{}",
        message()
    );
    // Once is enough, however often it is refreshed.
    pass(450).await;
    assert_eq!(message().matches("No AWSAssumeRolePolicy").count(), 1);
    tell(&running, TenancyEvent::Deleted("p".into())).await;
    assert_eq!((message(), counted(&running).await), (before, [1, 0, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_read_holds_whom_no_other_one_names() {
    let running = Running::with(&[named("a", "1")]).await;
    let unreadable = ObservedPolicy {
        name: "broken".into(),
        spec: Err("invalid type".into()),
    };
    tell(&running, TenancyEvent::Applied(unreadable)).await;
    running.tell(WatchEvent::Applied(requested("a", "1", "now"))).await;
    assert_eq!(running.world.aws.calls(), 1);
    assert!(running.world.cluster.secret("secret-of-a").is_some());
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[ANY]))).await;
    pass(60).await;
    assert_eq!(running.world.aws.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_label_of_a_namespace_gives_and_takes() {
    let running = Running::with(&[named("a", "1")]).await;
    let all = Scope::all();
    let label = |aws: &str| {
        let event = TenancyEvent::Applied(namespace("team", aws));
        running.world.cluster.tell_namespace(&all, event);
    };
    running.world.cluster.list_namespace(&all, namespace("team", ""));
    tell(&running, TenancyEvent::Applied(selecting(OTHERS))).await;
    assert_eq!(counted(&running).await, [0, 1, 0, 0]);
    label("yes");
    tell(&running, TenancyEvent::Heard).await;
    assert_eq!(counted(&running).await, [0, 0, 1, 0]);
    assert_eq!(
        running.world.cluster.status().failure_reason(),
        Some(Reason::PolicyDenied)
    );
    label("no");
    tell(&running, TenancyEvent::Heard).await;
    assert_eq!(counted(&running).await, [0, 1, 0, 0]);
    assert_eq!(running.world.cluster.status().failure_reason(), None);
    // A list that shows another label says the same.
    running.world.cluster.list_namespace(&all, namespace("team", "yes"));
    tell(&running, TenancyEvent::Heard).await;
    assert_eq!(counted(&running).await, [0, 0, 1, 0]);
}

/// A namespace with the label that [`selecting`] goes by.
pub(super) fn namespace(name: &str, aws: &str) -> ObservedNamespace {
    ObservedNamespace {
        name: name.into(),
        labels: BTreeMap::from([("aws".to_owned(), aws.to_owned())]),
    }
}

/// A policy for the namespaces that are labelled so.
pub(super) fn selecting(roles: &str) -> ObservedPolicy {
    let spec = serde_json::json!({"namespaceSelector": {"matchLabels": {"aws": "yes"}}, "roles": [roles]});
    ObservedPolicy {
        name: "p".into(),
        spec: Ok(Box::new(serde_json::from_value(spec).unwrap())),
    }
}

#[tokio::test(start_paused = true)]
async fn who_the_operator_is_is_news_for_all_also_if_it_comes_with_other_news() {
    let running = Running::start().await;
    running.world.aws.set_anonymous(true);
    let all = Scope::all();
    running.world.cluster.list_namespace(&all, namespace("elsewhere", "no"));
    tell(&running, TenancyEvent::Applied(policy("q", &["team"], &[ANY]))).await;
    tell(&running, TenancyEvent::Applied(selecting(ANY))).await;
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    assert_eq!(counted(&running).await, [0, 0, 0, 1], "a role without an account");
    running.world.aws.set_anonymous(false);
    let label = TenancyEvent::Applied(namespace("elsewhere", "yes"));
    running.world.cluster.tell_namespace(&all, label);
    tokio::time::sleep(REASSESS_AFTER * 2).await;
    assert_eq!(counted(&running).await, [1, 0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn labels_that_are_not_heard_of_any_more_are_doubted_in_their_own_namespace_only() {
    let (one, other) = (Scope::of("one"), Scope::of("other"));
    let mut world = World::over(MemoryCluster::watched(&[one.clone(), other.clone()])).await;
    world.context.boundary = Boundary::new(Tenancy {
        unlisted_namespaces: UnlistedNamespaces::Deny,
        ..Tenancy::default()
    });
    let running = Running::leading_in(world).await;
    let cluster = &running.world.cluster;
    tell(&running, TenancyEvent::Applied(selecting(ANY))).await;
    for (scope, name) in [(&one, "a"), (&other, "b")] {
        let namespace_name = scope.namespace().unwrap();
        running.list_of(namespace_name, &[of(namespace_name, name)]).await;
        running.list_secrets_of(namespace_name, &[]).await;
        assert_eq!(running.awake(), 0, "what is permitted there is not known yet");
        cluster.list_namespace(scope, namespace(namespace_name, "yes"));
        pass(1).await;
        assert!(cluster.secret(&format!("secret-of-{name}")).is_some());
    }
    assert_eq!(counted(&running).await, [2, 0, 0, 0]);
    cluster.tell_namespace(&one, TenancyEvent::Failed("forbidden".into()));
    for _ in 0..8 {
        cluster.tell_namespace(&other, TenancyEvent::Heard);
        pass(10).await;
    }
    assert_eq!(counted(&running).await, [1, 0, 0, 1]);
    let calls = running.world.aws.calls();
    for (namespace, name) in [("one", "a"), ("other", "b")] {
        let resource = Resource {
            refresh_request: Some("now".to_owned()),
            ..of(namespace, name)
        };
        running.tell(WatchEvent::Applied(resource)).await;
    }
    assert_eq!(running.world.aws.calls(), calls + 1);
    cluster.tell_namespace(&one, TenancyEvent::Heard);
    pass(60).await;
    assert_eq!(
        (counted(&running).await, running.world.aws.calls()),
        ([2, 0, 0, 0], calls + 2)
    );
}

#[tokio::test(start_paused = true)]
async fn many_that_are_refused_at_once_are_told_in_turn() {
    let resources: Vec<_> = (0..200).map(|n| named(&format!("r{n}"), &n.to_string())).collect();
    let running = Running::with(&resources).await;
    pass(60).await;
    assert_eq!((running.world.aws.calls(), running.awake()), (200, 0));
    running
        .world
        .cluster
        .tell_policy(TenancyEvent::Applied(policy("p", &["team"], &[OTHERS])));
    tokio::time::sleep(REASSESS_AFTER).await;
    let mut most = 0;
    for _ in 0..2000 {
        tokio::task::yield_now().await;
        most = most.max(running.awake());
    }
    // Thirty-two at work, and those that are about to rest again.
    assert!((1..=100).contains(&most), "{most} at the same time");
    pass(60).await;
    assert_eq!((counted(&running).await, running.awake()), ([0, 0, 200, 0], 0));
}

#[tokio::test(start_paused = true)]
async fn what_stands_by_knows_the_policies_when_it_leads() {
    let running = Running::standing_by().await;
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[OTHERS]))).await;
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    running.supervisor.cast(SupervisorMessage::Lead).unwrap();
    settle().await;
    assert_eq!((running.world.aws.calls(), counted(&running).await), (0, [0, 0, 1, 0]));
    let by_arn = Resource {
        spec: named("b", "2").spec.map(|spec| Spec {
            role: RoleReference::Arn("arn:aws:iam::123456789012:role/others/x".into()),
            ..spec
        }),
        ..named("b", "2")
    };
    running.tell(WatchEvent::Applied(by_arn)).await;
    assert_eq!((running.world.aws.calls(), counted(&running).await), (1, [1, 0, 1, 0]));
}
