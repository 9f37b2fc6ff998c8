//! What a life did, so that nobody has to believe that it tested anything.

use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Credentials written into Secrets.
    pub refreshes: u64,
    /// What was made to happen, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Calls to AWS, by kind and outcome.
    pub calls: BTreeMap<String, u64>,
    /// The smallest time that replaced credentials still had to live, in seconds, where nothing excused a smaller one.
    pub smallest_margin: Option<i64>,
    /// The same, whatever excused it. It is negative where credentials ended first.
    pub smallest_margin_at_all: Option<i64>,
    /// The longest time from the end of an outage until every Secret was valid again, in seconds.
    pub worst_recovery: Option<u64>,
    /// The longest time until another identity of the operator was used once it was to be had, in seconds.
    pub worst_identity: Option<u64>,
    /// How often a replica took over from another.
    pub takeovers: u64,
    /// The longest time until one did after the one before was gone from one moment to the next, in milliseconds.
    pub worst_takeover: Option<i64>,
    /// The longest time until one did after the one before was told to stop, in milliseconds.
    pub worst_hand_over: Option<i64>,
    /// The longest that a resource of those who mean well waited for its first credentials while nothing excused it, in seconds.
    pub slowest_newcomer: i64,
    /// The most calls for one resource within a minute.
    pub busiest_minute: usize,
    /// Statuses that were written, by the reason of `Ready`.
    pub statuses: BTreeMap<String, u64>,
    /// Seconds during which Secrets held expired credentials although they need not have.
    pub expired_seconds: u64,
    /// Secrets whose credentials ended while everything that could have renewed them was away.
    pub excused: u64,
}

impl Figures {
    pub fn count(&mut self, kind: &str) {
        *self.faults.entry(kind.to_owned()).or_default() += 1;
    }

    /// Credentials were replaced that still had that many seconds to live.
    pub fn replaced(&mut self, margin: i64) {
        let smallest = self.smallest_margin_at_all.get_or_insert(margin);
        *smallest = margin.min(*smallest);
    }

    /// Nothing would have excused a later replacement.
    pub fn replaced_without_excuse(&mut self, margin: i64) {
        let smallest = self.smallest_margin.get_or_insert(margin);
        *smallest = margin.min(*smallest);
    }

    pub fn injected(&self) -> u64 {
        self.faults.values().sum()
    }

    pub fn add(&mut self, other: &Self) {
        self.refreshes += other.refreshes;
        self.expired_seconds += other.expired_seconds;
        self.excused += other.excused;
        for (kind, number) in &other.faults {
            *self.faults.entry(kind.clone()).or_default() += number;
        }
        for (kind, number) in &other.calls {
            *self.calls.entry(kind.clone()).or_default() += number;
        }
        for (reason, number) in &other.statuses {
            *self.statuses.entry(reason.clone()).or_default() += number;
        }
        self.takeovers += other.takeovers;
        self.worst_takeover = self.worst_takeover.max(other.worst_takeover);
        self.worst_hand_over = self.worst_hand_over.max(other.worst_hand_over);
        self.slowest_newcomer = self.slowest_newcomer.max(other.slowest_newcomer);
        self.busiest_minute = self.busiest_minute.max(other.busiest_minute);
        self.worst_identity = self.worst_identity.max(other.worst_identity);
        self.smallest_margin = [self.smallest_margin, other.smallest_margin]
            .into_iter()
            .flatten()
            .min();
        self.smallest_margin_at_all = [self.smallest_margin_at_all, other.smallest_margin_at_all]
            .into_iter()
            .flatten()
            .min();
        self.worst_recovery = self.worst_recovery.max(other.worst_recovery);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} refreshes, {} things injected, expired although avoidable {} s, excused {}, smallest margin {} s, worst recovery {} s, of the identity {} s, {} takeovers, the slowest after {} ms, when told after {} ms, slowest newcomer {} s, busiest minute of a resource {} calls; injected {:?}; calls {:?}; statuses {:?}",
            self.refreshes,
            self.injected(),
            self.expired_seconds,
            self.excused,
            self.smallest_margin.unwrap_or_default(),
            self.worst_recovery.unwrap_or_default(),
            self.worst_identity.unwrap_or_default(),
            self.takeovers,
            self.worst_takeover.unwrap_or_default(),
            self.worst_hand_over.unwrap_or_default(),
            self.slowest_newcomer,
            self.busiest_minute,
            self.faults,
            self.calls,
            self.statuses,
        )
    }
}
