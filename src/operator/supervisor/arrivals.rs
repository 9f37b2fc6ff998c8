//! Resources that have no credentials, or whose credentials can wait, are taken up in turn. Ten thousand that come at once wait for AWS and the
//! API server in any case, and one that waits here costs a few bytes where an actor in the middle of its first cycle costs tens of kilobytes.
//!
//! Nobody waits for another namespace, nor, within one, for those whose calls go to another Region or registry: what hangs or throttles costs
//! only those who use it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};

use super::children::Work;
use super::{SupervisorMessage, SupervisorState};
use crate::operator::role::{Beginning, RoleMessage};
use crate::spec::Resource;

/// How many first cycles there should be at the same time, over all queues.
const PLACES: usize = 128;

/// The most that one queue may have.
const PLACES_MAX: usize = 32;

/// What each queue may have, however many there are.
const PLACES_MIN: usize = 4;

/// The most queues that one namespace may have: whoever names many Regions must not have places for each.
const QUEUES: u64 = 16;

/// The resources that wait for their turn, and those in their first cycle.
#[derive(Default)]
pub(super) struct Arrivals {
    /// By UID: the queue of each, and its number in it while it waits.
    places: HashMap<Arc<str>, (Line, Option<u64>)>,
    queues: HashMap<Line, Queue>,
    /// The queues that may have room for somebody who waits.
    changed: Vec<Line>,
    /// Counts those that came.
    number: u64,
}

/// A namespace, and which of its queues.
type Line = (Arc<str>, u64);

#[derive(Default)]
struct Queue {
    /// How many are in their first cycle.
    begun: usize,
    waiting: BTreeMap<u64, Arc<str>>,
}

impl Arrivals {
    /// A resource comes. One that is there already keeps its turn.
    fn come(&mut self, resource: &Resource) {
        let uid = &resource.key.uid;
        if self.places.contains_key(uid) {
            return;
        }
        self.number += 1;
        let line = line_of(resource);
        self.places.insert(uid.clone(), (line.clone(), Some(self.number)));
        let queue = self.queues.entry(line.clone()).or_default();
        queue.waiting.insert(self.number, uid.clone());
        self.changed.push(line);
    }

    /// A resource has ended its first cycle, or does not wait any more.
    pub(super) fn leave(&mut self, uid: &Arc<str>) {
        let Some((line, number)) = self.places.remove(uid) else {
            return;
        };
        let Some(queue) = self.queues.get_mut(&line) else {
            return;
        };
        match number {
            Some(number) => drop(queue.waiting.remove(&number)),
            None => queue.begun -= 1,
        }
        if queue.begun > 0 || !queue.waiting.is_empty() {
            self.changed.push(line);
            return;
        }
        self.queues.remove(&line);
        if self.queues.is_empty() {
            *self = Self::default();
        }
    }

    /// The next whose turn it is now.
    fn next(&mut self) -> Option<Arc<str>> {
        let most = (PLACES / self.queues.len().max(1)).clamp(PLACES_MIN, PLACES_MAX);
        while let Some(line) = self.changed.last() {
            if let Some(queue) = self.queues.get_mut(line)
                && queue.begun < most
                && let Some((_, uid)) = queue.waiting.pop_first()
            {
                queue.begun += 1;
                if let Some((_, number)) = self.places.get_mut(&uid) {
                    *number = None;
                }
                return Some(uid);
            }
            self.changed.pop();
        }
        None
    }
}

/// The queue of a resource, by what its calls draw on.
fn line_of(resource: &Resource) -> Line {
    let mut hasher = DefaultHasher::new();
    if let Ok(spec) = &resource.spec {
        spec.region.hash(&mut hasher);
        for registry in spec.format.registries() {
            (&registry.account, &registry.region).hash(&mut hasher);
        }
    }
    (resource.key.namespace.clone(), hasher.finish() % QUEUES)
}

impl SupervisorState {
    /// Has a resource taken up that can wait, or told of another ruling where its actor rests, when it is its turn, which mostly is now.
    pub(super) async fn take_up_in_turn(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(child) = self.children.get(uid) {
            self.arrivals.come(&child.resource);
        }
        self.admit(myself).await
    }

    /// Starts the actors of those whose turn it is.
    pub(super) async fn admit(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        while let Some(uid) = self.arrivals.next() {
            match self.children.get(&uid).map(|child| &child.work) {
                Some(Work::Waiting(_)) => match self.rest_in_order(myself, &uid) {
                    Some(memory) => self.start(myself, &uid, Beginning::First(memory)).await?,
                    None => self.arrivals.leave(&uid),
                },
                Some(Work::Resting(_)) => self.send(myself, &uid, RoleMessage::PolicyChanged).await?,
                // Its actor has been started since, not necessarily with a cycle, which would have reported.
                Some(Work::Awake(_) | Work::Settling(..)) => {
                    self.arrivals.leave(&uid);
                    if self.children.get(&uid).is_some_and(|child| child.told) {
                        self.send(myself, &uid, RoleMessage::PolicyChanged).await?;
                    }
                }
                Some(Work::Failed { .. }) | None => self.arrivals.leave(&uid),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "arrivals_tests.rs"]
mod tests;
