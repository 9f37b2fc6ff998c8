use std::time::Duration;

use super::*;
use crate::api::{ConditionType, Phase, Reason};
use crate::operator::fixtures::{
    Call, MemoryCluster, Reply, World, at, pass, refusal, secret, settle, throttling, unavailable,
};
use crate::refresh::plan::RepairReason;
use crate::spec::Format;
use crate::spec::fixtures::{key, resource, spec};

/// One cycle of a resource.
pub(super) async fn cycle(world: &World, resource: &Resource, trigger: Trigger, memory: Memory) -> Report {
    let cycle = Cycle::new(world.context.clone(), Arc::new(resource.clone()), trigger, memory);
    cycle.run().await
}

/// The first cycle of a resource, which carries no status.
pub(super) async fn first(world: &World, resource: &Resource) -> Report {
    cycle(
        world,
        resource,
        Trigger::Created,
        Memory::new(resource.status.as_deref().cloned().unwrap_or_default()),
    )
    .await
}

/// What an operator knows that starts when there is such a status.
pub(super) fn restarted(report: &Report) -> Memory {
    Memory::new(report.memory.status.content.clone())
}

pub(super) fn plain() -> Resource {
    resource(spec(Format::Map))
}

/// The plain resource with another spec.
fn changed(change: impl FnOnce(&mut Spec)) -> Resource {
    let mut spec = spec(Format::Map);
    change(&mut spec);
    Resource {
        generation: 2,
        ..resource(spec)
    }
}

pub(super) fn condition(cluster: &MemoryCluster, type_: ConditionType) -> (String, String) {
    let status = cluster.status();
    let condition = status.condition(type_).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

pub(super) fn said(status: &str, reason: Reason) -> (String, String) {
    (status.to_owned(), reason.to_string())
}

pub(super) fn failure(report: Report) -> Failure {
    match report.outcome {
        Outcome::Failed(failure) => failure,
        outcome => panic!("it did not fail: {outcome:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_resource_gets_its_secret_and_then_a_status_that_says_so() {
    let world = World::new().await;
    let report = first(&world, &plain()).await;
    let calls = world.cluster.take_calls();
    assert_eq!(calls, [Call::Observe, Call::Create, Call::Status]);
    let written = world.cluster.secret("secret").unwrap();
    assert_eq!(written.expiration(), Some(at(900)));
    assert!(written.is_made_from("hash"));

    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("True", Reason::Issued)
    );
    let next = report.memory.next.unwrap();
    assert!((at(405)..=at(450)).contains(&next.at), "{}", next.at);
    let told = world.cluster.status().next_refresh_time.as_ref().unwrap().0;
    assert_eq!(told.as_second(), next.at.as_second());
    assert!(report.memory.status.written);
    assert_eq!(report.event.unwrap().reason, "Issued");
}

#[tokio::test(start_paused = true)]
async fn a_new_resource_is_pending_while_aws_takes_its_time() {
    let world = World::new().await;
    world.aws.will([Reply::Slow(Duration::from_secs(2))]);
    // The write is under way when AWS answers, and is not overtaken.
    world.cluster.delay(Call::Status, 3);
    let report = first(&world, &plain()).await;
    let phases: Vec<_> = world
        .cluster
        .statuses()
        .iter()
        .map(AWSAssumeRoleStatus::phase)
        .collect();
    assert_eq!(phases, [Some(Phase::Pending), Some(Phase::Ready)]);
    assert!(report.memory.status.written);
}

#[tokio::test(start_paused = true)]
async fn a_valid_secret_of_the_same_spec_costs_no_call_to_aws_and_no_write() {
    let world = World::new().await;
    let report = first(&world, &plain()).await;
    world.cluster.take_calls();
    pass(100).await;
    let again = cycle(&world, &plain(), Trigger::Created, restarted(&report)).await;
    assert!(matches!(again.outcome, Outcome::Kept(_)), "{:?}", again.outcome);
    assert_eq!(world.aws.calls(), 1);
    assert_eq!(world.cluster.take_calls(), [Call::Observe]);
    assert_eq!(again.memory.next.unwrap().at, report.memory.next.unwrap().at);
    assert_eq!(again.event, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_beside_the_credentials_is_put_right_without_aws() {
    let world = World::new().await;
    let report = first(&world, &plain()).await;
    world.cluster.strip("secret");
    let again = cycle(&world, &plain(), Trigger::Created, restarted(&report)).await;
    assert!(matches!(again.outcome, Outcome::Repaired(_, RepairReason::Edited)));
    assert_eq!(world.aws.calls(), 1);
    let labels = world.cluster.secret("secret").unwrap().metadata.labels.unwrap();
    assert_eq!(labels["aws-assume-role"], "true");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_secret_is_never_written_and_aws_is_not_asked() {
    let world = World::new().await;
    let theirs = world.cluster.put(secret("secret", &[]), "Opaque");
    let report = first(&world, &plain()).await;
    assert_eq!(world.aws.calls(), 0);
    assert_eq!(world.cluster.take_calls(), [Call::Observe, Call::Status]);
    assert_eq!(world.cluster.secret("secret"), Some(theirs));
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("False", Reason::SecretConflict)
    );
    assert_eq!(
        report.memory.observation,
        Observation::Unknown,
        "it may be gone the next time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_being_deleted_is_waited_for() {
    let world = World::new().await;
    let earlier = ResourceKey {
        uid: "uid-0".into(),
        ..key()
    };
    world.cluster.put(secret("secret", &[(&earlier, true)]), "Opaque");
    let report = first(&world, &plain()).await;
    assert_eq!(
        (world.aws.calls(), world.cluster.count(Call::Replace, "secret")),
        (0, 0)
    );
    let memory = report.memory.clone();
    assert_eq!(failure(report), Failure::SecretTerminating("secret".to_owned()));

    world.cluster.remove("secret");
    let again = cycle(&world, &plain(), Trigger::Retry, memory).await;
    assert!(matches!(again.outcome, Outcome::Issued { .. }), "{:?}", again.outcome);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_the_garbage_collector_forgot_is_deleted_by_whoever_is_certain_of_its_owner() {
    let world = World::new().await;
    let earlier = ResourceKey {
        uid: "uid-0".into(),
        ..key()
    };
    world.cluster.put(secret("secret", &[(&earlier, true)]), "Opaque");
    let mut memory = first(&world, &plain()).await.memory;
    memory = cycle(&world, &plain(), Trigger::Retry, memory).await.memory;
    assert_eq!(world.cluster.count(Call::Delete, "secret"), 0);

    // The resource of that name is another one by now: perhaps the owner of the Secret.
    let gone = ClusterError::Gone("the UID is another".to_owned());
    world.cluster.fail(Call::Version, [gone]);
    let report = cycle(&world, &plain(), Trigger::Retry, memory).await;
    memory = report.memory.clone();
    assert_eq!(failure(report), Failure::SecretTerminating("secret".to_owned()));
    assert_eq!(world.cluster.count(Call::Delete, "secret"), 0);

    let report = cycle(&world, &plain(), Trigger::Retry, memory).await;
    assert!(matches!(report.outcome, Outcome::Issued { .. }), "{:?}", report.outcome);
    assert_eq!(world.cluster.secret("secret").unwrap().controller_uid(), Some("uid-1"));
}

/// A cycle in the middle of which, while AWS is asked, something happens.
async fn interrupted(world: &World, resource: &Resource, what: impl FnOnce(&MemoryCluster)) -> Report {
    world.aws.will([Reply::Slow(Duration::from_secs(10))]);
    let (report, ()) = tokio::join!(first(world, resource), async {
        pass(5).await;
        what(&world.cluster);
    });
    report
}

#[tokio::test(start_paused = true)]
async fn a_conflict_on_writing_is_looked_at_again_and_the_same_credentials_are_written() {
    let world = World::new().await;
    let report = interrupted(&world, &plain(), |cluster| {
        cluster.put(secret("secret", &[(&key(), false)]), "Opaque");
    })
    .await;
    assert!(matches!(report.outcome, Outcome::Issued { .. }), "{:?}", report.outcome);
    assert_eq!(world.aws.calls(), 1);
    let calls = world.cluster.take_calls();
    assert_eq!(calls[2..], [Call::Create, Call::Observe, Call::Replace, Call::Status]);
    assert_eq!(world.cluster.secret("secret").unwrap().controller_uid(), Some("uid-1"));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_on_writing_is_decided_anew() {
    let world = World::new().await;
    let report = interrupted(&world, &plain(), |cluster| {
        cluster.put(secret("secret", &[]), "Opaque");
    })
    .await;
    assert!(matches!(failure(report), Failure::SecretConflict { .. }));
    assert_eq!(world.cluster.count(Call::Replace, "secret"), 0);
    assert_eq!(world.cluster.secret("secret").unwrap().controller_uid(), None);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_keeps_changing_is_left_until_later() {
    let world = World::new().await;
    let changed = || ClusterError::Changed("somebody was faster".to_owned());
    world
        .cluster
        .fail(Call::Create, std::iter::repeat_with(changed).take(4));
    let report = first(&world, &plain()).await;
    assert_eq!((world.aws.calls(), world.cluster.count(Call::Create, "secret")), (1, 4));
    assert_eq!(report.memory.next.unwrap().at.as_second(), at(5).as_second());
    assert!(matches!(failure(report), Failure::Cluster(ClusterError::Changed(_))));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_looked_at_when_the_answer_was_lost() {
    let world = World::new().await;
    world.cluster.fail(Call::Create, [unavailable()]);
    let report = first(&world, &plain()).await;
    assert_eq!(report.memory.observation, Observation::Unknown);
    assert_eq!(
        condition(&world.cluster, ConditionType::Refreshed),
        said("False", Reason::ClusterUnavailable)
    );
}

#[tokio::test(start_paused = true)]
async fn a_forgery_is_not_forgotten_when_the_write_fails() {
    let world = World::new().await;
    let mut memory = first(&world, &plain()).await.memory;
    let mut forged = world.cluster.secret("secret").unwrap();
    assert!(forged.metadata.uid.is_some());
    memory.forged.clone_from(&forged.metadata.uid);
    forged.forged = true;
    memory.observation = Observation::Seen(Some(Arc::new(forged)));
    world.cluster.fail(Call::Replace, [unavailable()]);
    let failed = cycle(&world, &plain(), Trigger::SecretChanged, memory).await;
    assert_eq!(failed.memory.observation, Observation::Unknown);
    let again = cycle(&world, &plain(), Trigger::Retry, failed.memory).await;
    let why = again.outcome.why();
    assert_eq!(why, Some("edited"));
    assert_eq!(world.aws.calls(), 2, "what could not be written is written now");
    let kept = cycle(&world, &plain(), Trigger::Retry, again.memory).await;
    assert!(matches!(kept.outcome, Outcome::Kept(_)), "{:?}", kept.outcome);
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_another_immutable_type_is_deleted_and_made_anew() {
    let world = World::new().await;
    let before = world
        .cluster
        .put(secret("secret", &[(&key(), true)]), "kubernetes.io/dockerconfigjson");
    first(&world, &plain()).await;
    let calls = world.cluster.take_calls();
    assert_eq!(
        calls[1..],
        [Call::Replace, Call::Delete, Call::Observe, Call::Create, Call::Status]
    );
    assert_eq!(world.aws.calls(), 1);
    let after = world.cluster.secret("secret").unwrap();
    assert_ne!(after.metadata.uid, before.metadata.uid);
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_an_earlier_name_is_deleted_after_the_new_one_is_written() {
    let world = World::new().await;
    let before = first(&world, &plain()).await;
    world.cluster.take_calls();
    let renamed = changed(|spec| spec.secret_name = "renamed".to_owned());
    let report = cycle(&world, &renamed, Trigger::SpecChanged, restarted(&before)).await;
    assert!(report.memory.leftovers.is_empty());
    let calls = world.cluster.take_calls();
    assert_eq!(
        calls,
        [Call::Observe, Call::Create, Call::Observe, Call::Delete, Call::Status]
    );
    assert!(world.cluster.secret("secret").is_none());
    assert!(world.cluster.secret("renamed").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_an_earlier_name_that_is_not_controlled_is_left_alone() {
    let world = World::new().await;
    world.cluster.put(secret("theirs", &[(&key(), false)]), "Opaque");
    let mut memory = Memory::new(AWSAssumeRoleStatus::default());
    memory.leftovers.insert("theirs".to_owned());
    let report = cycle(&world, &plain(), Trigger::Created, memory).await;
    assert!(matches!(report.outcome, Outcome::Issued { .. }));
    assert!(report.memory.leftovers.is_empty());
    assert!(world.cluster.secret("theirs").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_leftover_that_cannot_be_deleted_is_remembered() {
    let world = World::new().await;
    world.cluster.put(secret("old", &[(&key(), true)]), "Opaque");
    world.cluster.fail(Call::Delete, [unavailable()]);
    let mut memory = Memory::new(AWSAssumeRoleStatus::default());
    memory.leftovers.insert("old".to_owned());
    let report = cycle(&world, &plain(), Trigger::Created, memory).await;
    assert!(report.memory.leftovers.contains("old"));
    let status = world.cluster.status();
    assert!(status.is_ready() && !status.has_failed(), "{status:?}");

    cycle(&world, &plain(), Trigger::SecretChanged, report.memory).await;
    assert!(world.cluster.secret("old").is_none());
    assert_eq!(world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_resource_is_left_alone() {
    let world = World::new().await;
    let before = first(&world, &plain()).await;
    let written = world.cluster.strip("secret");
    world.cluster.take_calls();
    pass(890).await;
    let suspended = changed(|spec| spec.suspend = true);
    let report = cycle(&world, &suspended, Trigger::SpecChanged, restarted(&before)).await;
    assert!(matches!(report.outcome, Outcome::Suspended(_)));
    assert_eq!(world.aws.calls(), 1);
    assert_eq!(world.cluster.take_calls(), [Call::Observe, Call::Status]);
    assert_eq!(world.cluster.secret("secret"), Some(written));
    assert!(world.cluster.status().is_suspended());
    assert_eq!(report.memory.next.unwrap().at, at(900), "the end is told when it comes");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_with_advice_and_tried_again() {
    let world = World::new().await;
    world.aws.will([refusal()]);
    let report = first(&world, &plain()).await;
    let status = world.cluster.status();
    let ready = status.condition(ConditionType::Ready).unwrap();
    assert_eq!(
        (ready.status.as_str(), ready.reason.as_str()),
        ("False", "AccessDenied")
    );
    assert!(ready.message.contains("trust relationship"), "{}", ready.message);
    assert!(
        ready.message.contains("arn:aws:iam::123456789012:role/r"),
        "{}",
        ready.message
    );
    assert_eq!(status.failures, Some(1));
    assert_eq!(report.memory.next.unwrap().at.as_second(), at(10).as_second());
    assert_eq!(report.event.unwrap().reason, "RefreshFailed");
    assert!(world.cluster.secret("secret").is_none());
}

#[tokio::test(start_paused = true)]
async fn who_is_throttled_waits_as_long_as_aws_asks_and_the_gate_lets_fewer_through() {
    let world = World::new().await;
    world.aws.will([throttling(30)]);
    let report = first(&world, &plain()).await;
    settle().await;
    assert_eq!(report.memory.next.unwrap().at.as_second(), at(30).as_second());
    assert!((world.context.gate.standing().rate - 25.0).abs() < 0.1);
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("False", Reason::Throttled)
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_leaves_what_is_valid_and_says_so() {
    let world = World::new().await;
    let before = first(&world, &plain()).await;
    pass(600).await;
    world.aws.will([refusal()]);
    let report = cycle(&world, &plain(), Trigger::Due, before.memory).await;
    assert!(matches!(failure(report), Failure::Aws { .. }));
    let status = world.cluster.status();
    assert!(status.is_ready() && status.has_failed(), "{status:?}");
    assert_eq!(world.cluster.secret("secret").unwrap().expiration(), Some(at(900)));
}

#[tokio::test(start_paused = true)]
async fn aws_is_not_asked_twice_within_five_seconds_unless_somebody_wants_it() {
    let world = World::new().await;
    let report = first(&world, &plain()).await;
    world.cluster.remove("secret");
    for (trigger, waited) in [(Trigger::SecretChanged, 5), (Trigger::SpecChanged, 0)] {
        let memory = Memory {
            observation: Observation::Unknown,
            last_call: Some(Instant::now()),
            ..report.memory.clone()
        };
        let before = Instant::now();
        cycle(&world, &plain(), trigger, memory).await;
        assert_eq!(before.elapsed().as_secs(), waited, "{trigger}");
        world.cluster.remove("secret");
    }
}
