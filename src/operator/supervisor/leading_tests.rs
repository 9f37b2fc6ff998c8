//! What the supervisor does when it begins to lead, and when it does so no more.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::tests::{Running, named, ready};
use super::*;
use crate::operator::fixtures::{Call, Reply, pass, settle};
use crate::refresh::standing::State;
use crate::secret::ObservedSecret;
use crate::spec::{Resource, ResourceVersion};

impl Running {
    pub(super) async fn lead(&self) {
        self.supervisor.cast(SupervisorMessage::Lead).unwrap();
        settle().await;
    }

    async fn stand_by(&self) {
        let answer = self.supervisor.call(SupervisorMessage::StandBy, None).await;
        answer.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stands_by_knows_the_resources_and_touches_nothing() {
    let running = Running::standing_by().await;
    let resources = [named("a", "1"), named("b", "2")];
    running.list(&resources).await;
    running.list_secrets(&resources).await;
    assert!(running.is_ready());
    let pending = |uid: &str| (uid.to_owned(), State::Pending);
    assert_eq!(running.children().await, (vec![pending("1"), pending("2")], 0));
    pass(3600).await;
    assert_eq!(running.world.aws.calls(), 0);
    assert!(running.world.cluster.take_calls().is_empty());
    assert_eq!(running.world.context.metrics.leader.get(), 0);
}

/// The Secret of the resource of that name as an operator wrote it that led before, and the resource with the status.
pub(super) async fn written_before(name: &str, uid: &str) -> (ObservedSecret, Resource) {
    let before = Running::with(&[named(name, uid)]).await;
    let secret = before.world.cluster.secret(named(name, uid).secret_name().unwrap());
    let status = Some(Box::new(before.world.cluster.status()));
    (
        secret.unwrap(),
        Resource {
            status,
            ..named(name, uid)
        },
    )
}

#[tokio::test(start_paused = true)]
async fn one_that_begins_to_lead_goes_on_where_the_other_left_off_and_looks_at_nothing() {
    let (secret, written) = written_before("a", "1").await;
    let running = Running::standing_by().await;
    let resources = [named("a", "1"), named("b", "2")];
    running.list(&resources).await;
    running.list_secrets(&resources).await;
    // The other one leads.
    let secret = running.world.cluster.put(secret, "Opaque");
    running.tell_secret(SecretEvent::Applied(Box::new(secret))).await;
    running.tell(WatchEvent::Applied(written)).await;
    assert_eq!(running.children().await.0[0], ready("1"));
    running.tell(WatchEvent::Deleted(named("b", "2").key)).await;
    running.lead().await;
    assert_eq!(running.children().await, (vec![ready("1")], 1));
    assert_eq!((running.awake(), running.world.aws.calls()), (0, 0), "it is in order");
    assert!(running.world.cluster.take_calls().is_empty());
    assert_eq!(running.world.context.metrics.leader.get(), 1);
    pass(600).await;
    assert_eq!(running.world.aws.calls(), 1, "it was due");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_goes_while_one_stands_by_is_made_again_when_it_leads() {
    let (secret, written) = written_before("a", "1").await;
    for relisted in [false, true] {
        let running = Running::standing_by().await;
        running.list(std::slice::from_ref(&written)).await;
        let secret = running.world.cluster.put(secret.clone(), "Opaque");
        running.list_secrets(std::slice::from_ref(&written)).await;
        running.world.cluster.remove("secret-of-a");
        match relisted {
            true => running.list_secrets(&[]).await,
            false => running.tell_secret(SecretEvent::Deleted(Box::new(secret))).await,
        }
        running.lead().await;
        assert!(running.world.cluster.secret("secret-of-a").is_some());
        assert_eq!(running.world.aws.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_leads_before_the_secrets_are_listed_waits_for_that() {
    let (secret, written) = written_before("a", "1").await;
    let running = Running::standing_by().await;
    running.lead().await;
    assert_eq!(running.world.context.metrics.leader.get(), 0, "it knows nothing");
    running.list(std::slice::from_ref(&written)).await;
    assert_eq!(
        (running.children().await.1, running.world.context.metrics.leader.get()),
        (0, 1)
    );
    running.world.cluster.put(secret, "Opaque");
    running.list_secrets(&[written]).await;
    assert_eq!(running.children().await, (vec![ready("1")], 1));
    assert_eq!(running.world.aws.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_leads_no_more_has_let_go_of_everything_when_it_says_so() {
    let running = Running::with(&[named("a", "1")]).await;
    running.world.aws.will([Reply::Hang, Reply::Panic]);
    running.tell(WatchEvent::Applied(named("b", "2"))).await;
    running.tell(WatchEvent::Applied(named("c", "3"))).await;
    assert_eq!(running.world.aws.given_up(), 1, "the one that panicked");
    running.stand_by().await;
    assert_eq!(running.world.aws.given_up(), 2, "the one that hung");
    assert_eq!(running.children().await.1, 0);
    assert_eq!(running.world.context.metrics.leader.get(), 0);
    let calls = running.world.aws.calls();
    pass(3600).await;
    assert_eq!(
        running.world.aws.calls(),
        calls,
        "also the one that was to be started again"
    );
    assert_eq!(running.restarts(), 1, "who is told to stop has not failed");

    running.lead().await;
    running.lead().await;
    assert_eq!(running.children().await, (vec![ready("1"), ready("2"), ready("3")], 3));
}

#[tokio::test(start_paused = true)]
async fn what_it_knew_when_it_led_it_knows_when_it_leads_again() {
    let running = Running::with(&[named("a", "1")]).await;
    assert_eq!(running.awake(), 0, "it rests");
    running.world.cluster.take_calls();
    running.stand_by().await;
    pass(30).await;
    assert_eq!(running.children().await, (vec![ready("1")], 0));
    running.lead().await;
    assert_eq!(running.children().await, (vec![ready("1")], 1));
    assert!(running.world.cluster.take_calls().is_empty());
    assert_eq!(running.world.aws.calls(), 1);
    running.stand_by().await;
    pass(3600).await;
    assert_eq!(running.world.aws.calls(), 1, "nobody wakes it");
}

#[tokio::test(start_paused = true)]
async fn what_another_replica_wrote_is_known_also_if_an_actor_came_to_rest_since() {
    let before = Running::with(&[named("a", "1")]).await;
    pass(450).await;
    let secret = before.world.cluster.secret("secret-of-a").unwrap();
    let status = Some(Box::new(before.world.cluster.status()));

    let running = Running::start().await;
    running.world.cluster.delay(Call::Event, 20);
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    running
        .tell(WatchEvent::Applied(Resource {
            status,
            version: ResourceVersion::of(&ObjectMeta {
                resource_version: Some("2".to_owned()),
                ..ObjectMeta::default()
            }),
            ..named("a", "1")
        }))
        .await;
    assert_eq!(running.awake(), 1);
    pass(25).await;
    assert_eq!(running.awake(), 0, "it rests, with the status that it wrote itself");
    running.stand_by().await;
    let secret = running.world.cluster.put(secret, "Opaque");
    running.tell_secret(SecretEvent::Applied(Box::new(secret))).await;
    running.world.cluster.take_calls();
    running.lead().await;
    assert_eq!(running.world.cluster.take_calls(), [], "it is in order");
    assert_eq!(running.awake(), 0);
}
