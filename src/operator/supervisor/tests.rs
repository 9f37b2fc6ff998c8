use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::operator::fixtures::{Call, Reply, World, pass, settle};
use crate::refresh::standing::State;
use crate::spec::fixtures::{resource, spec};
use crate::spec::{Format, Resource, ResourceKey, Spec};

/// A supervisor over a world in memory, and what it said when it failed.
pub(super) struct Running {
    pub(super) world: World,
    pub(super) supervisor: ActorRef<SupervisorMessage>,
    ended: JoinHandle<()>,
    failures: mpsc::UnboundedReceiver<String>,
}

/// Supervises the supervisor, and passes on what it fails with.
struct Observer;

impl Actor for Observer {
    type Msg = ();
    type State = mpsc::UnboundedSender<String>;
    type Arguments = mpsc::UnboundedSender<String>;

    async fn pre_start(
        &self,
        _: ActorRef<()>,
        failures: mpsc::UnboundedSender<String>,
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(failures)
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        failures: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        if let SupervisionEvent::ActorFailed(_, error) = event {
            failures.send(error.to_string())?;
        }
        Ok(())
    }
}

impl Running {
    /// One that leads.
    pub(super) async fn start() -> Self {
        Self::leading_in(World::new().await).await
    }

    pub(super) async fn standing_by() -> Self {
        Self::standing_by_in(World::new().await).await
    }

    /// One that leads in that world.
    pub(super) async fn leading_in(world: World) -> Self {
        let running = Self::standing_by_in(world).await;
        running.supervisor.cast(SupervisorMessage::Lead).unwrap();
        running
    }

    pub(super) async fn standing_by_in(world: World) -> Self {
        let (sender, failures) = mpsc::unbounded_channel();
        let (observer, _) = Observer::spawn(None, Observer, sender).await.unwrap();
        let spawned = Supervisor::spawn_linked(None, Supervisor, world.context.clone(), observer.get_cell());
        let (supervisor, ended) = spawned.await.unwrap();
        Self {
            world,
            supervisor,
            ended,
            failures,
        }
    }

    /// One whose resources and Secrets are listed, that has worked on each once.
    pub(super) async fn with(resources: &[Resource]) -> Self {
        let running = Self::start().await;
        running.list(resources).await;
        running.list_secrets(resources).await;
        running
    }

    /// The Secrets of those resources are listed, as far as they are there.
    pub(super) async fn list_secrets(&self, resources: &[Resource]) {
        self.world.cluster.tell_secret(SecretEvent::ListStarted(Scope::all()));
        let names = resources.iter().filter_map(Resource::secret_name);
        for secret in names.filter_map(|name| self.world.cluster.secret(name)) {
            self.world.cluster.tell_secret(SecretEvent::Listed(Box::new(secret)));
        }
        self.tell_secret(SecretEvent::ListDone(Scope::all())).await;
    }

    /// How many actors are at work. The gate before AWS is a child of the supervisor too.
    pub(super) fn awake(&self) -> usize {
        self.supervisor.get_children().len() - 1
    }

    pub(super) async fn list(&self, resources: &[Resource]) {
        self.world.cluster.tell(WatchEvent::ListStarted(Scope::all()));
        for resource in resources {
            self.world.cluster.tell(WatchEvent::Listed(resource.clone()));
        }
        self.tell(WatchEvent::ListDone(Scope::all())).await;
    }

    pub(super) async fn tell(&self, event: WatchEvent) {
        self.world.cluster.tell(event);
        settle().await;
    }

    pub(super) async fn tell_secret(&self, event: SecretEvent) {
        self.world.cluster.tell_secret(event);
        settle().await;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.world.context.health.ready().is_ok()
    }

    pub(super) async fn snapshot(&self) -> Snapshot {
        let answer = self.supervisor.call(SupervisorMessage::Snapshot, None).await;
        answer.unwrap().unwrap()
    }

    /// The UIDs of the resources, each with its state, and how many actors there are.
    pub(super) async fn children(&self) -> (Vec<(String, State)>, usize) {
        let snapshot = self.snapshot().await;
        let resources = snapshot.resources.into_iter();
        let states = resources.map(|(key, standing)| (key.uid.to_string(), standing.state));
        (states.collect(), snapshot.actors)
    }

    /// Waits for its end, and gives what it failed with.
    async fn failure(&mut self) -> String {
        let minute = Duration::from_secs(60);
        tokio::time::timeout(minute, &mut self.ended).await.unwrap().unwrap();
        self.failures.recv().await.unwrap()
    }

    pub(super) fn restarts(&self) -> u64 {
        self.world.context.metrics.actor_restarts.get()
    }
}

/// A resource with a Secret of its own.
pub(super) fn named(name: &str, uid: &str) -> Resource {
    let plain = resource(Spec {
        secret_name: format!("secret-of-{name}"),
        ..spec(Format::Map)
    });
    Resource {
        key: ResourceKey {
            name: name.into(),
            uid: uid.into(),
            ..plain.key
        },
        ..plain
    }
}

pub(super) fn ready(uid: &str) -> (String, State) {
    (uid.to_owned(), State::Ready)
}

#[tokio::test(start_paused = true)]
async fn there_is_one_actor_for_each_resource() {
    let running = Running::with(&[named("a", "1"), named("b", "2")]).await;
    running.tell(WatchEvent::Applied(named("c", "3"))).await;
    running.tell(WatchEvent::Applied(named("a", "1"))).await;
    running.list(&[named("a", "1"), named("b", "2"), named("c", "3")]).await;
    assert_eq!(running.children().await, (vec![ready("1"), ready("2"), ready("3")], 3));
    assert_eq!(running.world.aws.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_handed_to_the_actor_of_the_resource() {
    let running = Running::with(&[named("a", "1"), named("b", "2")]).await;
    let requested = Resource {
        refresh_request: Some("1".to_owned()),
        ..named("b", "2")
    };
    running.tell(WatchEvent::Applied(requested)).await;
    assert_eq!(running.world.aws.calls(), 3);
    assert!(running.world.cluster.secret("secret-of-b").unwrap().answers("1"));
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_deleted_is_released_in_the_middle_of_its_call() {
    let running = Running::with(&[named("a", "1")]).await;
    running.world.aws.will([Reply::Hang]);
    running.tell(WatchEvent::Applied(named("b", "2"))).await;
    assert_eq!(running.children().await.1, 2);
    running.tell(WatchEvent::Deleted(named("b", "2").key)).await;
    assert_eq!(running.world.aws.given_up(), 1);
    assert_eq!(running.children().await, (vec![ready("1")], 1));
    pass(120).await;
    assert_eq!((running.world.aws.calls(), running.restarts()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_being_deleted_is_released() {
    let terminating = |name, uid| Resource {
        terminating: true,
        ..named(name, uid)
    };
    let running = Running::with(&[named("a", "1"), terminating("b", "2")]).await;
    assert_eq!(running.children().await, (vec![ready("1")], 1));
    running.tell(WatchEvent::Applied(terminating("a", "1"))).await;
    assert_eq!(running.children().await, (vec![], 0));
    assert_eq!(running.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_not_in_the_next_list_is_released() {
    let running = Running::with(&[named("a", "1"), named("b", "2")]).await;
    running.list(&[named("b", "2")]).await;
    assert_eq!(running.children().await, (vec![ready("2")], 1));
    pass(600).await;
    assert_eq!(running.world.aws.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_made_again_under_its_name_takes_the_place_of_the_earlier_one() {
    let running = Running::with(&[named("a", "1")]).await;
    running.world.cluster.remove("secret-of-a");
    running.tell(WatchEvent::Applied(named("a", "2"))).await;
    assert_eq!(running.children().await, (vec![ready("2")], 1));
    // What is told of the earlier one comes too late.
    running.tell(WatchEvent::Deleted(named("a", "1").key)).await;
    assert_eq!(running.children().await, (vec![ready("2")], 1));
    running.tell(WatchEvent::Deleted(named("a", "2").key)).await;
    assert_eq!(running.children().await, (vec![], 0));
}

#[tokio::test(start_paused = true)]
async fn an_actor_whose_cycle_panics_is_started_again_after_a_second_and_others_go_on() {
    let running = Running::start().await;
    running.world.aws.will([Reply::Panic]);
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    running.tell(WatchEvent::Applied(named("b", "2"))).await;
    let waiting = ("1".to_owned(), State::Pending);
    assert_eq!(running.children().await, (vec![waiting, ready("2")], 1));
    pass(1).await;
    assert_eq!(running.children().await, (vec![ready("1"), ready("2")], 2));
    assert_eq!((running.world.aws.calls(), running.restarts()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_fails_again_waits_longer_each_time() {
    let running = Running::start().await;
    running.world.aws.will(std::iter::repeat_n(Reply::Panic, 20));
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    for (seconds, calls) in [
        (1, 2),
        (1, 2),
        (1, 3),
        (4, 4),
        (8, 5),
        (16, 6),
        (32, 7),
        (60, 8),
        (60, 9),
    ] {
        pass(seconds).await;
        assert_eq!(running.world.aws.calls(), calls, "after another {seconds} s");
    }
    assert_eq!(running.restarts(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_deleted_while_its_actor_waits_for_its_start_is_forgotten() {
    let running = Running::start().await;
    running.world.aws.will([Reply::Panic]);
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    running.tell(WatchEvent::Deleted(named("a", "1").key)).await;
    pass(60).await;
    assert_eq!(running.children().await, (vec![], 0));
    assert_eq!(running.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_while_an_actor_waits_for_its_start_is_not_lost() {
    let running = Running::start().await;
    running.world.aws.will([Reply::Panic]);
    running.list(&[named("a", "1")]).await;
    running.list_secrets(&[]).await;
    let requested = Resource {
        refresh_request: Some("1".to_owned()),
        ..named("a", "1")
    };
    running.tell(WatchEvent::Applied(requested)).await;
    pass(1).await;
    assert!(running.world.cluster.secret("secret-of-a").unwrap().answers("1"));
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_a_secret_is_handed_to_its_owner() {
    let running = Running::with(&[named("a", "1"), named("b", "2")]).await;
    running.world.cluster.take_calls();
    let edited = running.world.cluster.strip("secret-of-b");
    running.tell_secret(SecretEvent::Applied(Box::new(edited))).await;
    assert_eq!(running.world.cluster.count(Call::Repair, "secret-of-b"), 1);
    assert_eq!(running.world.cluster.take_calls(), [Call::Repair, Call::Event]);
    let labels = running.world.cluster.secret("secret-of-b").unwrap().metadata.labels;
    assert!(labels.is_some());

    let removed = running.world.cluster.remove("secret-of-a");
    running.tell_secret(SecretEvent::Deleted(Box::new(removed))).await;
    pass(5).await;
    assert!(running.world.cluster.secret("secret-of-a").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_not_in_the_next_list_is_looked_for_by_its_owner() {
    let running = Running::with(&[named("a", "1"), named("b", "2")]).await;
    running.world.cluster.take_calls();
    let listed = running.world.cluster.secret("secret-of-a").unwrap();
    running
        .world
        .cluster
        .tell_secret(SecretEvent::ListStarted(Scope::all()));
    running.world.cluster.tell_secret(SecretEvent::Listed(Box::new(listed)));
    running.tell_secret(SecretEvent::ListDone(Scope::all())).await;
    assert_eq!(running.world.cluster.count(Call::Observe, "secret-of-b"), 1);
    assert_eq!(running.world.cluster.take_calls(), [Call::Observe]);
}

#[tokio::test(start_paused = true)]
async fn it_is_ready_when_both_lists_are_complete() {
    let running = Running::start().await;
    assert!(!running.is_ready());
    running.list(&[]).await;
    assert!(!running.is_ready());
    running
        .world
        .cluster
        .tell_secret(SecretEvent::ListStarted(Scope::all()));
    running.tell_secret(SecretEvent::ListDone(Scope::all())).await;
    assert!(running.is_ready());
    running
        .world
        .cluster
        .tell_secret(SecretEvent::ListStarted(Scope::all()));
    settle().await;
    assert!(running.is_ready(), "once is enough");
}

#[tokio::test(start_paused = true)]
async fn the_actors_learn_when_the_wall_clock_leaps_ahead() {
    let running = Running::with(&[named("a", "1")]).await;
    running.world.clock.jump(800);
    pass(11).await;
    assert_eq!(running.world.aws.calls(), 2);
    assert_eq!(running.snapshot().await.skew_seconds, 0);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_is_known_to_be_behind() {
    let running = Running::with(&[named("a", "1")]).await;
    running.world.clock.jump(-3600);
    pass(11).await;
    let skew = running.snapshot().await.skew_seconds;
    assert!((3599..=3600).contains(&skew), "{skew}");
    assert_eq!(running.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_gate_is_the_end_of_the_supervisor() {
    let mut running = Running::with(&[named("a", "1")]).await;
    running.world.context.gate.cell().stop(None);
    let failure = running.failure().await;
    assert!(failure.starts_with("the gate before AWS has ended"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_watch_is_the_end_of_the_supervisor() {
    let mut running = Running::with(&[named("a", "1")]).await;
    running.world.cluster.end_watch();
    assert_eq!(running.failure().await, "a watch has ended");
}

#[tokio::test(start_paused = true)]
async fn nothing_goes_on_when_the_supervisor_has_stopped() {
    let mut running = Running::with(&[named("a", "1")]).await;
    running.world.aws.will([Reply::Hang]);
    running.tell(WatchEvent::Applied(named("b", "2"))).await;
    running.supervisor.stop_and_wait(None, None).await.unwrap();
    assert_eq!(running.world.aws.given_up(), 1);
    assert!(running.failures.try_recv().is_err());
    pass(3600).await;
    assert_eq!(running.world.aws.calls(), 2);
}
