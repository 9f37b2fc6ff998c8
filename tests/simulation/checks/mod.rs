//! The promises, as assertions that are checked at every step of a life.

mod calls;
mod clock;
mod identity;
mod leading;
mod outages;
mod permission;
mod secrets;
mod statuses;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use support::strict_aws::StrictAws;

use crate::figures::Figures;
use crate::place::Place;
use crate::process::Process;
use crate::time::Time;

use calls::Calls;
use identity::Recovery;
use leading::Leading;
use outages::Outages;
pub use permission::Refusal;
use secrets::HeldCredentials;

/// How much of the history is kept.
const HISTORY: usize = 20_000;

/// How much of it is printed when a promise is broken.
const PRINTED: usize = 60;

struct State {
    seed: u64,
    figures: Figures,
    outages: Outages,
    /// The credentials in each Secret.
    held: BTreeMap<Place, HeldCredentials>,
    /// Where the resources are, by UID.
    homes: BTreeMap<String, Place>,
    /// When the resources came that have had no credentials yet, by UID.
    newcomers: BTreeMap<String, i64>,
    /// The calls to AWS, by the UID of the resource that they are made for.
    calls: BTreeMap<String, Calls>,
    deleted: BTreeSet<String>,
    /// Whom the policies refuse, and since when, in seconds of the epoch.
    refusals: Vec<(Refusal, i64)>,
    identity: Recovery,
    leading: Leading,
    /// The process that AWS told the right time, and when that was last.
    told: Option<(Process, i64)>,
    /// The resources whose status may be written again as it is stored, because the operator cannot know that it is.
    unknown_statuses: BTreeSet<String>,
    /// The latest events, to be printed when a promise is broken.
    history: VecDeque<String>,
}

#[derive(Clone)]
pub struct Checks {
    state: Arc<Mutex<State>>,
    time: Time,
    aws: StrictAws,
}

impl Checks {
    pub fn new(seed: u64, time: Time, aws: StrictAws) -> Self {
        let state = State {
            seed,
            figures: Figures::default(),
            outages: Outages::default(),
            held: BTreeMap::new(),
            homes: BTreeMap::new(),
            newcomers: BTreeMap::new(),
            calls: BTreeMap::new(),
            deleted: BTreeSet::new(),
            refusals: Vec::new(),
            identity: Recovery::default(),
            leading: Leading::default(),
            told: None,
            unknown_statuses: BTreeSet::new(),
            history: VecDeque::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            time,
            aws,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    /// Seconds of the epoch.
    fn seconds(&self) -> i64 {
        self.time.now().as_second()
    }

    /// Writes an event into the history.
    pub fn note(&self, event: &str) {
        let line = format!("{:>8}  {event}", self.time.seconds());
        let mut state = self.state();
        if state.history.len() == HISTORY {
            state.history.pop_front();
        }
        state.history.push_back(line);
    }

    pub fn resource_created(&self, uid: &str, place: &Place) {
        self.note(&format!("{uid} is {place}"));
        let now = self.seconds();
        let mut state = self.state();
        state.homes.insert(uid.to_owned(), place.clone());
        if !place.is_hostile() {
            state.newcomers.insert(uid.to_owned(), now);
        }
    }

    /// A resource will not get credentials by itself.
    pub fn is_in_conflict(&self, uid: &str) {
        self.state().newcomers.remove(uid);
    }

    pub fn count(&self, kind: &str) {
        self.state().figures.count(kind);
    }

    pub fn figures(&self) -> Figures {
        let mut figures = self.state().figures.clone();
        figures.calls = self.aws.counts();
        figures
    }

    /// Ends a life in which a promise was broken.
    pub fn fail(&self, what: &str) -> ! {
        let state = self.state();
        // What the complaint is about are the words in it that name something.
        let named: Vec<&str> = what
            .split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '/'))
            .filter(|word| word.starts_with("uid-") || word.contains("/s-"))
            .collect();
        let lines: Vec<&String> = state
            .history
            .iter()
            .filter(|line| line.contains("  * ") || named.iter().any(|name| line.contains(name)))
            .collect();
        for line in &lines[lines.len().saturating_sub(PRINTED)..] {
            eprintln!("{line}");
        }
        // The actors live in tasks, whose panics are theirs alone.
        eprintln!("seed {}, second {}: {what}", state.seed, self.time.seconds());
        std::process::exit(101);
    }
}
