//! What a cycle does when it has to wait, cannot write, or is asked for nonsense.

use super::tests::{condition, cycle, failure, first, plain, restarted, said};
use super::*;
use crate::api::{ConditionType, Reason};
use crate::aws::gate::{Class, Entry, Pass, Quota};
use crate::clock::Reading;
use crate::operator::fixtures::{Call, World, at, pass, unavailable};
use crate::spec::Format;
use crate::spec::fixtures::{key, resource, spec};
use crate::spec::template::Template;

/// Takes everybody's places at the gate, as calls that hang do.
async fn all_places(world: &World) -> Vec<Pass> {
    let quota = Quota {
        service: "STS",
        region: "eu-west-1".to_owned(),
        account: None,
    };
    let entry = Entry {
        quota,
        class: Class::Renewal,
        namespace: "others".to_owned(),
        expiration: at(0),
    };
    let mut places = Vec::new();
    for _ in 0..32 {
        places.push(world.context.gate.enter(entry.clone()).await.unwrap());
    }
    places
}

#[tokio::test(start_paused = true)]
async fn aws_is_not_asked_for_what_turns_out_not_to_be_due() {
    let world = World::new().await;
    let before = first(&world, &plain()).await;
    let places = all_places(&world).await;
    // Nobody knows yet whether the clock is right now or was before.
    let was = Reading::of(&*world.clock);
    world.clock.jump(-3600);
    world.context.skew.step(was, Reading::of(&*world.clock));
    world.clock.jump(3600);
    let (context, memory) = (world.context.clone(), before.memory);
    let task = tokio::spawn(async move { Cycle::new(context, Arc::new(plain()), Trigger::Due, memory).run().await });
    pass(1).await;
    assert_eq!(world.context.skew.get().as_secs(), 3600);
    let now = Reading::of(&*world.clock);
    world.context.skew.measure(now.wall, now);
    drop(places);
    let report = task.await.unwrap();
    assert!(matches!(report.outcome, Outcome::Kept(_)), "{:?}", report.outcome);
    assert_eq!(world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_end_while_the_cycle_waits_at_the_gate_are_not_ready_from_that_moment_on() {
    let world = World::new().await;
    let before = first(&world, &plain()).await;
    let places = all_places(&world).await;
    pass(600).await;
    let context = world.context.clone();
    let resource = Arc::new(plain());
    let memory = before.memory.clone();
    let task = tokio::spawn(async move { Cycle::new(context, resource, Trigger::Due, memory).run().await });
    pass(290).await;
    assert!(world.cluster.status().is_ready());
    pass(20).await;
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("False", Reason::Throttled)
    );
    drop(places);
    let report = task.await.unwrap();
    assert!(matches!(report.outcome, Outcome::Issued { .. }));
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("True", Reason::Issued)
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_written_are_kept_for_the_next_attempt() {
    let world = World::new().await;
    let forbidden = || ClusterError::Forbidden("exceeded quota".to_owned());
    world.cluster.fail(Call::Create, [forbidden(), forbidden()]);
    let mut report = first(&world, &plain()).await;
    for _ in 0..2 {
        report = cycle(&world, &plain(), Trigger::Retry, report.memory).await;
    }
    assert!(matches!(report.outcome, Outcome::Issued { .. }));
    assert_eq!(world.aws.calls(), 1);
    assert!(report.memory.unwritten.is_none());

    // As long as they are good: not when they are due themselves.
    let world = World::new().await;
    world.cluster.fail(Call::Create, [forbidden()]);
    let report = first(&world, &plain()).await;
    pass(500).await;
    cycle(&world, &plain(), Trigger::Retry, report.memory).await;
    assert_eq!(world.aws.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn in_a_namespace_that_is_being_deleted_aws_is_not_asked_and_nothing_is_said() {
    let world = World::new().await;
    let before = first(&world, &plain()).await;
    world.cluster.remove("secret");
    let terminating = ClusterError::Terminating("it is being terminated".to_owned());
    world.cluster.fail(Call::Probe, [terminating]);
    let statuses = world.cluster.statuses().len();
    let report = cycle(&world, &plain(), Trigger::SecretChanged, restarted(&before)).await;
    assert_eq!((world.aws.calls(), world.cluster.statuses().len()), (1, statuses));
    assert_eq!(report.event, None);
    assert!(matches!(failure(report), Failure::NamespaceTerminating));
}

#[tokio::test(start_paused = true)]
async fn templates_are_checked_once_for_each_generation_before_aws_is_asked() {
    let world = World::new().await;
    let templates = [("key".to_owned(), "{{ nonsense }}".to_owned())];
    let template = Template {
        data: templates.into(),
        ..Template::default()
    };
    let wrong = resource(spec(Format::Template(template)));
    let report = first(&world, &wrong).await;
    assert_eq!(world.aws.calls(), 0);
    assert!(matches!(report.memory.checked, Some((1, Err(_)))));
    assert!(report.memory.next.is_none(), "only another spec can help");
    assert_eq!(
        condition(&world.cluster, ConditionType::Ready),
        said("False", Reason::TemplateError)
    );
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_stopping_says_nothing_of_a_resource() {
    let world = World::new().await;
    let before = first(&world, &plain()).await;
    world.cluster.remove("secret");
    world.cluster.take_calls();
    world.context.gate.cell().stop_and_wait(None, None).await.unwrap();
    let report = cycle(&world, &plain(), Trigger::Created, restarted(&before)).await;
    assert_eq!(world.cluster.take_calls(), [Call::Observe, Call::Probe]);
    assert_eq!(report.event, None);
    assert!(matches!(failure(report), Failure::Stopping(_)));
}

#[tokio::test(start_paused = true)]
async fn a_status_is_written_over_the_resource_as_it_is_whoever_changed_it() {
    let world = World::new().await;
    let mut status = first(&world, &plain()).await.memory.status;
    world.cluster.take_calls();
    status.write(&world.context, &key()).await;
    assert_eq!(world.cluster.take_calls(), [Call::Status], "it knows its own write");

    world.cluster.touch_resource("mine");
    status.written = false;
    status.write(&world.context, &key()).await;
    assert!(status.written);
    let calls = world.cluster.take_calls();
    assert_eq!(calls, [Call::Status, Call::Version, Call::Status]);

    world.cluster.touch_resource("mine");
    let version = world.context.cluster.resource_version(&key()).await.unwrap();
    status.see(&Resource { version, ..plain() });
    world.cluster.take_calls();
    status.write(&world.context, &key()).await;
    assert_eq!(world.cluster.take_calls(), [Call::Status], "it has seen the change");
    // The word of an earlier change comes late.
    status.see(&plain());
    assert_eq!(
        status.over,
        world.context.cluster.resource_version(&key()).await.unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_keeps_changing_has_its_status_written_later() {
    let world = World::new().await;
    let mut status = first(&world, &plain()).await.memory.status;
    let changed = || ClusterError::Changed("it has another version".to_owned());
    world
        .cluster
        .fail(Call::Status, std::iter::repeat_with(changed).take(WRITE_ATTEMPTS));
    status.written = false;
    status.write(&world.context, &key()).await;
    assert!(!status.written);
    let gone = ClusterError::Gone("mine".to_owned());
    world.cluster.fail(Call::Status, [changed()]);
    world.cluster.fail(Call::Version, [gone]);
    status.write(&world.context, &key()).await;
    assert!(status.written, "nobody needs it");
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_written_is_remembered_and_written_by_the_next_cycle() {
    let world = World::new().await;
    world.cluster.fail(Call::Status, [unavailable()]);
    let report = first(&world, &plain()).await;
    assert!(matches!(report.outcome, Outcome::Issued { .. }));
    assert!(!report.memory.status.written);
    assert!(world.cluster.statuses().is_empty());

    let again = cycle(&world, &plain(), Trigger::SecretChanged, report.memory).await;
    assert!(matches!(again.outcome, Outcome::Kept(_)), "{:?}", again.outcome);
    assert!(again.memory.status.written);
    assert!(world.cluster.status().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_gone_needs_no_status() {
    let world = World::new().await;
    let gone = || ClusterError::Gone("mine".to_owned());
    world.cluster.fail(Call::Status, [gone(), gone()]);
    assert!(first(&world, &plain()).await.memory.status.written);
}
