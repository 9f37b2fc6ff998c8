//! What the actor does when somebody changes its Secret.

use std::time::Duration;

use super::tests::Role;
use super::*;
use crate::operator::fixtures::{Call, pass, secret, unavailable};
use crate::spec::fixtures::key;

#[tokio::test(start_paused = true)]
async fn its_own_write_does_not_start_a_cycle() {
    let role = Role::waiting().await;
    let written = role.world.cluster.secret("secret").unwrap();
    role.send(RoleMessage::SecretSeen(Box::new(written))).await;
    pass(60).await;
    assert_eq!(role.cycles(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_somebody_changed_is_followed_once() {
    let role = Role::waiting().await;
    role.edit().await;
    assert_eq!(role.repairs(), 1);
    let repaired = role.world.cluster.secret("secret").unwrap();
    role.send(RoleMessage::SecretSeen(Box::new(repaired))).await;
    pass(60).await;
    assert_eq!((role.repairs(), role.cycles(), role.world.aws.calls()), (1, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_deleted_is_made_anew() {
    let role = Role::waiting().await;
    let removed = role.world.cluster.remove("secret");
    role.send(RoleMessage::SecretLost(Box::new(removed))).await;
    // AWS is left alone for five seconds.
    pass(5).await;
    assert!(role.world.cluster.secret("secret").is_some());
    assert_eq!(role.world.aws.calls(), 2);
    assert_eq!(role.world.cluster.events(), ["Issued", "SecretRepaired"]);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_in_the_list_is_looked_for() {
    let role = Role::waiting().await;
    role.send(RoleMessage::SecretNotListed).await;
    assert_eq!(role.world.cluster.take_calls(), [Call::Observe], "it is there");
    role.world.cluster.remove("secret");
    role.send(RoleMessage::SecretNotListed).await;
    pass(10).await;
    assert!(role.world.cluster.secret("secret").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_cycle_is_followed_after_it() {
    let mut role = Role::waiting().await;
    role.world.cluster.delay(Call::Status, 10);
    role.request("1").await;
    assert!(role.world.cluster.secret("secret").unwrap().answers("1"));
    role.edit().await;
    pass(8).await;
    assert_eq!(role.repairs(), 0, "it is not over");
    pass(2).await;
    assert_eq!(role.repairs(), 1);
    assert_eq!((role.world.aws.calls(), role.world.aws.given_up()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn edits_in_a_row_are_followed_every_ten_seconds_at_most() {
    let role = Role::waiting().await;
    for _ in 0..30 {
        role.edit().await;
        tokio::time::sleep(Duration::from_millis(930)).await;
    }
    pass(11).await;
    assert_eq!(role.repairs(), 4);
    assert!(role.world.cluster.secret("secret").unwrap().metadata.labels.is_some());
    assert_eq!(role.world.aws.calls(), 1);
    pass(600).await;
    assert_eq!(role.world.aws.calls(), 2, "and the next cycle comes when it is due");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_resource_looks_at_its_secret_and_touches_nothing() {
    let mut role = Role::waiting().await;
    role.respecify(|spec| spec.suspend = true).await;
    assert_eq!(role.cycles(), 2);
    role.edit().await;
    pass(60).await;
    assert_eq!((role.cycles(), role.repairs()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_appears_under_a_name_that_is_not_wanted_is_deleted() {
    let role = Role::waiting().await;
    let stray = role.world.cluster.put(secret("stray", &[(&key(), true)]), "Opaque");
    role.send(RoleMessage::SecretSeen(Box::new(stray))).await;
    assert!(role.world.cluster.secret("stray").is_none());
    assert_eq!(role.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_not_forgotten_behind_a_status_that_is_written_again() {
    let mut role = Role::waiting().await;
    role.edit().await;
    assert_eq!(role.repairs(), 1);
    role.world.cluster.fail(Call::Status, [unavailable()]);
    role.request("1").await;
    role.edit().await;
    pass(20).await;
    assert_eq!(role.repairs(), 2);
}
