//! Each namespace is watched by itself, and what happens to the watch on one is nothing to the others.

use super::leading_tests::written_before;
use super::tests::{Running, named, ready};
use super::*;
use crate::operator::fixtures::{Call, MemoryCluster, World, pass, settle};
use crate::refresh::standing::State;
use crate::spec::{Resource, ResourceKey};

/// One that watches the namespaces `one` and `other`, each by itself.
async fn watching_two() -> Running {
    let scopes = [Scope::of("one"), Scope::of("other")];
    let world = World::over(MemoryCluster::watched(&scopes)).await;
    Running::standing_by_in(world).await
}

/// A resource of a namespace. Its UID is its name.
pub(super) fn of(namespace: &str, name: &str) -> Resource {
    let plain = named(name, name);
    Resource {
        key: ResourceKey {
            namespace: namespace.into(),
            ..plain.key
        },
        ..plain
    }
}

impl Running {
    pub(super) async fn list_of(&self, namespace: &str, resources: &[Resource]) {
        let cluster = &self.world.cluster;
        cluster.tell(WatchEvent::ListStarted(Scope::of(namespace)));
        for resource in resources {
            cluster.tell(WatchEvent::Listed(resource.clone()));
        }
        self.tell(WatchEvent::ListDone(Scope::of(namespace))).await;
    }

    pub(super) async fn list_secrets_of(&self, namespace: &str, secrets: &[&str]) {
        let cluster = &self.world.cluster;
        cluster.tell_secret(SecretEvent::ListStarted(Scope::of(namespace)));
        for secret in secrets {
            let secret = cluster.secret(secret).unwrap();
            cluster.tell_secret(SecretEvent::Listed(Box::new(secret)));
        }
        self.tell_secret(SecretEvent::ListDone(Scope::of(namespace))).await;
    }

    /// The resources that are known, in the order of their names.
    async fn known(&self) -> Vec<(String, State)> {
        self.children().await.0
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_one_list_says_nothing_about_another() {
    let running = watching_two().await;
    running.lead().await;
    running.list_of("one", &[of("one", "a"), of("one", "b")]).await;
    running.list_secrets_of("one", &[]).await;
    running.list_of("other", &[of("other", "c")]).await;
    running.list_secrets_of("other", &[]).await;
    assert_eq!(running.known().await, [ready("a"), ready("b"), ready("c")]);

    // The lists of two at the same time, one within the other.
    running.world.cluster.tell(WatchEvent::ListStarted(Scope::of("one")));
    running.list_of("other", &[]).await;
    assert_eq!(running.known().await, [ready("a"), ready("b")]);
    running.tell(WatchEvent::Listed(of("one", "b"))).await;
    running.tell(WatchEvent::ListDone(Scope::of("one"))).await;
    assert_eq!(running.known().await, [ready("b")]);
}

#[tokio::test(start_paused = true)]
async fn the_list_of_one_namespaces_secrets_says_nothing_about_those_of_another() {
    let running = watching_two().await;
    running.lead().await;
    running.list_of("one", &[of("one", "a")]).await;
    running.list_of("other", &[of("other", "b")]).await;
    running.world.cluster.take_calls();
    running.list_secrets_of("one", &["secret-of-a"]).await;
    running.list_secrets_of("other", &["secret-of-b"]).await;
    assert!(running.world.cluster.take_calls().is_empty());
    running.list_secrets_of("other", &[]).await;
    assert_eq!(running.world.cluster.count(Call::Observe, "secret-of-b"), 1);
    assert_eq!(running.world.cluster.take_calls(), [Call::Observe]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_cannot_be_listed_holds_up_no_other() {
    let running = watching_two().await;
    running.lead().await;
    let leader = || running.world.context.metrics.leader.get();
    assert_eq!((leader(), running.snapshot().await.unwatched_scopes), (0, 2));
    running.list_of("one", &[of("one", "a")]).await;
    assert_eq!(leader(), 1);
    assert_eq!(running.known().await, [ready("a")], "it needs no other");
    running.list_secrets_of("one", &["secret-of-a"]).await;
    assert!(!running.is_ready(), "the other may be about to come");
    // That one is refused again and again.
    for _ in 0..5 {
        pass(3).await;
        running.tell(WatchEvent::ListStarted(Scope::of("other"))).await;
    }
    pass(6).await;
    assert!(running.is_ready());
    assert_eq!(running.snapshot().await.unwatched_scopes, 1);

    // It is there at last.
    running.list_of("other", &[of("other", "b")]).await;
    running.list_secrets_of("other", &["secret-of-b"]).await;
    assert_eq!(running.known().await, [ready("a"), ready("b")]);
    assert_eq!(running.snapshot().await.unwatched_scopes, 0);
    assert!(running.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_valid_resource_waits_for_the_secrets_of_its_own_namespace() {
    let (secret, written) = written_before("a", "a").await;
    let scopes = [Scope::of("other"), Scope::of("team")];
    let world = World::over(MemoryCluster::watched(&scopes)).await;
    let running = Running::standing_by_in(world).await;
    running.lead().await;
    running.world.cluster.put(secret, "Opaque");
    running.list_of("team", &[written]).await;
    running.list_of("other", &[]).await;
    running.list_secrets_of("other", &[]).await;
    assert_eq!(running.children().await.1, 0, "its Secret is not known yet");
    running.list_secrets_of("team", &["secret-of-a"]).await;
    assert_eq!(running.children().await, (vec![ready("a")], 1));
    assert_eq!((running.awake(), running.world.aws.calls()), (0, 0), "it is in order");
    assert!(running.world.cluster.take_calls().is_empty());
}

#[tokio::test(start_paused = true)]
async fn secrets_that_cannot_be_listed_hold_up_their_own_namespace_for_a_moment_only() {
    let (secret, written) = written_before("a", "a").await;
    let scopes = [Scope::of("other"), Scope::of("team")];
    let world = World::over(MemoryCluster::watched(&scopes)).await;
    let running = Running::standing_by_in(world).await;
    running.lead().await;
    running.world.cluster.put(secret, "Opaque");
    running.list_of("team", &[written]).await;
    pass(9).await;
    assert_eq!(running.children().await.1, 0);
    pass(2).await;
    assert_eq!(running.children().await, (vec![ready("a")], 1));
    assert_eq!(running.world.cluster.take_calls(), [Call::Observe]);
}

#[tokio::test(start_paused = true)]
async fn the_metric_shows_the_one_that_is_silent_and_the_probe_any_that_is_heard() {
    let running = watching_two().await;
    running.list_of("one", &[]).await;
    running.list_secrets_of("one", &[]).await;
    running.list_of("other", &[]).await;
    running.list_secrets_of("other", &[]).await;
    let begun = running.snapshot().await.now;
    for _ in 0..20 {
        pass(10).await;
        running.tell(WatchEvent::Heard(Scope::of("one"))).await;
        running.tell_secret(SecretEvent::Heard(Scope::of("one"))).await;
    }
    let snapshot = running.snapshot().await;
    assert!(
        snapshot.watches.iter().all(|(_, heard)| *heard <= begun),
        "{snapshot:?}"
    );
    assert!(running.is_ready());
    pass(150).await;
    assert!(!running.is_ready(), "nobody hears anything");
    settle().await;
}
