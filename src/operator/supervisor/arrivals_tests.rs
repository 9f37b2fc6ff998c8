//! Many resources at once.

use std::iter::repeat_n;

use super::super::tests::{Running, named, ready};
use super::super::*;
use super::*;
use crate::operator::fixtures::{Reply, pass, settle};
use crate::spec::{ResourceKey, Spec};

/// No sooner than any test looks again.
const SLOW: Reply = Reply::Slow(Duration::from_secs(30));

/// So many resources of one namespace, with calls to a Region.
fn many(namespace: &str, region: &str, count: usize) -> Vec<Resource> {
    let of = |number: usize| {
        let name = format!("{region}-of-{namespace}-{number:04}");
        let resource = named(&name, &name);
        let key = ResourceKey {
            namespace: namespace.into(),
            ..resource.key
        };
        let spec = Spec {
            region: Some(region.to_owned()),
            ..resource.spec.unwrap()
        };
        Resource {
            key,
            spec: Ok(spec),
            ..resource
        }
    };
    (0..count).map(of).collect()
}

async fn appear(running: &Running, resources: &[Resource]) {
    for resource in resources {
        running.world.cluster.tell(WatchEvent::Applied(resource.clone()));
    }
    settle().await;
}

#[tokio::test(start_paused = true)]
async fn those_that_hang_hold_up_nobody_of_another_region_or_namespace() {
    let running = Running::with(&[]).await;
    running.world.aws.will(repeat_n(SLOW, 3 * PLACES_MAX));
    appear(&running, &many("crowd", "eu-west-1", 2 * PLACES_MAX)).await;
    assert_eq!(running.awake(), PLACES_MAX);
    appear(&running, &many("crowd", "eu-central-1", 1)).await;
    assert_eq!(running.awake(), PLACES_MAX + 1);
    appear(&running, &many("other", "eu-west-1", 1)).await;
    assert_eq!(running.awake(), PLACES_MAX + 2);
    pass(300).await;
    assert_eq!(running.children().await.1, 2 * PLACES_MAX + 2);
}

#[tokio::test(start_paused = true)]
async fn all_are_taken_up_one_after_another() {
    let running = Running::with(&[]).await;
    let all = many("crowd", "eu-west-1", 3 * PLACES_MAX);
    appear(&running, &all).await;
    pass(60).await;
    assert_eq!(running.world.aws.calls(), all.len());
    let expected: Vec<_> = all.iter().map(|resource| ready(&resource.key.uid)).collect();
    assert_eq!(running.children().await, (expected, all.len()));
    assert_eq!(running.awake(), 0);
}

#[tokio::test(start_paused = true)]
async fn many_namespaces_and_regions_share_the_places() {
    let running = Running::with(&[]).await;
    running.world.aws.will(repeat_n(SLOW, 4 * PLACES));
    for number in 0..2 * PLACES / PLACES_MAX {
        appear(&running, &many(&format!("crowd-{number}"), "eu-west-1", PLACES_MAX)).await;
    }
    assert!(running.awake() < 2 * PLACES, "{}", running.awake());
    let before = running.awake();
    for number in 0..4 * QUEUES {
        appear(&running, &many("regions", &format!("eu-west-{number}"), PLACES_MIN + 1)).await;
    }
    let places = usize::try_from(QUEUES).unwrap() * PLACES_MAX / 2;
    assert!(running.awake() <= before + places, "{}", running.awake());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_deleted_or_fails_makes_room_and_one_that_changes_is_taken_up_as_it_is_then() {
    let running = Running::with(&[]).await;
    running.world.aws.will([Reply::Panic]);
    running.world.aws.will(repeat_n(SLOW, PLACES_MAX + 2));
    let all = many("crowd", "eu-west-1", PLACES_MAX + 3);
    appear(&running, &all).await;
    // The first failed, so one that was waiting has its place.
    assert_eq!(running.awake(), PLACES_MAX);
    let [.., waiting, changing] = all.as_slice() else {
        panic!("there are more")
    };
    let changed = Resource {
        refresh_request: Some("1".to_owned()),
        ..changing.clone()
    };
    running.tell(WatchEvent::Applied(changed)).await;
    running.tell(WatchEvent::Deleted(waiting.key.clone())).await;
    running.tell(WatchEvent::Deleted(all[1].key.clone())).await;
    assert_eq!(running.awake(), PLACES_MAX);
    pass(300).await;
    let secret = |resource: &Resource| running.world.cluster.secret(resource.secret_name().unwrap());
    assert!(secret(changing).unwrap().answers("1"));
    assert!(secret(waiting).is_none());
}
