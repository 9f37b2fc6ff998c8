//! The one gate that every call to AWS passes: a budget of calls that all resources share.
//!
//! Who is soonest to be without credentials goes first. When AWS throttles, the gate lets fewer through, for everybody, and more again with
//! every call that succeeds. The budget ([`Budget`]) is pure; the gate is an actor, and so nobody shares a lock.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// The most that is asked of AWS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Calls per second.
    pub rate: f64,
    /// Calls at the same time.
    pub concurrency: usize,
}

/// The least that is asked of AWS while it throttles, in calls per second.
const RATE_MIN: f64 = 0.5;

/// Answers that say so within that time of each other are one throttling: the calls were under way together.
const SAME_THROTTLING: Duration = Duration::from_secs(1);

/// How many successes bring the rate back from nothing to the limit. Few would have the gate run into AWS's limit again and again, and with it
/// those who are about to lose their credentials; so many take a minute and a half when nothing is in the way.
const RECOVERY: f64 = 1000.0;

/// How many calls may go out at once: what one second allows, and never less than one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    limits: Limits,
    rate: f64,
    tokens: f64,
    refilled: Instant,
    throttled: Option<Instant>,
}

impl Budget {
    /// A full one.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            rate: limits.rate,
            tokens: limits.rate.max(1.0),
            refilled: now,
            throttled: None,
        }
    }

    /// Takes one call out of it, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = (self.tokens + passed * self.rate).min(self.rate.max(1.0));
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// How long until there is one.
    #[must_use]
    pub fn wait(&self) -> Duration {
        // A little more than it takes, since numbers are rounded and timers count milliseconds.
        Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.rate) + Duration::from_millis(1)
    }

    /// AWS threw a call out: half as many from now on.
    pub fn throttled(&mut self, now: Instant) {
        let same = self
            .throttled
            .is_some_and(|before| now.saturating_duration_since(before) < SAME_THROTTLING);
        if !same {
            self.throttled = Some(now);
            self.rate = (self.rate / 2.0).max(RATE_MIN.min(self.limits.rate));
            self.tokens = self.tokens.min(0.0);
        }
    }

    /// AWS took a call: a few more from now on.
    pub fn succeeded(&mut self) {
        self.rate = (self.rate + self.limits.rate / RECOVERY).min(self.limits.rate);
    }
}

/// A handle on the gate.
#[derive(Clone, Debug)]
pub struct Gate {
    actor: ActorRef<GateMessage>,
    standing: watch::Receiver<GateStanding>,
}

/// How the gate stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateStanding {
    /// Calls that wait.
    pub waiting: usize,
    /// Calls that are under way.
    pub in_flight: usize,
    /// Calls per second that are let through now.
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

    /// Waits for the leave to make a call. `urgency` is when the caller will be without credentials: the soonest goes first.
    ///
    /// # Errors
    /// [`GateClosed`] when the operator is stopping.
    pub async fn enter(&self, urgency: Timestamp) -> Result<Pass, GateClosed> {
        let answer = self.actor.call(|reply| GateMessage::Enter(urgency, reply), None).await;
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
    /// Says how it went.
    pub fn tell(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A gate that is gone needs no word.
        let _ = self.gate.cast(GateMessage::Left(self.verdict));
    }
}

/// What the gate is told.
#[derive(Debug)]
pub enum GateMessage {
    /// Somebody wants to make a call.
    Enter(Timestamp, RpcReplyPort<Pass>),
    /// A call is over.
    Left(Verdict),
    /// There is budget again.
    Refilled,
}

/// The gate's code. Its data is in [`GateState`].
#[derive(Clone, Copy, Debug)]
pub struct GateActor;

/// The data of the gate.
pub struct GateState {
    limits: Limits,
    budget: Budget,
    in_flight: usize,
    waiting: BTreeMap<(Timestamp, u64), RpcReplyPort<Pass>>,
    /// Keeps those apart who are equally urgent, in the order of their coming.
    number: u64,
    refill: Option<AbortOnDropHandle<()>>,
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
            standing,
            limits,
            budget: Budget::new(limits, Instant::now()),
            in_flight: 0,
            waiting: BTreeMap::new(),
            number: 0,
            refill: None,
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
        match message {
            GateMessage::Enter(urgency, reply) => {
                state.number += 1;
                state.waiting.insert((urgency, state.number), reply);
            }
            GateMessage::Left(verdict) => {
                state.in_flight = state.in_flight.saturating_sub(1);
                match verdict {
                    Verdict::Taken => state.budget.succeeded(),
                    Verdict::Throttled => state.budget.throttled(Instant::now()),
                    Verdict::Unknown => {}
                }
            }
            GateMessage::Refilled => {
                state.refill = None;
                // Who has given up is not waiting.
                state.waiting.retain(|_, reply| !reply.is_closed());
            }
        }
        state.admit(&myself);
        state.publish();
        Ok(())
    }
}

impl GateState {
    fn publish(&self) {
        self.standing.send_replace(GateStanding {
            waiting: self.waiting.len(),
            in_flight: self.in_flight,
            rate: self.budget.rate,
        });
    }

    /// Lets through whom the limits allow.
    fn admit(&mut self, myself: &ActorRef<GateMessage>) {
        while self.in_flight < self.limits.concurrency {
            // Who has given up waiting costs nothing.
            while let Some(first) = self.waiting.first_entry() {
                if !first.get().is_closed() {
                    break;
                }
                first.remove();
            }
            if self.waiting.is_empty() {
                return;
            }
            if !self.budget.take(Instant::now()) {
                self.wait_for_refill(myself);
                return;
            }
            let Some((_, reply)) = self.waiting.pop_first() else {
                return;
            };
            self.in_flight += 1;
            let pass = Pass {
                gate: myself.clone(),
                verdict: Verdict::Unknown,
            };
            // If the caller left in this moment the pass comes back, and with it the place.
            let _ = reply.send(pass);
        }
    }

    fn wait_for_refill(&mut self, myself: &ActorRef<GateMessage>) {
        if self.refill.is_some() {
            return;
        }
        let pause = self.budget.wait();
        let myself = myself.clone();
        self.refill = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let _ = myself.cast(GateMessage::Refilled);
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Mutex;

    const LIMITS: Limits = Limits {
        rate: 10.0,
        concurrency: 4,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn spent(budget: &mut Budget, now: Instant) -> usize {
        std::iter::from_fn(|| budget.take(now).then_some(())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_allows_its_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMITS, start);
        assert_eq!(spent(&mut budget, start), 10);
        assert_eq!(spent(&mut budget, start + Duration::from_millis(500)), 5);
        assert_eq!(
            spent(&mut budget, start + Duration::from_secs(3600)),
            10,
            "it does not add up"
        );
        assert!(budget.wait() > Duration::ZERO && budget.wait() <= Duration::from_millis(101));
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_the_rate_once_and_success_brings_it_back() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMITS, start);
        spent(&mut budget, start);
        budget.throttled(start);
        budget.throttled(start + Duration::from_millis(900));
        assert!((budget.rate - 5.0).abs() < 1e-9);
        budget.throttled(start + Duration::from_secs(2));
        assert!((budget.rate - 2.5).abs() < 1e-9);
        for second in 3..60 {
            budget.throttled(start + Duration::from_secs(2 * second));
        }
        assert!((budget.rate - RATE_MIN).abs() < 1e-9, "there is always a little");
        for _ in 0..1000 {
            budget.succeeded();
        }
        assert!((budget.rate - 10.0).abs() < 1e-9);
    }

    async fn gate(limits: Limits) -> Gate {
        Gate::open(limits).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_urgent_goes_first_and_no_more_than_allowed_at_once() {
        let gate = gate(Limits {
            rate: 1000.0,
            concurrency: 1,
        })
        .await;
        let first = gate.enter(at(500)).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let waiting: Vec<_> = [300, 100, 200]
            .into_iter()
            .map(|urgency| {
                let (gate, order) = (gate.clone(), order.clone());
                tokio::spawn(async move {
                    let pass = gate.enter(at(urgency)).await.unwrap();
                    order.lock().await.push(urgency);
                    pass.tell(Verdict::Taken);
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(order.lock().await.is_empty(), "one at a time");
        drop(first);
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().await, [100, 200, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_no_hole() {
        let gate = gate(Limits {
            rate: 1.0,
            concurrency: 1,
        })
        .await;
        let held = gate.enter(at(1)).await.unwrap();
        let impatient = tokio::time::timeout(Duration::from_secs(1), gate.enter(at(1))).await;
        assert!(impatient.is_err());
        drop(held);
        let started = Instant::now();
        gate.enter(at(2)).await.unwrap();
        assert!(started.elapsed() <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_calls_take_their_time() {
        let gate = gate(Limits {
            rate: 100.0,
            concurrency: 1000,
        })
        .await;
        let started = Instant::now();
        for _ in 0..1000 {
            gate.enter(at(1)).await.unwrap().tell(Verdict::Taken);
        }
        let took = started.elapsed().as_secs_f64();
        assert!((8.9..=9.2).contains(&took), "{took}");
    }
}
