//! Actors that rest, and what is taken up without one.

use super::taking_up::SECRETS_LIST_TIMEOUT;
use super::tests::{Running, named, ready};
use super::*;
use crate::operator::fixtures::{Call, pass, refusal, unavailable};
use crate::spec::Resource;

/// The resource as the API server has it after the last status was written.
fn with_status(running: &Running, resource: Resource) -> Resource {
    Resource {
        status: Some(Box::new(running.world.cluster.status())),
        ..resource
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_rests_until_its_time_comes() {
    let running = Running::with(&[named("a", "1")]).await;
    assert_eq!((running.awake(), running.children().await), (0, (vec![ready("1")], 1)));
    pass(450).await;
    assert_eq!((running.world.aws.calls(), running.awake()), (2, 0));
    assert_eq!(running.children().await, (vec![ready("1")], 1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_whose_event_is_refused_rests_too() {
    let running = Running::start().await;
    running.world.cluster.fail(Call::Event, [unavailable()]);
    running.list(&[named("a", "1")]).await;
    assert_eq!(running.world.cluster.count(Call::Event, "a"), 1);
    assert_eq!((running.awake(), running.children().await), (0, (vec![ready("1")], 1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_news_wakes_nobody() {
    let running = Running::with(&[named("a", "1")]).await;
    let seen = running.world.cluster.secret("secret-of-a").unwrap();
    running.tell_secret(SecretEvent::Applied(Box::new(seen))).await;
    running
        .tell(WatchEvent::Applied(with_status(&running, named("a", "1"))))
        .await;
    running.world.cluster.take_calls();
    running.list_secrets(&[named("a", "1")]).await;
    assert_eq!(running.world.cluster.take_calls(), []);
    assert_eq!((running.world.aws.calls(), running.awake()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_happens_while_an_actor_is_about_to_rest_is_not_lost() {
    let running = Running::with(&[named("a", "1")]).await;
    for number in 2..40 {
        let requested = Resource {
            refresh_request: Some(number.to_string()),
            ..named("a", "1")
        };
        // At every point of the cycle before, and of what follows it.
        running.world.cluster.tell(WatchEvent::Applied(requested));
        for _ in 0..number {
            tokio::task::yield_now().await;
        }
        pass(60).await;
        let secret = running.world.cluster.secret("secret-of-a").unwrap();
        assert!(secret.answers(&number.to_string()), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_actor_of_a_resource_that_fails_rests_between_its_attempts_and_remembers_them() {
    let running = Running::start().await;
    running.world.aws.will([refusal(), refusal(), refusal()]);
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    assert_eq!((running.awake(), running.children().await.1), (0, 1));
    pass(400).await;
    assert!(running.world.aws.calls() >= 4);
    assert_eq!(running.children().await.0, [ready("1")]);
    assert_eq!(running.world.cluster.events(), ["RefreshFailed", "Issued"]);
    assert_eq!(running.world.cluster.repeats().first(), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_starts_leaves_what_is_in_order_to_its_time() {
    let before = Running::with(&[named("a", "1")]).await;
    let secret = before.world.cluster.secret("secret-of-a").unwrap();
    let resource = with_status(&before, named("a", "1"));

    let after = Running::start().await;
    let secret = after.world.cluster.put(secret, "Opaque");
    after.list(&[resource]).await;
    assert_eq!(after.children().await, (vec![ready("1")], 0));
    after.world.cluster.tell_secret(SecretEvent::ListStarted(Scope::all()));
    after.world.cluster.tell_secret(SecretEvent::Listed(Box::new(secret)));
    after.tell_secret(SecretEvent::ListDone(Scope::all())).await;
    assert_eq!((after.children().await, after.awake()), ((vec![ready("1")], 1), 0));
    assert_eq!((after.world.cluster.take_calls(), after.world.aws.calls()), (vec![], 0));
    pass(450).await;
    assert_eq!(after.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_finds_a_secret_edited_puts_it_right() {
    let before = Running::with(&[named("a", "1")]).await;
    let edited = before.world.cluster.strip("secret-of-a");
    let resource = with_status(&before, named("a", "1"));

    let after = Running::start().await;
    let edited = after.world.cluster.put(edited, "Opaque");
    after.list(&[resource]).await;
    after.world.cluster.tell_secret(SecretEvent::ListStarted(Scope::all()));
    after.world.cluster.tell_secret(SecretEvent::Listed(Box::new(edited)));
    after.tell_secret(SecretEvent::ListDone(Scope::all())).await;
    assert_eq!(after.world.cluster.take_calls(), [Call::Repair, Call::Event]);
    assert_eq!(after.world.aws.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn resources_are_taken_up_also_when_the_secrets_cannot_be_listed() {
    let before = Running::with(&[named("a", "1")]).await;
    let secret = before.world.cluster.secret("secret-of-a").unwrap();
    let valid = with_status(&before, named("a", "1"));

    let after = Running::start().await;
    after.world.cluster.put(secret, "Opaque");
    after.list(&[valid, named("b", "2")]).await;
    let observed = |name: &str| after.world.cluster.count(Call::Observe, name);
    assert_eq!(
        (observed("secret-of-a"), observed("secret-of-b")),
        (0, 1),
        "a new one does not wait"
    );
    assert_eq!(after.world.aws.calls(), 1);
    pass(SECRETS_LIST_TIMEOUT.as_secs()).await;
    assert_eq!((observed("secret-of-a"), observed("secret-of-b")), (1, 1));
    assert_eq!(after.children().await, (vec![ready("1"), ready("2")], 2));
    assert_eq!(after.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_secrets_that_goes_on_is_waited_for_but_not_for_ever() {
    let before = Running::with(&[named("a", "1")]).await;
    let secret = before.world.cluster.secret("secret-of-a").unwrap();
    let valid = with_status(&before, named("a", "1"));

    let after = Running::start().await;
    after.world.cluster.put(secret, "Opaque");
    after.list(&[valid]).await;
    after.world.cluster.tell_secret(SecretEvent::ListStarted(Scope::all()));
    let observed = || after.world.cluster.count(Call::Observe, "secret-of-a");
    for _ in 1..6 {
        after.tell_secret(SecretEvent::Listed(Box::default())).await;
        pass(SECRETS_LIST_TIMEOUT.as_secs()).await;
        assert_eq!(observed(), 0);
    }
    after.tell_secret(SecretEvent::Listed(Box::default())).await;
    pass(SECRETS_LIST_TIMEOUT.as_secs()).await;
    assert_eq!(observed(), 1);
    assert_eq!(after.world.aws.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_a_new_resource_is_made_without_a_look() {
    let running = Running::with(&[]).await;
    running.tell(WatchEvent::Applied(named("a", "1"))).await;
    assert_eq!(
        running.world.cluster.take_calls(),
        [Call::Create, Call::Status, Call::Event]
    );
}
