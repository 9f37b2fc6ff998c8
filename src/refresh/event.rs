//! The events of a resource: what is worth telling to who asks `kubectl describe`. A routine refresh is not.

use std::time::Duration;

use tokio::time::Instant;

use super::Trigger;
use super::outcome::{Failure, Outcome};
use crate::resource::AWSAssumeRoleStatus;

/// The longest note that the API server takes, in bytes.
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
const NOTE_MAX: usize = 1024;

/// The same event within that time of the one before is told as one that goes on. Longer than the longest pause between two attempts, and much
/// shorter than the hour for which the API server keeps events.
const SERIES: Duration = Duration::from_secs(600);

/// How often an event that goes on is written, at most. When AWS is away every resource fails again and again, and the API server must not pay
/// for it.
const REWRITE: Duration = Duration::from_secs(300);

/// The reasons of events. The words are stable, as those of the conditions.
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

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Why.
    pub reason: EventReason,
    /// What happened, in a sentence or two.
    pub note: String,
}

impl Event {
    fn new(reason: EventReason, note: impl Into<String>) -> Self {
        let note: String = note.into();
        let note = match note.len() > NOTE_MAX {
            true => format!("{}…", &note[..note.floor_char_boundary(NOTE_MAX - '…'.len_utf8())]),
            false => note,
        };
        Self { reason, note }
    }

    /// Whether somebody should look.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(self.reason, EventReason::RefreshFailed | EventReason::SecretConflict)
    }

    /// What was being done, in one word.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self.reason {
            EventReason::Issued | EventReason::RefreshFailed => "Refresh",
            EventReason::SecretRepaired => "Repair",
            EventReason::SecretConflict => "Write",
        }
    }
}

/// An event that was written, as the next may carry it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What it tells.
    pub event: Event,
    /// The name of the object.
    pub name: String,
    /// How often it has happened.
    pub count: i32,
    /// When it happened last.
    pub at: Instant,
    /// When it was last written.
    pub written: Instant,
}

impl Published {
    /// Whether an event is this one once more.
    #[must_use]
    pub fn goes_on_with(&self, event: &Event, now: Instant) -> bool {
        self.event == *event && now.saturating_duration_since(self.at) < SERIES
    }

    /// Counts it once more, if it goes on with that event and need not be written for it: the first time that it happens again is told at
    /// once, the others now and then.
    pub fn count_silently(&mut self, event: &Event, now: Instant) -> bool {
        let silent =
            self.goes_on_with(event, now) && self.count > 1 && now.saturating_duration_since(self.written) < REWRITE;
        if silent {
            self.count = self.count.saturating_add(1);
            self.at = now;
        }
        silent
    }
}

/// The event that a cycle is worth, given the status before it.
#[must_use]
pub fn event_of(
    previous: &AWSAssumeRoleStatus,
    generation: i64,
    trigger: Trigger,
    outcome: &Outcome,
    secret_name: &str,
) -> Option<Event> {
    let first = previous.last_refresh_time.is_none();
    let failed_before = previous.failures.is_some_and(|failures| failures > 0);
    match outcome {
        Outcome::Issued { role_arn, validity, .. } if first || failed_before => Some(Event::new(
            EventReason::Issued,
            format!(
                "Secret {secret_name} holds credentials of {role_arn} until {}.",
                validity.expiration
            ),
        )),
        Outcome::Issued { .. } if trigger == Trigger::SecretChanged => Some(Event::new(
            EventReason::SecretRepaired,
            format!("Secret {secret_name} was deleted or its credentials were edited; it holds fresh ones again."),
        )),
        // Another spec may want other labels: that is no repair.
        Outcome::Repaired(_) if previous.observed_generation == Some(generation) => Some(Event::new(
            EventReason::SecretRepaired,
            format!("Secret {secret_name} was edited beside its credentials; it is as it should be again."),
        )),
        Outcome::Issued { .. } | Outcome::Repaired(_) | Outcome::Kept(_) | Outcome::Suspended => None,
        // These pass by themselves, at once.
        Outcome::Failed(Failure::Stopping(_) | Failure::SecretLeaving(_)) => None,
        Outcome::Failed(failure @ Failure::SecretConflict { .. }) => {
            Some(Event::new(EventReason::SecretConflict, failure.to_string()))
        }
        Outcome::Failed(failure) => Some(Event::new(
            EventReason::RefreshFailed,
            format!("{}: {failure}", failure.reason()),
        )),
    }
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

    fn issued() -> Outcome {
        Outcome::Issued {
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

    fn told(previous: &AWSAssumeRoleStatus, trigger: Trigger, outcome: &Outcome) -> Option<EventReason> {
        event_of(previous, 1, trigger, outcome, "s").map(|event| event.reason)
    }

    #[test]
    fn the_story_is_told_and_routine_is_not() {
        let new = AWSAssumeRoleStatus::default();
        assert_eq!(told(&new, Trigger::Created, &issued()), Some(EventReason::Issued));
        assert_eq!(told(&status(0), Trigger::Due, &issued()), None);
        assert_eq!(told(&status(2), Trigger::Retry, &issued()), Some(EventReason::Issued));
        assert_eq!(told(&status(0), Trigger::Requested, &issued()), None);
        assert_eq!(
            told(&status(0), Trigger::SecretChanged, &issued()),
            Some(EventReason::SecretRepaired)
        );
        assert_eq!(
            told(&status(0), Trigger::SecretChanged, &Outcome::Repaired(VALIDITY)),
            Some(EventReason::SecretRepaired)
        );
        assert_eq!(
            event_of(&status(0), 2, Trigger::SpecChanged, &Outcome::Repaired(VALIDITY), "s"),
            None
        );
        assert_eq!(told(&status(0), Trigger::Created, &Outcome::Kept(VALIDITY)), None);
        assert_eq!(told(&status(0), Trigger::Due, &Outcome::Suspended), None);
        assert_eq!(
            told(&new, Trigger::Created, &conflict()),
            Some(EventReason::SecretConflict)
        );
        let leaving = Outcome::Failed(Failure::SecretLeaving("s".into()));
        assert_eq!(told(&new, Trigger::Created, &leaving), None);
        let failed = event_of(&new, 1, Trigger::Created, &Outcome::Failed(Failure::Chained), "s").unwrap();
        assert_eq!(failed.reason, EventReason::RefreshFailed);
        assert!(failed.is_warning() && failed.note.starts_with("InvalidRequest: "));
    }

    #[test]
    fn a_note_fits() {
        let long = Event::new(EventReason::Issued, "ä".repeat(2000));
        assert!(long.note.len() <= NOTE_MAX && long.note.len() > NOTE_MAX - 5);
        assert_eq!(Event::new(EventReason::Issued, "short").note, "short");
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_again_goes_on_for_a_while() {
        let now = Instant::now();
        let event = Event::new(EventReason::RefreshFailed, "so");
        let published = Published {
            event: event.clone(),
            name: "x".into(),
            count: 1,
            at: now,
            written: now,
        };
        assert!(published.goes_on_with(&event, now + Duration::from_secs(300)));
        assert!(!published.goes_on_with(&event, now + Duration::from_secs(600)));
        assert!(!published.goes_on_with(&Event::new(EventReason::RefreshFailed, "otherwise"), now));

        // Once, twice, and then every five minutes.
        let mut series = published;
        assert!(!series.count_silently(&event, now + Duration::from_secs(5)));
        series.count = 2;
        for (seconds, silent) in [(20, true), (60, true), (299, true), (300, false)] {
            let at = now + Duration::from_secs(seconds);
            assert_eq!(series.count_silently(&event, at), silent, "{seconds}");
        }
        assert_eq!(series.count, 5);
        let other = Event::new(EventReason::RefreshFailed, "otherwise");
        assert!(!series.count_silently(&other, now + Duration::from_secs(10)));
    }
}
