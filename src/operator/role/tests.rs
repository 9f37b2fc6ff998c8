use ractor::ActorStatus;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Span;

use super::*;
use crate::api::AWSAssumeRoleStatus;
use crate::cluster::ClusterError;
use crate::operator::cycle::Report;
use crate::operator::fixtures::{Call, Reply, World, at, pass, refusal, settle, unavailable};
use crate::operator::supervisor::SupervisorMessage;
use crate::refresh::events::event_of;
use crate::refresh::outcome::Failure;
use crate::refresh::standing::State;
use crate::refresh::standing::WentBy;
use crate::spec::fixtures::{resource, spec};
use crate::spec::{Format, Spec};

/// A role actor in a world in memory.
pub(super) struct Role {
    pub(super) world: World,
    pub(super) resource: Resource,
    pub(super) actor: ActorRef<RoleMessage>,
    pub(super) ended: JoinHandle<()>,
    pub(super) standing: watch::Receiver<Standing>,
}

/// In the supervisor's place: it listens, and lets nobody rest.
struct Listener;

impl Actor for Listener {
    type Msg = SupervisorMessage;
    type State = watch::Sender<Standing>;
    type Arguments = watch::Sender<Standing>;

    async fn pre_start(
        &self,
        _: ActorRef<SupervisorMessage>,
        standing: watch::Sender<Standing>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(standing)
    }

    async fn handle(
        &self,
        _: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        standing: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisorMessage::Reported(_, RoleReport::Stands(stands)) = message {
            standing.send_replace(stands);
        }
        Ok(())
    }
}

impl Role {
    /// One that has just begun with a resource that carries no status.
    pub(super) async fn begin(world: World) -> Self {
        let resource = resource(spec(Format::Map));
        let (publish, standing) = watch::channel(Standing::default());
        let (listener, _) = Listener::spawn(None, Listener, publish).await.unwrap();
        let arguments = RoleArguments {
            context: world.context.clone(),
            resource: Arc::new(resource.clone()),
            version: None,
            restarts: 0,
            beginning: Beginning::First(Box::default()),
            reports: listener.get_derived(),
        };
        let (actor, ended) = RoleActor::spawn(None, RoleActor, arguments).await.unwrap();
        settle().await;
        Self {
            world,
            resource,
            actor,
            ended,
            standing,
        }
    }

    /// One that has written its Secret and its status, and waits.
    pub(super) async fn waiting() -> Self {
        let role = Self::begin(World::new().await).await;
        assert_eq!(role.state(), State::Ready);
        assert_eq!((role.cycles(), role.world.aws.calls()), (1, 1));
        role.world.cluster.take_calls();
        role
    }

    pub(super) fn state(&self) -> State {
        self.standing.borrow().state
    }

    pub(super) async fn send(&self, message: RoleMessage) {
        self.actor.cast(message).unwrap();
        settle().await;
    }

    /// The resource is seen with another spec.
    pub(super) async fn respecify(&mut self, change: impl FnOnce(&mut Spec)) {
        self.resource.generation += 1;
        change(self.resource.spec.as_mut().unwrap());
        self.show().await;
    }

    /// The resource is seen with a request for a refresh.
    pub(super) async fn request(&mut self, value: &str) {
        self.resource.refresh_request = Some(value.to_owned());
        self.show().await;
    }

    pub(super) async fn show(&self) {
        self.send(RoleMessage::Changed(Arc::new(self.resource.clone()))).await;
    }

    /// Somebody edits the Secret beside its credentials, and it is seen.
    pub(super) async fn edit(&self) {
        let edited = self.world.cluster.strip("secret");
        self.send(RoleMessage::SecretSeen(Box::new(edited))).await;
    }

    /// How many cycles have come to an end, whichever.
    pub(super) fn cycles(&self) -> usize {
        let text = self.world.context.metrics.text(None).unwrap();
        let counts = text
            .lines()
            .filter(|line| line.starts_with("aws_assume_role_refreshes_total{"));
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        counts.sum()
    }

    pub(super) fn repairs(&self) -> usize {
        self.world.cluster.count(Call::Repair, "secret")
    }
}

fn slow(seconds: u64) -> Reply {
    Reply::Slow(Duration::from_secs(seconds))
}

// --- Tasks and timers.

#[tokio::test(start_paused = true)]
async fn a_spec_change_in_the_middle_of_a_call_aborts_it_and_starts_another() {
    let world = World::new().await;
    world.aws.will([Reply::Hang]);
    let mut role = Role::begin(world).await;
    assert_eq!((role.world.aws.calls(), role.world.aws.given_up()), (1, 0));
    role.respecify(|spec| spec.spec_hash = "other".to_owned()).await;
    assert_eq!((role.world.aws.calls(), role.world.aws.given_up()), (2, 1));
    assert!(role.world.cluster.secret("secret").unwrap().is_made_from("other"));
    assert_eq!(role.world.cluster.status().observed_generation, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_call_aborts_it() {
    let world = World::new().await;
    world.aws.will([Reply::Hang]);
    let role = Role::begin(world).await;
    role.actor.stop(None);
    role.ended.await.unwrap();
    assert_eq!(role.world.aws.given_up(), 1, "before the actor has ended");
    pass(3600).await;
    assert_eq!(role.world.aws.calls(), 1);
    assert!(role.world.cluster.secret("secret").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_timer() {
    let role = Role::waiting().await;
    role.actor.stop(None);
    role.ended.await.unwrap();
    pass(3600).await;
    assert_eq!(role.world.cluster.take_calls(), []);
    assert_eq!(role.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_next_cycle_begins_when_it_is_due_and_no_sooner() {
    let role = Role::waiting().await;
    pass(404).await;
    assert_eq!(role.world.aws.calls(), 1);
    pass(47).await;
    assert_eq!(role.world.aws.calls(), 2);
    assert!(role.world.cluster.secret("secret").unwrap().expiration() > Some(at(1304)));
    pass(24 * 3600).await;
    let calls = role.world.aws.calls();
    assert!((192..=214).contains(&calls), "{calls} in a day");
}

#[tokio::test(start_paused = true)]
async fn credentials_that_end_at_once_are_not_asked_for_at_once_again() {
    let world = World::new().await;
    world
        .aws
        .will(std::iter::repeat_n(Reply::Session(Duration::from_secs(1)), 100));
    let role = Role::begin(world).await;
    pass(100).await;
    let calls = role.world.aws.calls();
    assert!((10..=11).contains(&calls), "{calls} in a hundred seconds");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_until_it_passes() {
    let world = World::new().await;
    world.aws.will([refusal(), refusal()]);
    let role = Role::begin(world).await;
    assert_eq!((role.state(), role.world.aws.calls()), (State::Error, 1));
    pass(10).await;
    assert_eq!((role.state(), role.world.aws.calls()), (State::Error, 2));
    pass(20).await;
    assert_eq!((role.state(), role.world.aws.calls()), (State::Ready, 3));
}

#[tokio::test(start_paused = true)]
async fn a_late_report_of_a_task_that_was_aborted_is_ignored() {
    let mut role = Role::waiting().await;
    role.respecify(|spec| spec.spec_hash = "other".to_owned()).await;
    let (published, calls) = (role.world.cluster.events(), role.world.cluster.take_calls().len());
    assert!(calls > 0);
    let outcome = Outcome::Failed(Failure::Chained);
    let report = Report {
        memory: Memory::new(AWSAssumeRoleStatus::default()),
        event: event_of(&AWSAssumeRoleStatus::default(), &outcome, "secret"),
        outcome,
        went_by: WentBy::Nothing,
    };
    let finish = Finish {
        report,
        span: Span::none(),
        trace: None,
    };
    role.send(RoleMessage::Finished(1, Box::new(finish))).await;
    role.send(RoleMessage::StatusTried(1, Box::default())).await;
    role.send(RoleMessage::Panicked(1)).await;
    assert_eq!(role.actor.get_status(), ActorStatus::Running);
    assert_eq!(role.state(), State::Ready);
    assert_eq!(role.world.cluster.events(), published);
    pass(390).await;
    assert_eq!(role.world.cluster.take_calls(), [], "it still waits for its own time");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_while_a_task_runs_does_not_lose_its_report() {
    let mut role = Role::waiting().await;
    role.world.aws.will([slow(10)]);
    role.request("1").await;
    role.world.clock.jump(590);
    role.send(RoleMessage::ClockStepped).await;
    pass(10).await;
    assert_eq!((role.world.aws.calls(), role.world.aws.given_up()), (2, 0));
    assert!(role.world.cluster.secret("secret").unwrap().answers("1"));
    assert!(role.standing.borrow().expiration >= Some(at(1490)));
    pass(390).await;
    assert_eq!(role.world.aws.calls(), 2, "the timer is that of the new credentials");
    pass(100).await;
    assert_eq!(role.world.aws.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_leaps_ahead_brings_the_next_cycle_forward() {
    let role = Role::waiting().await;
    role.world.clock.jump(500);
    role.send(RoleMessage::ClockStepped).await;
    pass(101).await;
    assert_eq!(role.world.aws.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_does_not_put_the_next_cycle_off() {
    let role = Role::waiting().await;
    role.world.clock.jump(-3600);
    role.send(RoleMessage::ClockStepped).await;
    pass(600).await;
    assert_eq!(role.world.aws.calls(), 2);
}

// --- What people do to the resource.

#[tokio::test(start_paused = true)]
async fn a_status_that_changes_is_no_news() {
    let mut role = Role::waiting().await;
    role.resource.status = Some(Box::new(role.world.cluster.status()));
    role.show().await;
    assert_eq!(role.cycles(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_starts_one_refresh_and_the_same_value_none() {
    let mut role = Role::waiting().await;
    role.request("1").await;
    assert_eq!((role.cycles(), role.world.aws.calls()), (2, 2));
    role.request("1").await;
    assert_eq!(role.cycles(), 2);
    role.request("2").await;
    assert_eq!((role.cycles(), role.world.aws.calls()), (3, 3));
    role.resource.refresh_request = None;
    role.show().await;
    assert_eq!(role.cycles(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_an_earlier_name_is_deleted_also_when_the_cycle_that_wrote_it_was_aborted() {
    let world = World::new().await;
    // The Secret is written; the status is not.
    world.aws.will([slow(1)]);
    let mut role = Role::begin(world).await;
    role.world.cluster.delay(Call::Status, 3600);
    pass(1).await;
    assert!(role.world.cluster.secret("secret").is_some());
    role.respecify(|spec| spec.secret_name = "renamed".to_owned()).await;
    assert!(role.world.cluster.secret("secret").is_none());
    assert!(role.world.cluster.secret("renamed").is_some());
    assert_eq!(role.world.cluster.status().secret_name.as_deref(), Some("renamed"));
}

// --- What it says.

#[tokio::test(start_paused = true)]
async fn a_status_that_could_not_be_written_is_tried_again() {
    let world = World::new().await;
    world
        .cluster
        .fail(Call::Status, std::iter::repeat_with(unavailable).take(2));
    let role = Role::begin(world).await;
    assert_eq!(role.state(), State::Ready, "it stands so, whoever knows it");
    assert_eq!(role.world.cluster.count(Call::Status, "mine"), 1);
    pass(5).await;
    assert_eq!(role.world.cluster.count(Call::Status, "mine"), 2);
    pass(10).await;
    assert!(role.world.cluster.status().is_ready());
    pass(300).await;
    assert_eq!(role.world.cluster.count(Call::Status, "mine"), 3);
    assert_eq!(role.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_recurs_is_counted_on_its_event() {
    let world = World::new().await;
    world.aws.will(std::iter::repeat_with(refusal).take(20));
    let role = Role::begin(world).await;
    pass(120).await;
    assert!(role.world.aws.calls() >= 4);
    assert_eq!(role.world.cluster.events(), ["RefreshFailed"]);
    assert_eq!(role.world.cluster.repeats(), [2]);
    pass(600).await;
    assert_eq!(role.world.cluster.events(), ["RefreshFailed"]);
    let repeats = role.world.cluster.repeats();
    assert!(repeats.len() <= 4 && repeats.last() > Some(&4), "{repeats:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_kept_any_more_is_made_anew() {
    let world = World::new().await;
    world.aws.will([refusal(), refusal()]);
    world
        .cluster
        .fail(Call::Repeat, [ClusterError::Gone("mine.1".to_owned())]);
    let role = Role::begin(world).await;
    pass(10).await;
    assert_eq!(role.world.cluster.events(), ["RefreshFailed", "RefreshFailed"]);
}

#[tokio::test(start_paused = true)]
async fn a_person_may_change_the_spec_five_times_in_a_row_and_then_every_ten_seconds() {
    let mut role = Role::waiting().await;
    let before = role.world.aws.calls();
    for number in 0..8 {
        role.respecify(|spec| spec.spec_hash = format!("hash-{number}")).await;
    }
    assert_eq!(role.world.aws.calls(), before + 5);
    pass(9).await;
    assert_eq!(role.world.aws.calls(), before + 5);
    pass(2).await;
    assert_eq!(role.world.aws.calls(), before + 6);
    assert!(role.world.cluster.secret("secret").unwrap().is_made_from("hash-7"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_overdue_does_not_let_a_person_set_off_more() {
    let mut role = Role::waiting().await;
    let hanging = std::iter::repeat_with(|| Reply::Hang).take(60);
    role.world.aws.will(std::iter::once(refusal()).chain(hanging));
    role.request("first").await;
    let before = role.world.aws.calls();
    for second in 0..30 {
        role.request(&second.to_string()).await;
        pass(1).await;
    }
    let calls = role.world.aws.calls() - before;
    assert!((5..=8).contains(&calls), "{calls} calls");
}
