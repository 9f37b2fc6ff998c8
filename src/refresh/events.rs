//! The events of a resource: what is worth saying to whoever runs `kubectl describe`, and when it is said anew. A routine refresh is not.

use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Failure, Outcome};
use super::plan::{IssueReason, RepairReason};
use crate::api::AWSAssumeRoleStatus;
use crate::cluster::Event;
use crate::cluster::event::Severity;

/// The same event within that time of the one before is counted on it. Longer than the longest pause between two attempts, and much shorter
/// than the hour for which the API server keeps events.
const SERIES: Duration = Duration::from_secs(600);

/// How often an event that recurs is written, at most. When AWS is away every resource fails again and again, and the API server must not
/// pay for it.
const REWRITE: Duration = Duration::from_secs(300);

/// The reasons of events. The words are stable, like those of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
pub enum EventReason {
    /// The first credentials were written, or the first after a failure.
    Issued,
    /// An attempt failed.
    RefreshFailed,
    /// The Secret was deleted or edited, and is as it should be again.
    SecretRepaired,
    /// The Secret belongs to somebody else.
    SecretConflict,
}

impl EventReason {
    fn event(self, note: String) -> Event {
        let (severity, action) = match self {
            Self::Issued => (Severity::Normal, "Refresh"),
            Self::RefreshFailed => (Severity::Warning, "Refresh"),
            Self::SecretRepaired => (Severity::Normal, "Repair"),
            Self::SecretConflict => (Severity::Warning, "Write"),
        };
        Event::new(severity, self.into(), action, note)
    }
}

/// The last event of a resource, as the next may be counted on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastEvent {
    /// What it says.
    event: Event,
    /// The name of the object.
    name: String,
    /// How often it has happened.
    count: i32,
    /// When it happened last.
    at: Instant,
    /// When it was last written.
    written: Instant,
}

/// How an event is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// As a new one.
    New,
    /// On the object of that name, which has happened that often by now.
    Repeat {
        /// The name of the object.
        name: String,
        /// How often it has happened.
        count: i32,
    },
    /// Not at all, for now: it is counted, and written with a later one.
    Counted,
}

impl LastEvent {
    /// An event that was just written to an object of that name.
    #[must_use]
    pub fn written(event: Event, name: String, count: i32, now: Instant) -> Self {
        Self {
            event,
            name,
            count,
            at: now,
            written: now,
        }
    }

    /// Whether the same may happen again soon enough to be counted on it. What says that the first credentials are there names their end.
    #[must_use]
    pub fn may_recur(&self, now: Instant) -> bool {
        let names_a_moment = self.event.reason == <&str>::from(EventReason::Issued);
        !names_a_moment && now.saturating_duration_since(self.at) < SERIES
    }

    /// How an event is published that happens after this one: the first time that the same happens again is written at once, later ones now
    /// and then.
    pub fn publish(&mut self, event: &Event, now: Instant) -> Publication {
        if self.event != *event || now.saturating_duration_since(self.at) >= SERIES {
            return Publication::New;
        }
        let count = self.count.saturating_add(1);
        if self.count > 1 && now.saturating_duration_since(self.written) < REWRITE {
            self.count = count;
            self.at = now;
            return Publication::Counted;
        }
        Publication::Repeat {
            name: self.name.clone(),
            count,
        }
    }
}

/// The event that a cycle is worth, given the status before it.
#[must_use]
pub fn event_of(previous: &AWSAssumeRoleStatus, outcome: &Outcome, secret_name: &str) -> Option<Event> {
    let first = previous.last_refresh_time.is_none();
    let failed_before = previous.failures.is_some_and(|failures| failures > 0);
    let (reason, note) = match outcome {
        Outcome::Issued { role_arn, validity, .. } if first || failed_before => (
            EventReason::Issued,
            format!(
                "Secret {secret_name} holds credentials of {role_arn} until {}.",
                validity.expiration
            ),
        ),
        Outcome::Issued {
            why: IssueReason::Deleted,
            ..
        } => (
            EventReason::SecretRepaired,
            format!("Secret {secret_name} was deleted. It holds fresh credentials again."),
        ),
        Outcome::Issued {
            why: IssueReason::Edited,
            ..
        } => (
            EventReason::SecretRepaired,
            format!("The credentials in Secret {secret_name} were edited. It holds fresh ones again."),
        ),
        Outcome::Repaired(_, RepairReason::Edited) => (
            EventReason::SecretRepaired,
            format!("Secret {secret_name} was edited beside its credentials. It is as it should be again."),
        ),
        Outcome::Issued { .. } | Outcome::Repaired(..) | Outcome::Kept(_) | Outcome::Suspended(_) => return None,
        // These pass by themselves, at once.
        Outcome::Failed(Failure::Stopping(_) | Failure::SecretTerminating(_) | Failure::NamespaceTerminating) => {
            return None;
        }
        Outcome::Failed(failure @ Failure::SecretConflict { .. }) => (EventReason::SecretConflict, failure.to_string()),
        Outcome::Failed(failure) => (EventReason::RefreshFailed, format!("{}: {failure}", failure.reason())),
    };
    Some(reason.event(note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::schedule::Validity;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    const VALIDITY: Validity = Validity {
        issued: Timestamp::UNIX_EPOCH,
        expiration: Timestamp::UNIX_EPOCH,
    };

    fn issued(why: IssueReason) -> Outcome {
        Outcome::Issued {
            why,
            role_arn: "arn".into(),
            validity: VALIDITY,
            notes: Vec::new(),
        }
    }

    fn conflict() -> Outcome {
        Outcome::Failed(Failure::SecretConflict {
            secret: "s".into(),
            holder: "belongs to nobody".into(),
        })
    }

    fn status(failures: i32) -> AWSAssumeRoleStatus {
        AWSAssumeRoleStatus {
            observed_generation: Some(1),
            last_refresh_time: Some(Time(Timestamp::UNIX_EPOCH)),
            failures: Some(failures),
            ..AWSAssumeRoleStatus::default()
        }
    }

    fn reason(previous: &AWSAssumeRoleStatus, outcome: &Outcome) -> Option<&'static str> {
        event_of(previous, outcome, "s").map(|event| event.reason)
    }

    #[test]
    fn news_is_an_event_and_routine_is_not() {
        let new = AWSAssumeRoleStatus::default();
        assert_eq!(reason(&new, &issued(IssueReason::New)), Some("Issued"));
        assert_eq!(reason(&status(0), &issued(IssueReason::Due)), None);
        assert_eq!(reason(&status(2), &issued(IssueReason::Due)), Some("Issued"));
        assert_eq!(reason(&status(0), &issued(IssueReason::Requested)), None);
        assert_eq!(reason(&status(0), &issued(IssueReason::SpecChanged)), None);
        for why in [IssueReason::Edited, IssueReason::Deleted] {
            assert_eq!(reason(&status(0), &issued(why)), Some("SecretRepaired"));
        }
        let repaired = |why| reason(&status(0), &Outcome::Repaired(VALIDITY, why));
        assert_eq!(repaired(RepairReason::Edited), Some("SecretRepaired"));
        assert_eq!(repaired(RepairReason::SpecChanged), None);
        assert_eq!(reason(&status(0), &Outcome::Kept(VALIDITY)), None);
        assert_eq!(reason(&status(0), &Outcome::Suspended(None)), None);
        assert_eq!(reason(&new, &conflict()), Some("SecretConflict"));
        let terminating = Outcome::Failed(Failure::SecretTerminating("s".into()));
        assert_eq!(reason(&new, &terminating), None);
        let failed = event_of(&new, &Outcome::Failed(Failure::Chained), "s").unwrap();
        assert_eq!((failed.reason, failed.severity), ("RefreshFailed", Severity::Warning));
        assert!(failed.note().starts_with("InvalidRequest: "));
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_again_is_counted_for_a_while() {
        let now = Instant::now();
        let event = |note: &str| EventReason::RefreshFailed.event(note.to_owned());
        let mut last = LastEvent::written(event("so"), "x".into(), 1, now);
        let repeat = |count| Publication::Repeat {
            name: "x".into(),
            count,
        };
        assert_eq!(
            last.publish(&event("so"), now + Duration::from_secs(600)),
            Publication::New
        );
        assert_eq!(last.publish(&event("otherwise"), now), Publication::New);
        // Once, twice, and then every five minutes.
        assert_eq!(last.publish(&event("so"), now + Duration::from_secs(5)), repeat(2));
        let mut series = LastEvent::written(event("so"), "x".into(), 2, now);
        for seconds in [20, 60, 299] {
            let at = now + Duration::from_secs(seconds);
            assert_eq!(series.publish(&event("so"), at), Publication::Counted, "{seconds}");
        }
        assert_eq!(series.publish(&event("so"), now + Duration::from_secs(300)), repeat(6));
    }
}
