use tokio::task::JoinHandle;

use super::*;
use crate::cluster::lease::LeaseRecord;
use crate::cluster::{Scope, SecretEvent, WatchEvent};
use crate::operator::fixtures::{Fate, MemoryLeases, Reply, World, pass, settle};
use crate::operator::supervisor::Supervisor;
use crate::spec::Format;
use crate::spec::fixtures::{resource, spec};

/// A replica of the operator with a world of its own, and a Lease that it shares.
struct Replica {
    world: World,
    leases: Arc<MemoryLeases>,
    fence: Fence,
    leader: ActorRef<LeaderMessage>,
    ended: JoinHandle<()>,
}

impl Replica {
    /// One that knows no resource yet.
    async fn begin(name: &str, leases: MemoryLeases) -> Self {
        let world = World::new().await;
        let leases = Arc::new(leases);
        let fence = Fence::new(world.clock.clone());
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, world.context.clone())
            .await
            .unwrap();
        let arguments = LeaderArguments {
            supervisor,
            leases: leases.clone(),
            fence: fence.clone(),
            clock: world.clock.clone(),
            health: world.context.health.clone(),
            identity: name.to_owned(),
        };
        let (leader, ended) = Leader::spawn(None, Leader, arguments).await.unwrap();
        Self {
            world,
            leases,
            fence,
            leader,
            ended,
        }
    }

    /// One that knows its one resource.
    async fn start(name: &str, leases: MemoryLeases) -> Self {
        let replica = Self::begin(name, leases).await;
        replica.list().await;
        replica
    }

    async fn list(&self) {
        self.world.cluster.tell(WatchEvent::ListStarted(Scope::all()));
        self.world.cluster.tell(WatchEvent::Listed(resource(spec(Format::Map))));
        self.world.cluster.tell(WatchEvent::ListDone(Scope::all()));
        self.world.cluster.tell_secret(SecretEvent::ListStarted(Scope::all()));
        self.world.cluster.tell_secret(SecretEvent::ListDone(Scope::all()));
        settle().await;
    }

    fn leads(&self) -> bool {
        self.world.context.metrics.leader.get() == 1
    }
}

/// Two over one Lease, of which the first leads.
async fn two() -> (Replica, Replica) {
    let one = Replica::start("one", MemoryLeases::new()).await;
    let other = Replica::start("other", one.leases.of_another()).await;
    assert_eq!((one.leads(), other.leads()), (true, false));
    assert_eq!((one.world.aws.calls(), other.world.aws.calls()), (1, 0));
    (one, other)
}

#[test]
fn no_process_takes_another_of_its_pod_for_itself() {
    let (one, other) = (identity("pod-1"), identity("pod-1"));
    assert!(one.starts_with("pod-1_") && one.len() == "pod-1_".len() + 16, "{one}");
    assert_ne!(one, other);
}

#[tokio::test(start_paused = true)]
async fn whoever_knows_the_resources_and_finds_nobody_leads_at_once() {
    let replica = Replica::begin("one", MemoryLeases::new()).await;
    pass(60).await;
    assert_eq!((replica.leads(), replica.leases.lease()), (false, None));
    assert!(!replica.fence.is_open());
    replica.list().await;
    assert!(replica.leads() && replica.fence.is_open());
    assert_eq!(replica.leases.holder().as_deref(), Some("one"));
    let transitions = replica.leases.lease().unwrap().record.transitions;
    pass(3600).await;
    assert!(replica.leads() && replica.fence.is_open());
    assert_eq!(replica.leases.lease().unwrap().record.transitions, transitions);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_stop_hands_over_at_once() {
    let (one, other) = two().await;
    one.world.aws.will([Reply::Hang]);
    pass(500).await;
    one.leader.stop_and_wait(None, None).await.unwrap();
    assert!(!one.fence.is_open());
    assert_eq!(one.world.aws.given_up(), 1, "it was under way");
    settle().await;
    assert!(other.leads());
    assert_eq!(other.leases.holder().as_deref(), Some("other"));
    assert_eq!(other.leases.lease().unwrap().record.transitions, 1);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_that_the_watch_does_not_tell_of_is_found_out() {
    let (one, other) = two().await;
    one.leases.silence();
    one.leader.stop_and_wait(None, None).await.unwrap();
    pass(1).await;
    assert!(!other.leads());
    pass(5).await;
    assert!(other.leads());
}

#[tokio::test(start_paused = true)]
async fn who_is_killed_is_followed_when_its_lease_has_run_out() {
    let (one, other) = two().await;
    pass(7).await;
    one.leader.kill();
    one.ended.await.unwrap();
    pass(12).await;
    assert!(!other.leads());
    pass(4).await;
    assert!(other.leads());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_renew_stops_before_another_may_begin() {
    let (one, other) = two().await;
    one.world.aws.will([Reply::Hang]);
    pass(440).await;
    for fate in [Fate::Away, Fate::Unanswered] {
        one.leases.will(fate);
        pass(9).await;
        if fate == Fate::Away {
            one.leases.will(Fate::Answered);
            pass(2).await;
            assert!(one.leads(), "it was in time");
            pass(5).await;
        }
    }
    assert!(one.leads() && !other.leads());
    pass(2).await;
    assert!(!one.leads() && !one.fence.is_open());
    assert_eq!(one.world.aws.given_up(), 1);
    // Its attempts reach the API server all the same.
    pass(10).await;
    assert!(!one.leads() && !other.leads());
    one.leases.will(Fate::Away);
    pass(16).await;
    assert!(!one.leads() && other.leads());
    one.leases.will(Fate::Answered);
    pass(60).await;
    assert!(!one.leads() && other.leads());
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_slow_costs_no_leadership() {
    let (one, other) = two().await;
    one.leases.will(Fate::Slow(3));
    for _ in 0..120 {
        pass(1).await;
        assert!(one.leads() && one.fence.is_open() && !other.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_lets_nothing_pass_when_it_comes_back() {
    let (one, other) = two().await;
    one.world.aws.will([Reply::Hang]);
    pass(440).await;
    one.world.clock.suspend(11);
    assert!(!one.fence.is_open(), "before the leader has found out");
    assert!(one.leads());
    pass(2).await;
    assert_eq!(one.world.aws.given_up(), 1, "it has let go of everything");
    // Nobody else has taken it.
    assert!(one.leads() && one.fence.is_open() && !other.leads());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_taken_away_by_hand_is_let_go_of_at_once() {
    let (one, other) = two().await;
    one.leases.edit(|record| {
        Some(LeaseRecord {
            holder: Some("somebody".to_owned()),
            ..record
        })
    });
    settle().await;
    assert!(!one.leads() && !one.fence.is_open() && !other.leads());
    pass(14).await;
    assert!(!one.leads() && !other.leads());
    pass(2).await;
    assert!(one.leads() ^ other.leads());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_is_made_again_by_its_holder() {
    let (one, other) = two().await;
    one.leases.edit(|_| None);
    settle().await;
    assert!(one.leads() && !other.leads());
    assert_eq!(one.leases.holder().as_deref(), Some("one"));
    pass(60).await;
    assert!(one.leads() && !other.leads());
    assert_eq!(one.world.aws.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_writes_beside_it_does_not_matter() {
    let (one, other) = two().await;
    for _ in 0..30 {
        one.leases.edit(Some);
        pass(1).await;
        assert!(one.leads() && one.fence.is_open() && !other.leads());
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_release_is_overtaken_tries_it_again() {
    let (one, _) = two().await;
    one.leases.will(Fate::Slow(2));
    let leases = one.leases.clone();
    let stopping = tokio::spawn(async move { one.leader.stop_and_wait(None, None).await });
    pass(1).await;
    leases.edit(Some);
    stopping.await.unwrap().unwrap();
    settle().await;
    assert_eq!(leases.holder().as_deref(), Some("other"));
}

#[tokio::test(start_paused = true)]
async fn without_the_watch_or_the_supervisor_it_ends() {
    let replica = Replica::start("one", MemoryLeases::new()).await;
    replica.leases.end_watches();
    replica.ended.await.unwrap();
    assert!(replica.leases.holder().is_some(), "it has run out soon");

    let replica = Replica::start("one", MemoryLeases::new()).await;
    replica.world.context.gate.cell().stop(None);
    replica.ended.await.unwrap();
}
