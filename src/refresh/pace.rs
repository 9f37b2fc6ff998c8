//! How long one resource keeps off AWS and off its Secret, whatever happens to it.

use std::time::Duration;

use tokio::time::Instant;

use super::Trigger;

/// The least time between two calls of `AssumeRole` for one resource that nobody asked for. Whatever AWS answers, and however short-lived
/// it is, the resource is not tried again sooner.
const CALL_INTERVAL_MIN: Duration = Duration::from_secs(5);

/// The least time between two cycles that changes of the Secret set off. Somebody who keeps changing it is answered that often, no more.
const SECRET_INTERVAL_MIN: Duration = Duration::from_secs(10);

/// Until when AWS is left alone in a cycle with that trigger, given the last call. What a person does takes effect at once.
#[must_use]
pub fn earliest_call(trigger: Trigger, last_call: Option<Instant>) -> Option<Instant> {
    match trigger {
        Trigger::Created | Trigger::SpecChanged | Trigger::Requested => None,
        Trigger::SecretChanged | Trigger::Due | Trigger::Retry => last_call.map(|last| last + CALL_INTERVAL_MIN),
    }
}

/// When a change of the Secret may set a cycle off, given when one last did. `None`: at once.
#[must_use]
pub fn earliest_follow_up(last: Option<Instant>, now: Instant) -> Option<Instant> {
    last.map(|last| last + SECRET_INTERVAL_MIN)
        .filter(|allowed| *allowed > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_person_does_takes_effect_at_once_and_everything_else_keeps_its_distance() {
        let last = Instant::now();
        for trigger in [Trigger::Created, Trigger::SpecChanged, Trigger::Requested] {
            assert_eq!(earliest_call(trigger, Some(last)), None);
        }
        for trigger in [Trigger::SecretChanged, Trigger::Due, Trigger::Retry] {
            assert_eq!(earliest_call(trigger, Some(last)), Some(last + CALL_INTERVAL_MIN));
            assert_eq!(earliest_call(trigger, None), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_keeps_changing_is_followed_at_a_pace() {
        let last = Instant::now();
        assert_eq!(earliest_follow_up(None, last), None);
        let soon = last + Duration::from_secs(9);
        assert_eq!(earliest_follow_up(Some(last), soon), Some(last + SECRET_INTERVAL_MIN));
        assert_eq!(earliest_follow_up(Some(last), last + SECRET_INTERVAL_MIN), None);
    }
}
