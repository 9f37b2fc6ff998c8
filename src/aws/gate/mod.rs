//! The gate that every call to AWS for a resource passes.
//!
//! A call draws on a quota: of a service, in a Region, for an account. Each quota has a lane of its own, with its own places and its own
//! budget, so that a Region or an account that hangs or throttles costs only those who use it. Within a lane a renewal that can still succeed
//! goes first, then newcomers, then what has failed; namespaces take turns; within one the nearest end goes first. When AWS throttles, fewer
//! calls go out on that lane, and more again with every call that succeeds.
//!
//! [`Budget`](budget::Budget) and [`Lane`](lane::Lane) are plain values; the gate is an actor, and so nobody shares a lock.

pub mod budget;
mod lane;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::lane::{Lane, Next};

/// The most that is asked of AWS on one quota.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Calls per second.
    pub rate: f64,
    /// Calls at the same time.
    pub concurrency: usize,
}

/// What a call draws on. AWS throttles each by itself.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// The service: `STS`, `ECR`.
    pub service: &'static str,
    /// The Region of the endpoint.
    pub region: String,
    /// The account that makes the call. `None`: the operator's own.
    pub account: Option<String>,
}

/// How urgent a call is, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Credentials that are still valid are to be replaced, and nothing speaks against it.
    Renewal,
    /// There are no valid credentials yet.
    Newcomer,
    /// Earlier attempts failed, so many in a row.
    Failed(u32),
}

/// Who wants to make a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the call draws on.
    pub quota: Quota,
    /// How urgent it is.
    pub class: Class,
    /// The namespace of the resource.
    pub namespace: String,
    /// When the resource will be without credentials.
    pub expiration: Timestamp,
}

/// How often lanes that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// A handle on the gate.
#[derive(Clone, Debug)]
pub struct Gate {
    actor: ActorRef<GateMessage>,
    standing: watch::Receiver<GateStanding>,
}

/// How the gate stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateStanding {
    /// Calls that wait, on all lanes.
    pub waiting: usize,
    /// Calls that are under way, on all lanes.
    pub in_flight: usize,
    /// Calls per second that are let through now, on the lane with the fewest.
    pub rate: f64,
}

/// The gate is gone: the operator is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the operator is stopping")]
pub struct GateClosed;

/// The leave to make one call. Letting go of it makes room for another.
#[derive(Debug)]
pub struct Pass {
    gate: ActorRef<GateMessage>,
    quota: Quota,
    verdict: Verdict,
}

/// What a call told about AWS's patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// AWS took the call, whatever it answered.
    Taken,
    /// AWS threw the call out.
    Throttled,
    /// Nothing: there was no answer.
    Unknown,
}

impl Gate {
    /// Opens a gate. Whoever owns it links it to itself, so that it ends with its owner.
    ///
    /// # Errors
    /// When the actor cannot be started.
    pub async fn open(limits: Limits) -> Result<Self, SpawnErr> {
        let (publish, standing) = watch::channel(GateStanding::default());
        let (actor, _) = Actor::spawn(None, GateActor, (limits, publish)).await?;
        Ok(Self { actor, standing })
    }

    /// How it stands at this moment.
    #[must_use]
    pub fn standing(&self) -> GateStanding {
        *self.standing.borrow()
    }

    /// Waits for the leave to make a call.
    ///
    /// # Errors
    /// [`GateClosed`] when the operator is stopping.
    pub async fn enter(&self, entry: Entry) -> Result<Pass, GateClosed> {
        let answer = self.actor.call(|reply| GateMessage::Enter(entry, reply), None).await;
        match answer {
            Ok(ractor::rpc::CallResult::Success(pass)) => Ok(pass),
            _ => Err(GateClosed),
        }
    }

    /// The actor behind it.
    #[must_use]
    pub fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }
}

impl Pass {
    /// Says how the call went.
    pub fn tell(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A gate that is gone needs no word.
        let _ = self.gate.cast(GateMessage::Left(self.quota.clone(), self.verdict));
    }
}

/// What the gate is told.
#[derive(Debug)]
pub enum GateMessage {
    /// Somebody wants to make a call.
    Enter(Entry, RpcReplyPort<Pass>),
    /// A call that drew on that quota is over.
    Left(Quota, Verdict),
    /// There is budget again.
    Refilled(Quota),
}

/// The gate's code. Its data is in [`GateState`].
#[derive(Clone, Copy, Debug)]
pub struct GateActor;

/// The data of the gate.
pub struct GateState {
    limits: Limits,
    lanes: HashMap<Quota, Lane>,
    /// Counts those who come.
    number: u64,
    swept: Instant,
    standing: watch::Sender<GateStanding>,
}

impl Actor for GateActor {
    type Msg = GateMessage;
    type State = GateState;
    type Arguments = (Limits, watch::Sender<GateStanding>);

    async fn pre_start(
        &self,
        _: ActorRef<GateMessage>,
        (limits, standing): (Limits, watch::Sender<GateStanding>),
    ) -> Result<GateState, ActorProcessingErr> {
        let state = GateState {
            limits,
            lanes: HashMap::new(),
            number: 0,
            swept: Instant::now(),
            standing,
        };
        state.publish();
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<GateMessage>,
        message: GateMessage,
        state: &mut GateState,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        let quota = match message {
            GateMessage::Enter(entry, reply) => {
                state.number += 1;
                let (number, quota) = (state.number, entry.quota.clone());
                state.lane(&quota, now).wait(entry, number, reply, now);
                quota
            }
            GateMessage::Left(quota, verdict) => {
                let lane = state.lane(&quota, now);
                lane.leave(now);
                match verdict {
                    Verdict::Taken => lane.budget.succeeded(),
                    Verdict::Throttled => lane.budget.throttled(now),
                    Verdict::Unknown => {}
                }
                quota
            }
            GateMessage::Refilled(quota) => {
                state.lane(&quota, now).refill = None;
                quota
            }
        };
        state.admit(&myself, &quota, now);
        state.sweep(now);
        state.publish();
        Ok(())
    }
}

impl GateState {
    fn lane(&mut self, quota: &Quota, now: Instant) -> &mut Lane {
        let limits = self.limits;
        self.lanes
            .entry(quota.clone())
            .or_insert_with(|| Lane::new(limits, now))
    }

    /// Lets through whom the limits of a lane allow.
    fn admit(&mut self, myself: &ActorRef<GateMessage>, quota: &Quota, now: Instant) {
        let lane = self.lane(quota, now);
        loop {
            match lane.next(now) {
                Next::Go(reply) => {
                    let pass = Pass {
                        gate: myself.clone(),
                        quota: quota.clone(),
                        verdict: Verdict::Unknown,
                    };
                    // If the caller left in this moment the pass comes back, and with it the place.
                    let _ = reply.send(pass);
                }
                Next::Later(pause) => {
                    if lane.refill.is_none() {
                        let (myself, quota) = (myself.clone(), quota.clone());
                        lane.refill = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                            tokio::time::sleep(pause).await;
                            let _ = myself.cast(GateMessage::Refilled(quota));
                        })));
                    }
                    return;
                }
                Next::Nobody => return,
            }
        }
    }

    /// Forgets lanes that nobody uses: whoever names many Regions must not fill the memory with them.
    fn sweep(&mut self, now: Instant) {
        if now.saturating_duration_since(self.swept) >= SWEEP {
            self.swept = now;
            self.lanes.retain(|_, lane| !lane.is_idle(now));
        }
    }

    fn publish(&self) {
        let rates = self.lanes.values().map(|lane| lane.budget.rate());
        self.standing.send_replace(GateStanding {
            waiting: self.lanes.values().map(Lane::waiting).sum(),
            in_flight: self.lanes.values().map(Lane::in_flight).sum(),
            rate: rates.fold(self.limits.rate, f64::min),
        });
    }
}
