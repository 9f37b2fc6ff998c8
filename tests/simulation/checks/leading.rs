//! What is promised of the replicas: never two that act, and soon another one when the one that leads is gone.

use super::Checks;

/// How long it may take until another replica leads after one that is gone from one moment to the next, in milliseconds.
const TAKEOVER_MAX: i64 = 17_000;

/// The same after one that was told to stop.
const HAND_OVER_MAX: i64 = 1000;

/// A process that shares its work with no other.
const ALONE: u64 = 0;

/// Who leads.
#[derive(Default)]
pub(super) struct Leading {
    /// The process that got the Lease last.
    leader: Option<u64>,
    vacancy: Option<Vacancy>,
}

/// Nobody leads.
struct Vacancy {
    /// Since when, in milliseconds of the epoch.
    since: i64,
    /// How long it may last, unless somebody gets in the way.
    limit: Option<i64>,
}

impl Checks {
    /// A process calls AWS, or the API server for a resource.
    pub fn acts(&self, process: u64) {
        let leader = self.state().leading.leader;
        if process != ALONE && leader != Some(process) {
            self.fail(&format!("replica {process} acts, and {leader:?} leads"));
        }
    }

    /// The one that leads is gone, or cannot act any more. `clean` if it was told to, and another one stands by if `limited`.
    pub fn leader_goes(&self, clean: bool, limited: bool) {
        let limit = if clean { HAND_OVER_MAX } else { TAKEOVER_MAX };
        let vacancy = Vacancy {
            since: self.time.now().as_millisecond(),
            limit: limited.then_some(limit),
        };
        let before = self.state().leading.vacancy.replace(vacancy);
        if before.is_none() {
            self.begin_outage("operator");
        }
    }

    /// A call for the Lease failed or was slow, or the watch on it tells nothing: then it takes longer.
    pub fn lease_is_in_trouble(&self) {
        if let Some(vacancy) = &mut self.state().leading.vacancy {
            vacancy.limit = None;
        }
    }

    /// A process got the Lease. Its watches are heard, so that it knows all there is to know, but what only the other one knew.
    pub fn begins_to_lead(&self, process: u64, heard: bool) {
        self.note(&format!("* replica {process} leads"));
        self.pauses_forgotten();
        if !heard {
            self.all_statuses_unknown();
        }
        let now = self.time.now().as_millisecond();
        let vacancy = {
            let mut state = self.state();
            state.leading.leader = Some(process);
            state.leading.vacancy.take()
        };
        let Some(vacancy) = vacancy else {
            return;
        };
        self.end_outage("operator");
        let Some(limit) = vacancy.limit else {
            return;
        };
        let took = now - vacancy.since;
        if took > limit {
            self.fail(&format!(
                "replica {process} leads {took} ms after the one before was gone"
            ));
        }
        let figures = &mut self.state().figures;
        let worst = match limit {
            HAND_OVER_MAX => &mut figures.worst_hand_over,
            _ => &mut figures.worst_takeover,
        };
        *worst = (*worst).max(Some(took));
        figures.takeovers += 1;
    }
}
