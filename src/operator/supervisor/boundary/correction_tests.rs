//! Cycles that went by another ruling than the one that holds, or could not know it.

use super::tests::{ANY, OTHERS, counted, namespace, reasons, requested, selecting, tell};
use super::*;
use crate::api::Reason;
use crate::cluster::{ObservedPolicy, WatchEvent};
use crate::operator::boundary::{Boundary, Tenancy};
use crate::operator::fixtures::{World, pass, policy, settle};
use crate::operator::supervisor::tests::{Running, named};
use crate::refresh::withdrawal::WhenWithdrawn;
use crate::spec::{Resource, Spec};

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_not_known_just_now_is_ruled_by_as_it_was() {
    let running = Running::with(&[named("a", "1")]).await;
    running.world.aws.set_anonymous(true);
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[OTHERS]))).await;
    assert_eq!(counted(&running).await, [0, 0, 1, 0]);
    running.world.aws.set_anonymous(false);
    pass(30).await;
    assert_eq!(reasons(&running).last(), Some(&Some(Reason::PolicyDenied)));
    // And the other way round.
    running.world.aws.set_anonymous(true);
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[ANY]))).await;
    running.world.aws.set_anonymous(false);
    pass(120).await;
    assert_eq!(counted(&running).await, [1, 0, 0, 0]);
    assert_eq!(running.world.cluster.status().failure_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn what_a_cycle_could_not_know_it_is_told_when_the_operator_is_known_again() {
    let running = Running::with(&[named("a", "1")]).await;
    running.world.aws.set_silent(true);
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[OTHERS]))).await;
    pass(30).await;
    assert_eq!(
        running.world.cluster.status().failure_reason(),
        None,
        "nothing is taken away"
    );
    running.world.aws.set_silent(false);
    tell(&running, TenancyEvent::Heard).await;
    pass(1).await;
    assert_eq!(
        running.world.cluster.status().failure_reason(),
        Some(Reason::PolicyDenied)
    );
}

#[tokio::test(start_paused = true)]
async fn a_cycle_between_two_changes_that_undo_each_other_is_put_right() {
    let running = Running::with(&[named("a", "1")]).await;
    let change = |roles: &str| {
        let event = TenancyEvent::Applied(policy("p", &["team"], &[roles]));
        running.world.cluster.tell_policy(event);
    };
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[ANY]))).await;
    for (number, undone) in [(1, true), (2, false)] {
        change(OTHERS);
        settle().await;
        let request = requested("a", "1", &number.to_string());
        running.world.cluster.tell(WatchEvent::Applied(request));
        settle().await;
        let denied = Some(Reason::PolicyDenied);
        assert_eq!(running.world.cluster.status().failure_reason(), denied);
        if undone {
            change(ANY);
        }
        tokio::time::sleep(REASSESS_AFTER).await;
        settle().await;
        pass(60).await;
        let reason = running.world.cluster.status().failure_reason();
        assert_eq!(reason, denied.filter(|_| !undone), "{number}");
    }
    // Permitted for a moment, and denied again: what was issued meanwhile is withdrawn, too.
    change(ANY);
    settle().await;
    running
        .world
        .cluster
        .tell(WatchEvent::Applied(requested("a", "1", "3")));
    settle().await;
    assert_eq!(running.world.cluster.status().failure_reason(), None);
    change(OTHERS);
    tokio::time::sleep(REASSESS_AFTER).await;
    settle().await;
    pass(60).await;
    assert_eq!(
        running.world.cluster.status().failure_reason(),
        Some(Reason::PolicyDenied)
    );
}

#[tokio::test(start_paused = true)]
async fn what_happens_elsewhere_meanwhile_keeps_nobody_from_being_put_right() {
    let running = Running::with(&[named("a", "1")]).await;
    let all = Scope::all();
    running.world.cluster.list_namespace(&all, namespace("team", "no"));
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[ANY]))).await;
    let labelled = ObservedPolicy {
        name: "q".into(),
        ..selecting(ANY)
    };
    tell(&running, TenancyEvent::Applied(labelled)).await;
    for roles in [OTHERS, ANY] {
        let event = TenancyEvent::Applied(policy("p", &["team"], &[roles]));
        running.world.cluster.tell_policy(event);
        settle().await;
        if roles == OTHERS {
            running
                .world
                .cluster
                .tell(WatchEvent::Applied(requested("a", "1", "now")));
            settle().await;
        }
    }
    // A tenant who labels its own namespace again and again.
    for number in 0..200 {
        let label = TenancyEvent::Applied(namespace("elsewhere", &number.to_string()));
        running.world.cluster.tell_namespace(&all, label);
        tokio::time::sleep(REASSESS_AFTER / 2).await;
    }
    assert_eq!(running.world.cluster.status().failure_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_resource_is_told_too() {
    let mut world = World::new().await;
    world.context.boundary = Boundary::new(Tenancy {
        when_withdrawn: WhenWithdrawn::Delete,
        ..Tenancy::default()
    });
    let running = Running::leading_in(world).await;
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    let suspended = Resource {
        generation: 2,
        spec: named("a", "1").spec.map(|spec| Spec { suspend: true, ..spec }),
        ..named("a", "1")
    };
    running.tell(WatchEvent::Applied(suspended)).await;
    assert!(running.world.cluster.status().is_suspended());
    running.world.aws.set_silent(true);
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[OTHERS]))).await;
    pass(30).await;
    assert!(
        running.world.cluster.secret("secret-of-a").is_some(),
        "nothing is taken away"
    );
    running.world.aws.set_silent(false);
    tell(&running, TenancyEvent::Heard).await;
    pass(1).await;
    assert!(running.world.cluster.secret("secret-of-a").is_none());
}

#[tokio::test(start_paused = true)]
async fn who_is_taken_up_when_the_policies_are_known_does_not_begin_twice() {
    let world = World::new().await;
    world.cluster.hold_policies();
    let running = Running::leading_in(world).await;
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    assert_eq!(running.world.aws.calls(), 0);
    for event in [
        TenancyEvent::ListStarted,
        TenancyEvent::Listed(policy("p", &["elsewhere"], &[ANY])),
        TenancyEvent::ListDone,
    ] {
        running.world.cluster.tell_policy(event);
    }
    // At once, and not after the pause between two calls of one resource.
    settle().await;
    assert_eq!((running.world.aws.calls(), counted(&running).await), (1, [0, 1, 0, 0]));
}

#[tokio::test(start_paused = true)]
async fn who_cannot_know_is_not_asked_again_and_again_and_loses_no_news() {
    let running = Running::with(&[named("a", "1")]).await;
    let all = Scope::all();
    running.world.cluster.list_namespace(&all, namespace("team", "no"));
    let labelled = ObservedPolicy {
        name: "q".into(),
        ..selecting(ANY)
    };
    tell(&running, TenancyEvent::Applied(labelled)).await;
    running.world.aws.set_silent(true);
    tell(&running, TenancyEvent::Applied(policy("p", &["team"], &[OTHERS]))).await;
    running.world.cluster.take_calls();
    let label = |number: usize| {
        let event = TenancyEvent::Applied(namespace("elsewhere", &number.to_string()));
        running.world.cluster.tell_namespace(&all, event);
    };
    for number in 0..50 {
        label(number);
        tokio::time::sleep(REASSESS_AFTER * 2).await;
    }
    assert_eq!(running.world.cluster.take_calls(), [], "nothing can be done about it");
    // It is known again, and the first to be looked at for that are others.
    running.world.aws.set_silent(false);
    label(50);
    tokio::time::sleep(REASSESS_AFTER * 2).await;
    settle().await;
    assert_eq!(
        running.world.cluster.status().failure_reason(),
        Some(Reason::PolicyDenied)
    );
}
