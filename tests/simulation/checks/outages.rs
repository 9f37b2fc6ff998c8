//! When a refresh could not be made, and for how long it could.

use std::collections::{BTreeMap, VecDeque};

use super::Checks;

/// How many outages of a kind are remembered.
const REMEMBERED: usize = 200;

/// What keeps refreshes from being made: for every resource, or for single ones.
#[derive(Default)]
pub(super) struct Outages {
    general: BTreeMap<&'static str, Outage>,
    /// By the UID of the resource.
    single: BTreeMap<String, Outage>,
    /// For those who share something that may be away.
    shared: BTreeMap<&'static str, Outage>,
    /// What a resource shares with others, by UID.
    sharers: BTreeMap<String, Vec<&'static str>>,
    /// When the first general outage ended after which not everything has been seen in order again.
    pub(super) recovering: Option<i64>,
}

/// The outages of one kind, in seconds of the epoch.
#[derive(Default)]
struct Outage {
    since: Option<i64>,
    /// How many go on at the same time.
    depth: u32,
    past: VecDeque<(i64, i64)>,
}

impl Checks {
    pub fn begin_outage(&self, what: &'static str) {
        self.note(&format!("* {what} is away"));
        let now = self.seconds();
        let mut state = self.state();
        state.identity.forget();
        state.outages.general.entry(what).or_default().begin(now);
    }

    pub fn end_outage(&self, what: &'static str) {
        self.note(&format!("* {what} is back"));
        let now = self.seconds();
        let outages = &mut self.state().outages;
        outages.general.entry(what).or_default().end(now);
        outages.recovering.get_or_insert(now);
    }

    /// A resource needs something that it shares with others.
    pub fn shares(&self, uid: &str, what: &'static str) {
        let outages = &mut self.state().outages;
        outages.sharers.entry(uid.to_owned()).or_default().push(what);
    }

    pub fn begin_outage_for_sharers(&self, what: &'static str) {
        self.note(&format!("* {what} is away for those who share it"));
        let now = self.seconds();
        self.state().outages.shared.entry(what).or_default().begin(now);
    }

    pub fn end_outage_for_sharers(&self, what: &'static str) {
        self.note(&format!("* {what} is back for those who share it"));
        let now = self.seconds();
        self.state().outages.shared.entry(what).or_default().end(now);
    }

    pub fn begin_outage_of(&self, uid: &str) {
        self.note(&format!("{uid} cannot be refreshed"));
        let now = self.seconds();
        let outages = &mut self.state().outages;
        outages.single.entry(uid.to_owned()).or_default().begin(now);
    }

    pub fn end_outage_of(&self, uid: &str) {
        self.note(&format!("{uid} can be refreshed again"));
        let now = self.seconds();
        let outages = &mut self.state().outages;
        outages.single.entry(uid.to_owned()).or_default().end(now);
    }
}

impl Outages {
    fn of(&self, uid: &str) -> impl Iterator<Item = &Outage> {
        let shared = self.sharers.get(uid).into_iter().flatten();
        let shared = shared.filter_map(|what| self.shared.get(what));
        self.general.values().chain(self.single.get(uid)).chain(shared)
    }

    pub(super) fn goes_on(&self, what: &str) -> bool {
        self.general.get(what).is_some_and(|outage| outage.since.is_some())
    }

    pub(super) fn is_general(&self) -> bool {
        self.general.values().any(|outage| outage.since.is_some())
    }

    pub(super) fn affect(&self, uid: &str) -> bool {
        self.of(uid).any(|outage| outage.since.is_some())
    }

    /// The longest time between two moments without an outage that affects a resource.
    pub(super) fn longest_without(&self, uid: &str, begin: i64, end: i64) -> i64 {
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for outage in self.of(uid) {
            spans.extend(outage.since.map(|since| (since, i64::MAX)));
            spans.extend(outage.past.iter().filter(|(_, until)| *until > begin));
        }
        spans.sort_unstable();
        let mut longest = 0;
        let mut free_since = begin;
        for (from, until) in spans {
            longest = longest.max(from.min(end) - free_since);
            free_since = free_since.max(until);
            if free_since >= end {
                return longest;
            }
        }
        longest.max(end - free_since)
    }
}

impl Outage {
    fn begin(&mut self, now: i64) {
        self.depth += 1;
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: i64) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 {
            return;
        }
        if let Some(since) = self.since.take() {
            self.past.push_back((since, now));
            if self.past.len() > REMEMBERED {
                self.past.pop_front();
            }
        }
    }
}
