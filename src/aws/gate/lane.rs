//! The calls that draw on one quota: those under way, those that wait, and in which order they go.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use ractor::RpcReplyPort;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::budget::Budget;
use super::{Class, Entry, Limits, Pass};

/// A lane that was not used for that long is forgotten, once its budget has recovered.
const IDLE: Duration = Duration::from_secs(60);

/// A lane that was not used for that long is forgotten, whatever its budget.
const IDLE_MAX: Duration = Duration::from_secs(600);

/// Every so many passes one goes to whoever has waited longest, whatever the class: a class that fills the lane must not keep the others
/// waiting for ever.
const LONGEST_WAIT_EVERY: u32 = 8;

/// What draws on one quota.
pub(super) struct Lane {
    limits: Limits,
    pub(super) budget: Budget,
    in_flight: usize,
    waiting: BTreeMap<Class, Turns>,
    /// Counts the passes.
    passes: u32,
    used: Instant,
    /// The timer that runs until there is budget again.
    pub(super) refill: Option<AbortOnDropHandle<()>>,
}

/// Those of one class that wait: each namespace has its turn, and within it the nearest end goes first.
#[derive(Default)]
struct Turns {
    order: VecDeque<String>,
    queues: HashMap<String, BTreeMap<(Timestamp, u64), RpcReplyPort<Pass>>>,
}

/// What a lane says when it is asked for the next call to go.
pub(super) enum Next {
    /// This one may go.
    Go(RpcReplyPort<Pass>),
    /// The next may go after that time.
    Later(Duration),
    /// Nobody may: nobody waits, or too many are under way.
    Nobody,
}

impl Lane {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            budget: Budget::new(limits, now),
            in_flight: 0,
            waiting: BTreeMap::new(),
            passes: 0,
            used: now,
            refill: None,
        }
    }

    /// Lets somebody wait. The number keeps those apart who are equal in all else, in the order of their coming.
    pub(super) fn wait(&mut self, entry: Entry, number: u64, reply: RpcReplyPort<Pass>, now: Instant) {
        self.used = now;
        let turns = self.waiting.entry(entry.class).or_default();
        if !turns.queues.contains_key(&entry.namespace) {
            turns.order.push_back(entry.namespace.clone());
        }
        let queue = turns.queues.entry(entry.namespace).or_default();
        queue.insert((entry.expiration, number), reply);
    }

    /// A call is over.
    pub(super) fn leave(&mut self, now: Instant) {
        self.used = now;
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Takes out the next who may go.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if !self.somebody_waits() || self.in_flight >= self.limits.concurrency {
            return Next::Nobody;
        }
        if !self.budget.take(now) {
            return Next::Later(self.budget.wait());
        }
        self.passes = self.passes.wrapping_add(1);
        let popped = match self.passes.is_multiple_of(LONGEST_WAIT_EVERY) {
            true => self.pop_longest_waiting(),
            false => self.pop(),
        };
        match popped {
            Some(reply) => {
                self.in_flight += 1;
                Next::Go(reply)
            }
            None => Next::Nobody,
        }
    }

    /// Takes the one out that came first of those whose turn it is in their class.
    fn pop_longest_waiting(&mut self) -> Option<RpcReplyPort<Pass>> {
        let fronts = self.waiting.iter().filter_map(|(class, turns)| {
            let queue = turns.queues.get(turns.order.front()?)?;
            queue.first_key_value().map(|((_, number), _)| (*number, *class))
        });
        let (_, class) = fronts.min_by_key(|(number, _)| *number)?;
        let turns = self.waiting.get_mut(&class)?;
        let reply = turns.pop();
        if turns.order.is_empty() {
            self.waiting.remove(&class);
        }
        reply
    }

    /// Whether anybody waits. Those at the front who have given up are taken out: they cost nothing.
    fn somebody_waits(&mut self) -> bool {
        while let Some(first) = self.waiting.first_entry() {
            match first.get().front() {
                Some(reply) if !reply.is_closed() => return true,
                _ => {
                    self.pop();
                }
            }
        }
        false
    }

    fn pop(&mut self) -> Option<RpcReplyPort<Pass>> {
        let mut first = self.waiting.first_entry()?;
        let reply = first.get_mut().pop();
        if first.get().order.is_empty() {
            first.remove();
        }
        reply
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        let queues = self.waiting.values().flat_map(|turns| turns.queues.values());
        queues.map(BTreeMap::len).sum()
    }

    /// Whether nothing would be lost if it were forgotten.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let unused = now.saturating_duration_since(self.used);
        self.in_flight == 0
            && self.waiting.is_empty()
            && (unused >= IDLE_MAX || (unused >= IDLE && self.budget.has_recovered()))
    }
}

impl Turns {
    fn front(&self) -> Option<&RpcReplyPort<Pass>> {
        let queue = self.queues.get(self.order.front()?)?;
        queue.first_key_value().map(|(_, reply)| reply)
    }

    fn pop(&mut self) -> Option<RpcReplyPort<Pass>> {
        let namespace = self.order.pop_front()?;
        let mut queue = self.queues.remove(&namespace)?;
        let (_, reply) = queue.pop_first()?;
        if !queue.is_empty() {
            self.queues.insert(namespace.clone(), queue);
            self.order.push_back(namespace);
        }
        Some(reply)
    }
}
