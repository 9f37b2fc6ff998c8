//! The leader: it stands above the supervisor, and lets it act while this replica holds the Lease.
//!
//! The decisions are those of the [`election`]. The actor makes the calls for it, one at a time and each bounded, and carries out what follows:
//! who gets the Lease opens the fence and lets the supervisor lead; who loses it, or cannot renew it, shuts the fence and has every role
//! actor stopped before another replica may lead. Who is told to stop lets go of the Lease last of all.

pub mod election;

use std::hash::{BuildHasher, RandomState};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use self::election::{Election, Lost, Step};
use super::supervisor::SupervisorMessage;
use crate::clock::Clock;
use crate::cluster::ClusterError;
use crate::cluster::lease::{Lease, Leases};
use crate::errors::FailureLog;
use crate::fence::Fence;
use crate::telemetry::health::Health;

/// How long one call may take. Before the deadline for a renewal there is time for two of them.
const CALL_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the supervisor may take to stop all role actors. The Lease is not another's before.
const STAND_BY_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the supervisor may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest sleep at a time. A machine that was suspended for longer shows after it.
const SLEEP: Duration = Duration::from_secs(1);

/// The actor's code. Its data is in [`LeaderState`].
#[derive(Clone, Copy, Debug)]
pub struct Leader;

/// What the leader is started with.
pub struct LeaderArguments {
    /// The supervisor, which ends with the leader.
    pub supervisor: ActorRef<SupervisorMessage>,
    /// The Lease.
    pub leases: Arc<dyn Leases>,
    /// What every call passes.
    pub fence: Fence,
    /// The clock of the fence.
    pub clock: Arc<dyn Clock>,
    /// Where the supervisor says when it knows the resources.
    pub health: Health,
    /// This process's own name in the Lease: see [`identity`].
    pub identity: String,
}

/// A name that no other process has, and that tells people which pod it is. A container that is started again in the same pod must not take the
/// Lease of its predecessor for its own.
#[must_use]
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// The messages of the leader.
#[derive(Debug)]
pub enum LeaderMessage {
    /// The supervisor knows the resources.
    ResourcesListed,
    /// The Lease is so, or is not there.
    Seen(Option<Box<Lease>>),
    /// The watch has ended, which it never should.
    WatchEnded,
    /// The call under way has ended.
    Called,
    /// The timer of that number has run down.
    Due(u64),
}

/// A call, and what came of it.
struct Call {
    step: Step,
    /// When it was made.
    sent: Duration,
    result: Result<Option<Lease>, ClusterError>,
}

/// The data of the leader.
pub struct LeaderState {
    supervisor: ActorRef<SupervisorMessage>,
    leases: Arc<dyn Leases>,
    fence: Fence,
    clock: Arc<dyn Clock>,
    election: Election,
    call: Option<AbortOnDropHandle<Call>>,
    timer: Option<AbortOnDropHandle<()>>,
    /// Counts the timers.
    timer_number: u64,
    failures: FailureLog,
    _watch: AbortOnDropHandle<()>,
    _listed: AbortOnDropHandle<()>,
}

/// What the leader cannot go on without.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum Ended {
    #[error("the watch on the Lease has ended")]
    Watch,
    #[error("the supervisor has ended")]
    Supervisor,
    #[error("the supervisor did not stop its actors in time")]
    Actors,
}

impl Actor for Leader {
    type Msg = LeaderMessage;
    type State = LeaderState;
    type Arguments = LeaderArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<LeaderMessage>,
        arguments: LeaderArguments,
    ) -> Result<LeaderState, ActorProcessingErr> {
        let LeaderArguments {
            supervisor,
            leases,
            fence,
            clock,
            health,
            identity,
        } = arguments;
        supervisor.link(myself.get_cell());
        info!(identity, "standing by for the lease");
        let mut state = LeaderState {
            _watch: watch(&*leases, &myself),
            _listed: resources_listed(health, &myself),
            supervisor,
            leases,
            fence,
            clock,
            election: Election::new(identity),
            call: None,
            timer: None,
            timer_number: 0,
            failures: FailureLog::default(),
        };
        state.proceed(&myself).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<LeaderMessage>,
        message: LeaderMessage,
        state: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            LeaderMessage::ResourcesListed => state.election.contend(),
            LeaderMessage::Seen(Some(lease)) => state.election.see(Some(*lease), state.clock.since_boot()),
            // Perhaps this replica has made one meanwhile.
            LeaderMessage::Seen(None) => state.election.doubt(),
            LeaderMessage::WatchEnded => return Err(Ended::Watch.into()),
            LeaderMessage::Called => {
                if let Some(call) = state.call.take() {
                    state.called(call.await?)?;
                }
            }
            LeaderMessage::Due(number) if number == state.timer_number => state.timer = None,
            LeaderMessage::Due(_) => return Ok(()),
        }
        state.proceed(&myself).await
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<LeaderMessage>,
        event: SupervisionEvent,
        _: &mut LeaderState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(..) | SupervisionEvent::ActorTerminated(..) => Err(Ended::Supervisor.into()),
            _ => Ok(()),
        }
    }

    /// Everything has ended before another replica may begin.
    async fn post_stop(&self, _: ActorRef<LeaderMessage>, state: &mut LeaderState) -> Result<(), ActorProcessingErr> {
        state.fence.shut();
        state.timer = None;
        state.supervisor.stop_and_wait(None, Some(STOP_TIMEOUT)).await?;
        if let Some(call) = state.call.take()
            && let Ok(Call { result: Ok(lease), .. }) = call.await
        {
            state.election.see(lease, state.clock.since_boot());
        }
        state.release().await;
        Ok(())
    }
}

impl LeaderState {
    /// Does what is to be done now, and sets the timer to what is to be done later.
    async fn proceed(&mut self, myself: &ActorRef<LeaderMessage>) -> Result<(), ActorProcessingErr> {
        loop {
            match self.election.next(self.clock.since_boot()) {
                Step::StepDown(why) => self.step_down(&why).await?,
                Step::Wait(until) => {
                    self.set_timer(myself, until);
                    return Ok(());
                }
                step => {
                    self.call.get_or_insert_with(|| {
                        let call = make(step, &self.election, self.leases.clone(), self.clock.clone());
                        run(call, myself)
                    });
                    // The end may come before the answer.
                    if let Some(end) = self.election.end_of_term() {
                        self.set_timer(myself, end);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Takes in what came of a call.
    fn called(&mut self, call: Call) -> Result<(), ActorProcessingErr> {
        let now = self.clock.since_boot();
        match (call.result, call.step) {
            (Ok(Some(lease)), Step::Acquire) => {
                if let Some(end) = self.election.hold(lease, call.sent, now) {
                    info!("leading");
                    self.fence.open_until(end);
                    self.supervisor.cast(SupervisorMessage::Lead)?;
                }
            }
            (Ok(Some(lease)), Step::Renew) => {
                // An end that has passed is the end of the term.
                if self.election.leads() && self.fence.extend(call.sent + election::RENEW_DEADLINE) {
                    self.election.hold(lease, call.sent, now);
                } else {
                    self.election.see(Some(lease), now);
                }
            }
            (Ok(lease), _) => self.election.see(lease, now),
            (Err(ClusterError::Changed(_) | ClusterError::Gone(_)), _) => self.election.doubt(),
            (Err(error), step) => {
                self.election.failed(call.sent);
                let error = error.to_string();
                if self.failures.is_news(&error) {
                    warn!(?step, "the lease cannot be had: {error}");
                }
            }
        }
        Ok(())
    }

    /// Stops everything, and waits until it has stopped.
    async fn step_down(&mut self, why: &Lost) -> Result<(), ActorProcessingErr> {
        self.fence.shut();
        warn!("leading no more: {why}");
        let answer = self
            .supervisor
            .call(SupervisorMessage::StandBy, Some(STAND_BY_TIMEOUT))
            .await;
        match answer {
            Ok(CallResult::Success(())) => self.election.stepped_down(),
            _ => return Err(Ended::Actors.into()),
        }
        Ok(())
    }

    /// Lets go of the Lease, so that another replica need not wait until it has run out.
    async fn release(&mut self) {
        // Somebody may have changed something else on it.
        for _ in 0..2 {
            let Some(held) = self.election.held() else {
                return;
            };
            let record = self.election.release(self.clock.now());
            match timeout(CALL_TIMEOUT, self.leases.replace(held, &record)).await {
                Ok(Err(ClusterError::Changed(_))) => {}
                Ok(Ok(_)) => return info!("the lease is released"),
                Ok(Err(error)) => return warn!("the lease is not released: {error}"),
                Err(_) => return warn!("the lease is not released: the API server does not answer"),
            }
            if let Ok(Ok(lease)) = timeout(CALL_TIMEOUT, self.leases.get()).await {
                self.election.see(lease, self.clock.since_boot());
            }
        }
    }

    fn set_timer(&mut self, myself: &ActorRef<LeaderMessage>, until: Duration) {
        self.timer_number += 1;
        let (number, clock, myself) = (self.timer_number, self.clock.clone(), myself.clone());
        self.timer = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(left) = until.checked_sub(clock.since_boot()).filter(|left| !left.is_zero()) {
                tokio::time::sleep(left.min(SLEEP)).await;
            }
            let _ = myself.cast(LeaderMessage::Due(number));
        })));
    }
}

/// The call that a step stands for.
fn make(
    step: Step,
    election: &Election,
    leases: Arc<dyn Leases>,
    clock: Arc<dyn Clock>,
) -> impl Future<Output = Call> + Send + 'static {
    let wall = clock.now();
    let record = match step {
        Step::Acquire => Some(election.acquisition(wall)),
        Step::Renew => Some(election.renewal(wall)),
        Step::Look | Step::StepDown(_) | Step::Wait(_) => None,
    };
    let over = election.lease().flatten().cloned();
    async move {
        let sent = clock.since_boot();
        let answer = async {
            match (&record, &over) {
                (None, _) => leases.get().await,
                (Some(record), None) => leases.create(record).await.map(Some),
                (Some(record), Some(over)) => leases.replace(over, record).await.map(Some),
            }
        };
        let unanswered = || ClusterError::Unavailable(format!("no answer within {} s", CALL_TIMEOUT.as_secs()));
        let result = timeout(CALL_TIMEOUT, answer).await;
        Call {
            step,
            sent,
            result: result.unwrap_or_else(|_| Err(unanswered())),
        }
    }
}

/// Runs a call, and tells of its end.
fn run(call: impl Future<Output = Call> + Send + 'static, myself: &ActorRef<LeaderMessage>) -> AbortOnDropHandle<Call> {
    let myself = myself.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let called = call.await;
        let _ = myself.cast(LeaderMessage::Called);
        called
    }))
}

fn watch(leases: &dyn Leases, myself: &ActorRef<LeaderMessage>) -> AbortOnDropHandle<()> {
    let mut seen = leases.watch();
    let myself = myself.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let forwarded = async {
            while let Some(lease) = seen.next().await {
                if myself.cast(LeaderMessage::Seen(lease.map(Box::new))).is_err() {
                    return;
                }
            }
        };
        let _ = AssertUnwindSafe(forwarded).catch_unwind().await;
        let _ = myself.cast(LeaderMessage::WatchEnded);
    }))
}

fn resources_listed(health: Health, myself: &ActorRef<LeaderMessage>) -> AbortOnDropHandle<()> {
    let myself = myself.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        health.resources_listed().await;
        let _ = myself.cast(LeaderMessage::ResourcesListed);
    }))
}

#[cfg(test)]
mod tests;
