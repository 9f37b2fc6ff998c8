//! When: the moment of a refresh, the spread of many, the pause after a failure.
//!
//! Everything is counted in wall-clock time, since that is how AWS tells an end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// The least life of a schedule: credentials are not due before this much time has passed since they were asked for, however soon they end.
const SCHEDULE_MIN: Duration = Duration::from_secs(10);

/// The share of the time between two refreshes by which one may come earlier, so that what was made together does not fall
/// due together.
const SPREAD: f64 = 0.1;

/// The most that a refresh comes earlier for the sake of spreading.
const SPREAD_MAX: Duration = Duration::from_secs(900);

/// The first pause of the backoff after a failure that passes by itself.
const RETRY_SOON: Duration = Duration::from_secs(5);

/// The longest pause between attempts while credentials are running out.
const RETRY_SOON_MAX: Duration = Duration::from_secs(60);

/// The first pause of the backoff after a refusal. A role that was made a moment ago is refused for some seconds.
const RETRY_LATE: Duration = Duration::from_secs(10);

/// The longest pause between attempts that are plainly refused.
const RETRY_LATE_MAX: Duration = Duration::from_secs(300);

/// The least overlap where the spec names none, if the lifetime has room for it: AWS SDKs that read a credentials file anew do so every 300
/// seconds, the kubelet takes up to two minutes to bring it, and a minute is left for the refresh itself.
const OVERLAP_MIN: Duration = Duration::from_secs(480);

/// The time for which credentials are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// When they were asked for.
    pub issued: Timestamp,
    /// When they end.
    pub expiration: Timestamp,
}

impl Validity {
    /// The whole time, never negative.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        since(self.issued, self.expiration)
    }
}

/// What a schedule is made from.
#[derive(Clone, Copy, Debug)]
pub struct RefreshTiming<'a> {
    /// How long before the end the replacement is to be there, where the spec says so. [`default_overlap`] if not.
    pub refresh_before: Option<Duration>,
    /// What makes this resource's spread its own: its UID.
    pub seed: &'a str,
}

/// When credentials are to be replaced: an overlap before their end, less a spread that is always towards earlier, and never within
/// ten seconds of their issue.
#[must_use]
pub fn due(validity: Validity, timing: RefreshTiming<'_>) -> Timestamp {
    let lifetime = validity.lifetime();
    let overlap = timing.refresh_before.unwrap_or_else(|| default_overlap(lifetime));
    let pause = lifetime.saturating_sub(overlap);
    let spread = pause
        .mul_f64(SPREAD * fraction(&(timing.seed, validity.expiration)))
        .min(SPREAD_MAX);
    later(validity.issued, pause.saturating_sub(spread).max(SCHEDULE_MIN))
}

/// How long before their end credentials of that lifetime are replaced where the spec does not say: the larger of a third of it and 480 seconds,
/// and at most half of it.
#[must_use]
pub fn default_overlap(lifetime: Duration) -> Duration {
    (lifetime / 3).max(OVERLAP_MIN).min(lifetime / 2)
}

/// How much later than asked for an end may be and still be meant: clocks are never quite the same, and an answer takes its time.
const LATE_END: Duration = Duration::from_secs(300);

/// How long a registry token lasts at most.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
const TOKEN_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// How far back AWS's own time may lie from what is believed of it without another answer. What lies further counts for one session only.
const FAR_BEHIND: Duration = Duration::from_secs(15 * 60);

/// When what expires soonest counts: the soonest of the session's end and the registry tokens', as far as they can be believed.
///
/// An end that lies before the asking cannot have been meant, nor one that lies long after what was asked for. Instead of a token's the
/// session's counts, instead of a session's what was asked for.
#[must_use]
pub fn effective_expiration(
    asked: Timestamp,
    duration: Duration,
    session: Timestamp,
    tokens: &[Timestamp],
) -> EffectiveExpiration {
    let session_end = is_possible(asked, duration, session).then_some(session);
    let (believed, disbelieved): (Vec<_>, Vec<_>) = tokens
        .iter()
        .copied()
        .partition(|end| is_possible(asked, TOKEN_LIFETIME, *end));
    let session_counts = session_end.unwrap_or_else(|| later(asked, duration));
    EffectiveExpiration {
        expiration: believed.into_iter().fold(session_counts, Timestamp::min),
        session_disbelieved: session_end.is_none().then_some(session),
        token_disbelieved: disbelieved.first().copied(),
    }
}

fn is_possible(asked: Timestamp, lifetime: Duration, end: Timestamp) -> bool {
    end > asked && end <= later(asked, lifetime.saturating_add(LATE_END))
}

/// When a session was asked for, by the clock that its end is to be read by: what is believed to be AWS's, unless AWS's answer tells a
/// time long before it that its own end agrees with. Then the operator's clock is far ahead, and only a second answer is still missing. Where
/// the end agrees with neither, the sooner time is the safe one: the end that counts instead is counted from it.
#[must_use]
pub fn asked_by_aws(believed: Timestamp, answered: Option<Timestamp>, duration: Duration, end: Timestamp) -> Timestamp {
    answered
        .filter(|time| later(*time, FAR_BEHIND) < believed)
        .filter(|time| is_possible(*time, duration, end) || !is_possible(believed, duration, end))
        .unwrap_or(believed)
}

/// The end that counts, and what was not believed on the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveExpiration {
    /// The end that counts.
    pub expiration: Timestamp,
    /// The session's end as AWS gave it, when it cannot have been meant.
    pub session_disbelieved: Option<Timestamp>,
    /// The token's end as AWS gave it, when it cannot have been meant.
    pub token_disbelieved: Option<Timestamp>,
}

/// Whether a failure is likely to pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// It passes: try again within a minute.
    Soon,
    /// Somebody has to act first: try again within five minutes.
    Late,
}

/// When to try again after the `failures`-th failure in a row, exponentially later each time and spread towards earlier. Credentials that
/// end before that bring the attempt forward, since the status must say when they end.
#[must_use]
pub fn retry(
    now: Timestamp,
    class: RetryClass,
    failures: u32,
    current_expiration: Option<Timestamp>,
    seed: &str,
) -> Timestamp {
    let (first, longest) = match class {
        RetryClass::Soon => (RETRY_SOON, RETRY_SOON_MAX),
        RetryClass::Late => (RETRY_LATE, RETRY_LATE_MAX),
    };
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let pause = first.saturating_mul(doubled).min(longest);
    let spread = pause.mul_f64(0.2 * fraction(&(seed, failures, now)));
    let at = later(now, (pause - spread).max(first));
    match current_expiration {
        Some(end) if end > now && end < at => end.max(later(now, RETRY_SOON)),
        _ => at,
    }
}

/// A moment without its fraction of a second, as Kubernetes writes it.
#[must_use]
pub fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// A moment by the clock that is ahead by that much, or behind.
#[must_use]
pub fn shifted(moment: Timestamp, by: SignedDuration) -> Timestamp {
    moment.checked_add(by).unwrap_or(moment)
}

/// A moment that much later; the last one that can be written down where there is none.
#[must_use]
pub fn later(moment: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| moment.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

/// A moment that much earlier.
#[must_use]
pub fn earlier(moment: Timestamp, by: Duration) -> Timestamp {
    moment.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// The time from one moment to another, zero if that lies before it.
#[must_use]
pub fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// A number from 0 to 1 that is the same for the same seed. Spreading needs no chance, only difference.
fn fraction(seed: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    seed.hash(&mut hasher);
    // Exact: 32 bits fit an f64.
    f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn validity(seconds: i64) -> Validity {
        Validity {
            issued: START,
            expiration: at(seconds),
        }
    }

    fn due_after(lifetime: i64, refresh_before: Option<u64>, seed: &str) -> i64 {
        let timing = RefreshTiming {
            refresh_before: refresh_before.map(Duration::from_secs),
            seed,
        };
        due(validity(lifetime), timing).as_second()
    }

    #[test]
    fn the_default_overlap_is_long_enough_for_a_mounted_file_where_there_is_room() {
        for (lifetime, overlap) in [
            (0, 0),
            (60, 30),
            (900, 450),
            (960, 480),
            (1440, 480),
            (1800, 600),
            (3600, 1200),
            (43_200, 14_400),
        ] {
            let default = default_overlap(Duration::from_secs(lifetime));
            assert_eq!(default, Duration::from_secs(overlap), "of {lifetime}");
        }
        for seed in ["a", "b", "c", "d"] {
            assert!((405..=450).contains(&due_after(900, None, seed)));
            assert!((2 * 14_400 - 900..=2 * 14_400).contains(&due_after(43_200, None, seed)));
        }
    }

    #[test]
    fn resources_made_together_fall_due_apart() {
        let moments: std::collections::HashSet<i64> =
            (0..200).map(|n| due_after(900, None, &format!("uid-{n}"))).collect();
        assert!(moments.len() > 40, "{} moments", moments.len());
    }

    #[test]
    fn what_ends_at_once_is_not_asked_for_again_at_once() {
        for lifetime in [-1_000_000, -1, 0, 1, 10] {
            assert_eq!(due_after(lifetime, None, "a"), 10);
            assert_eq!(due_after(lifetime, Some(300), "a"), 10);
        }
        assert_eq!(due_after(900, Some(899), "a"), 10);
    }

    #[test]
    fn an_end_before_the_asking_is_not_believed() {
        let asked = at(1_000_000);
        let session = at(1_000_900);
        let long_ago = at(10);
        let hour = Duration::from_secs(3600);

        let plain = effective_expiration(asked, hour, session, &[]);
        assert_eq!((plain.expiration, plain.token_disbelieved), (session, None));

        let sooner = effective_expiration(asked, hour, session, &[at(1_000_100)]);
        assert_eq!(sooner.expiration, at(1_000_100));

        let later = effective_expiration(asked, hour, session, &[at(1_043_200)]);
        assert_eq!(later.expiration, session);

        let token = effective_expiration(asked, hour, session, &[long_ago]);
        assert_eq!(token.expiration, session);
        assert_eq!(token.token_disbelieved, Some(long_ago));
        assert_eq!(token.session_disbelieved, None);

        let at_once = effective_expiration(asked, hour, asked, &[asked]);
        assert_eq!(at_once.expiration, at(1_003_600));
        assert_eq!(at_once.token_disbelieved, Some(asked));

        let neither = effective_expiration(asked, hour, long_ago, &[long_ago]);
        assert_eq!(neither.expiration, at(1_003_600));
        assert_eq!(neither.session_disbelieved, Some(long_ago));
    }

    #[test]
    fn an_end_long_after_the_one_that_was_asked_for_is_not_believed() {
        let asked = at(1_000_000);
        let hour = Duration::from_secs(3600);
        let never = at(253_370_764_800);
        let session = effective_expiration(asked, hour, never, &[]);
        assert_eq!(session.expiration, at(1_003_600));
        assert_eq!(session.session_disbelieved, Some(never));
        let a_little = effective_expiration(asked, hour, at(1_003_900), &[]);
        assert_eq!(
            (a_little.expiration, a_little.session_disbelieved),
            (at(1_003_900), None)
        );
        assert!(
            effective_expiration(asked, hour, at(1_003_901), &[])
                .session_disbelieved
                .is_some()
        );
        let token = effective_expiration(asked, hour, at(1_003_600), &[never]);
        assert_eq!(
            (token.expiration, token.token_disbelieved),
            (at(1_003_600), Some(never))
        );
        let twelve_hours = effective_expiration(asked, hour, at(1_003_600), &[at(1_043_200)]);
        assert_eq!(twelve_hours.token_disbelieved, None);
    }

    #[test]
    fn an_end_is_read_by_aws_clock_where_both_its_times_agree_that_ours_is_far_ahead() {
        let hour = Duration::from_secs(3600);
        let believed = at(1_007_200);
        let asked = |answered, end| asked_by_aws(believed, answered, hour, end);
        assert_eq!(asked(Some(at(1_000_000)), at(1_003_600)), at(1_000_000));
        assert_eq!(
            asked(Some(at(1_000_000)), at(1_010_800)),
            believed,
            "the end speaks for our clock"
        );
        assert_eq!(
            asked(Some(at(2_000_000)), at(2_003_600)),
            believed,
            "the sooner end is the safe one"
        );
        assert_eq!(asked(Some(at(1_007_190)), at(1_010_800)), believed);
        assert_eq!(asked(None, at(1_003_600)), believed);
        for senseless in [at(10), at(253_370_764_800)] {
            assert_eq!(asked(Some(at(1_000_000)), senseless), at(1_000_000), "the sooner");
            assert_eq!(asked(Some(at(2_000_000)), senseless), believed, "the sooner");
        }
    }

    #[test]
    fn failures_back_off_to_a_minute_and_refusals_to_five() {
        let pause = |class, failures| retry(START, class, failures, None, "a").as_second();
        assert_eq!(pause(RetryClass::Soon, 1), 5);
        assert!((8..=10).contains(&pause(RetryClass::Soon, 2)));
        assert!((48..=60).contains(&pause(RetryClass::Soon, 6)));
        assert!((48..=60).contains(&pause(RetryClass::Soon, u32::MAX)));
        assert_eq!(pause(RetryClass::Late, 1), 10);
        assert!((240..=300).contains(&pause(RetryClass::Late, 7)));
        assert!((240..=300).contains(&pause(RetryClass::Late, 1000)));
    }

    #[test]
    fn the_end_of_what_is_held_brings_the_attempt_forward() {
        let pause = |held: i64| retry(START, RetryClass::Late, 9, Some(at(held)), "a").as_second();
        assert_eq!(pause(100), 100);
        assert_eq!(pause(1), 5, "but not below the first pause");
        assert!(pause(-100) >= 240, "an end that has passed brings nothing forward");
        assert!((240..=300).contains(&pause(1000)));
    }

    #[test]
    fn a_moment_is_shifted_by_a_skew() {
        assert_eq!(shifted(at(100), SignedDuration::from_secs(-40)), at(60));
    }

    proptest! {
        #[test]
        fn a_refresh_leaves_the_overlap_and_keeps_the_floor(
            lifetime in 900_i64..=43_200,
            before in proptest::option::of(60_u64..43_200),
            seed in "[a-f0-9]{8}",
        ) {
            prop_assume!(before.is_none_or(|before| before < lifetime.unsigned_abs()));
            let moment = due_after(lifetime, before, &seed);
            let overlap = before.map_or((lifetime / 3).max(480).min(lifetime / 2), |before| before as i64);
            prop_assert!(moment >= 10);
            prop_assert!(moment <= (lifetime - overlap).max(10));
            prop_assert!(moment < lifetime);
        }

        #[test]
        fn no_moment_makes_the_schedule_panic(
            issued in any::<i64>(), expiration in any::<i64>(), before in any::<u64>(), failures in any::<u32>(),
        ) {
            let moment = |n: i64| Timestamp::from_second(n % 200_000_000_000).unwrap();
            let validity = Validity { issued: moment(issued), expiration: moment(expiration) };
            let timing = RefreshTiming { refresh_before: Some(Duration::from_secs(before)), seed: "s" };
            prop_assert!(due(validity, timing) >= later(validity.issued, SCHEDULE_MIN));
            prop_assert!(retry(moment(issued), RetryClass::Soon, failures, Some(moment(expiration)), "s") > moment(issued));
        }
    }
}
