//! Who leads, as far as one replica can tell, and what it does about that. Plain values: no client, no timer.
//!
//! Each replica measures by a clock of its own that nobody sets. The times in the Lease are never compared: somebody may act for as long as a
//! Lease lasts from when it was last seen to change, as with client-go. A holder counts from the moment at which it sent its last renewal,
//! which lies before anybody can have seen that change, and stops before the Lease has run out for the others.
//! <https://pkg.go.dev/k8s.io/client-go/tools/leaderelection>

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::cluster::lease::{Lease, LeaseRecord};

/// How long a Lease lasts for whoever sees it.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// How long its holder acts after it sent the last renewal that was taken. What is left is for letting go of everything.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);

/// How often it is renewed.
pub const RENEW_INTERVAL: Duration = Duration::from_secs(2);

/// The least time between an attempt that failed and the next.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// After so long without news of the Lease it is looked at: the watch tells of each renewal, unless it is broken.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The duration that a holder leaves behind that lets go of the Lease, as with client-go: the least that there is.
const RELEASED: Duration = Duration::from_secs(1);

/// What a replica knows of the Lease, and of its own part. All moments are time since the start of the machine.
#[derive(Debug)]
pub struct Election {
    /// This replica's own, which no other process has, nor this one's successor in the same container.
    identity: String,
    /// The resources are known, so that it can lead.
    contends: bool,
    /// The Lease as it was last seen, and when. Nothing before the first look.
    seen: Option<(Option<Lease>, Duration)>,
    /// It may be another one by now, and has to be looked at.
    doubted: bool,
    /// Until when somebody else may act.
    rival_until: Option<Duration>,
    term: Option<Term>,
    /// There is no attempt before that.
    not_before: Duration,
}

/// The time in which this replica acts.
#[derive(Clone, Copy, Debug)]
struct Term {
    /// When the last renewal was sent that was taken.
    renewed: Duration,
}

impl Term {
    fn end(self) -> Duration {
        self.renewed + RENEW_DEADLINE
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look at the Lease.
    Look,
    /// Take it.
    Acquire,
    /// Renew it.
    Renew,
    /// Stop acting, at once.
    StepDown(Lost),
    /// Nothing before that moment.
    Wait(Duration),
}

/// Why a replica leads no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The Lease could not be renewed in time.
    #[error("the lease could not be renewed for {} s", RENEW_DEADLINE.as_secs())]
    Expired,
    /// It has another holder.
    #[error("the lease is held by {0}")]
    Taken(String),
    /// It has no holder, or is not there any more: somebody took it away by hand.
    #[error("the lease was taken away")]
    TakenAway,
}

impl Election {
    /// A replica that knows nothing yet.
    #[must_use]
    pub fn new(identity: String) -> Self {
        Self {
            identity,
            contends: false,
            seen: None,
            doubted: false,
            rival_until: None,
            term: None,
            not_before: Duration::ZERO,
        }
    }

    /// What is to be done now.
    #[must_use]
    pub fn next(&self, now: Duration) -> Step {
        match self.term {
            Some(term) => self.next_of_leader(term, now),
            None => self.next_of_standby(now),
        }
    }

    fn next_of_leader(&self, term: Term, now: Duration) -> Step {
        if now >= term.end() {
            return Step::StepDown(Lost::Expired);
        }
        match self.holder() {
            Some(holder) if holder == self.identity => {}
            Some(other) => return Step::StepDown(Lost::Taken(other.to_owned())),
            None => return Step::StepDown(Lost::TakenAway),
        }
        let due = match self.doubted {
            true => self.not_before,
            false => self.not_before.max(term.renewed + RENEW_INTERVAL),
        };
        match (now >= due, self.doubted) {
            (false, _) => Step::Wait(due.min(term.end())),
            (true, true) => Step::Look,
            (true, false) => Step::Renew,
        }
    }

    fn next_of_standby(&self, now: Duration) -> Step {
        if now < self.not_before {
            return Step::Wait(self.not_before);
        }
        let look_at = match &self.seen {
            Some((_, at)) if !self.doubted => *at + LOOK_INTERVAL,
            _ => return Step::Look,
        };
        let free_at = self.rival_until.unwrap_or(now);
        // One that is there is taken as it was seen, or not at all. One that is not may have been there meanwhile.
        let is_old = now >= look_at;
        match self.contends {
            true if now >= free_at && !(is_old && self.lease() == Some(None)) => Step::Acquire,
            _ if is_old => Step::Look,
            true => Step::Wait(free_at.min(look_at)),
            false => Step::Wait(look_at),
        }
    }

    /// The resources are known.
    pub fn contend(&mut self) {
        self.contends = true;
    }

    /// The Lease was seen so, or seen not to be there.
    pub fn see(&mut self, lease: Option<Lease>, now: Duration) {
        if let (Some(Some(known)), Some(lease)) = (self.lease(), &lease)
            && lease.is_older_than(known)
        {
            return;
        }
        let before = self.seen.take();
        self.rival_until = self.rival(before, lease.as_ref(), now);
        self.doubted = false;
        self.seen = Some((lease, now));
    }

    /// Until when somebody else may act, after the Lease was seen once more.
    fn rival(
        &self,
        before: Option<(Option<Lease>, Duration)>,
        lease: Option<&Lease>,
        now: Duration,
    ) -> Option<Duration> {
        let ours = |lease: &Lease| lease.record.holder.as_ref() == Some(&self.identity);
        let leads = self.end_of_term().is_some_and(|end| now < end);
        match (lease, &before) {
            (Some(lease), Some((Some(before), _))) if lease.uid == before.uid && lease.record == before.record => {
                self.rival_until
            }
            (Some(lease), _) if ours(lease) || is_released(&lease.record) => None,
            // A successor of this version may want it for longer.
            (Some(lease), _) if lease.record.holder.is_some() => Some(now + lease.record.duration.max(LEASE_DURATION)),
            (None, None) => None,
            (None, Some((None, at))) if now < *at + LEASE_DURATION => self.rival_until,
            // Somebody took its holder out, or deleted it. Whoever held it last may not know yet, which is no other while this one leads.
            (_, Some((Some(before), _))) if ours(before) && leads => None,
            _ => Some(now + LEASE_DURATION),
        }
    }

    /// The Lease may not be as it was seen any more.
    pub fn doubt(&mut self) {
        self.doubted = true;
    }

    /// What was sent at that moment failed: the API server is away, or does not allow it.
    pub fn failed(&mut self, sent: Duration) {
        self.not_before = sent + RETRY_PAUSE;
    }

    /// The Lease was taken or renewed with what was sent at that moment. Gives the end of the time in which this replica may act, if there is
    /// anything left of it.
    pub fn hold(&mut self, lease: Lease, sent: Duration, now: Duration) -> Option<Duration> {
        self.see(Some(lease), now);
        let term = Term { renewed: sent };
        if now >= term.end() || self.holder() != Some(&self.identity) {
            return None;
        }
        self.term = Some(term);
        Some(term.end())
    }

    /// It acts no more.
    pub fn stepped_down(&mut self) {
        self.term = None;
    }

    /// Whether it leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.term.is_some()
    }

    /// The end of the time in which it may act, if it leads.
    #[must_use]
    pub fn end_of_term(&self) -> Option<Duration> {
        self.term.map(Term::end)
    }

    /// The Lease as it was last seen, if there was one.
    #[must_use]
    pub fn lease(&self) -> Option<Option<&Lease>> {
        self.seen.as_ref().map(|(lease, _)| lease.as_ref())
    }

    /// The Lease, if this replica holds it, as far as is known. It need not lead.
    #[must_use]
    pub fn held(&self) -> Option<&Lease> {
        let lease = self.lease().flatten();
        lease.filter(|lease| lease.record.holder.as_ref() == Some(&self.identity))
    }

    fn holder(&self) -> Option<&str> {
        self.lease().flatten()?.record.holder.as_deref()
    }

    /// What the Lease is to say when this replica takes it.
    #[must_use]
    pub fn acquisition(&self, wall: Timestamp) -> LeaseRecord {
        let before = self.lease().flatten().map(|lease| &lease.record);
        let transitions = before.map_or(0, |before| before.transitions);
        let another = before.is_some() && self.held().is_none();
        LeaseRecord {
            holder: Some(self.identity.clone()),
            duration: LEASE_DURATION,
            acquired: Some(wall),
            renewed: self.renewed(wall),
            transitions: transitions.saturating_add(another.into()),
        }
    }

    /// What it is to say when this replica renews it.
    #[must_use]
    pub fn renewal(&self, wall: Timestamp) -> LeaseRecord {
        let before = self.lease().flatten().map(|lease| lease.record.clone());
        LeaseRecord {
            holder: Some(self.identity.clone()),
            duration: LEASE_DURATION,
            renewed: self.renewed(wall),
            ..before.unwrap_or_default()
        }
    }

    /// What it is to say when this replica lets go of it, so that another one need not wait.
    #[must_use]
    pub fn release(&self, wall: Timestamp) -> LeaseRecord {
        LeaseRecord {
            holder: None,
            duration: RELEASED,
            ..self.renewal(wall)
        }
    }

    /// The time of a renewal, by a clock that may be wrong or be set back. No two that follow each other are equal, since the others see by it
    /// that there was one.
    fn renewed(&self, wall: Timestamp) -> Option<Timestamp> {
        // As it is written down.
        let wall = Timestamp::from_microsecond(wall.as_microsecond()).unwrap_or(wall);
        let before = self.lease().flatten().and_then(|lease| lease.record.renewed);
        match before == Some(wall) {
            true => wall.checked_add(SignedDuration::from_micros(1)).ok(),
            false => Some(wall),
        }
    }
}

/// Whether its holder let go of it. A Lease without a holder whose duration is another was taken away from its holder by hand.
fn is_released(record: &LeaseRecord) -> bool {
    record.holder.is_none() && record.duration <= RELEASED
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
