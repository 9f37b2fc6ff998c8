//! The clocks of the machine, injected: expiry is a moment of wall-clock time, a lease is a span of a clock that nobody sets, and a simulation
//! brings clocks of its own.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::Instant;

/// How far AWS's clock and the operator's may lie apart and still count as one: `Date` tells whole seconds, and answers take time.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// The longest skew that one answer is enough for. A clock that nobody sets is off by minutes; hours are as likely to be a wrong `Date`.
const BELIEVED: SignedDuration = SignedDuration::from_mins(15);

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, in UTC.
    fn now(&self) -> Timestamp;

    /// How long ago the machine was started. Nobody sets it, and it goes on while the machine is suspended.
    fn since_boot(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// That of tokio and of the standard library stands still while the machine is suspended.
    fn since_boot(&self) -> Duration {
        // It begins at zero.
        Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or_default()
    }
}

/// The clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// By the clock of the timers, which never jumps and stands still while the machine is suspended.
    pub instant: Instant,
    /// By the one that goes on meanwhile.
    pub since_boot: Duration,
    /// By the wall clock.
    pub wall: Timestamp,
}

impl Reading {
    /// Reads all.
    #[must_use]
    pub fn of(clock: &dyn Clock) -> Self {
        Self {
            instant: Instant::now(),
            since_boot: clock.since_boot(),
            wall: clock.now(),
        }
    }

    /// How far the wall clock was set back between an earlier reading and this one. Negative if it was set forward. That the machine was
    /// suspended is neither.
    #[must_use]
    pub fn set_back_since(&self, earlier: Self) -> SignedDuration {
        self.behind(earlier, self.since_boot.saturating_sub(earlier.since_boot))
    }

    /// How far the wall clock fell behind the timers between an earlier reading and this one. Negative if the timers did.
    #[must_use]
    pub fn behind_timers_since(&self, earlier: Self) -> SignedDuration {
        self.behind(earlier, self.instant.saturating_duration_since(earlier.instant))
    }

    fn behind(&self, earlier: Self, passed: Duration) -> SignedDuration {
        let passed = SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
        passed.saturating_sub(self.wall.duration_since(earlier.wall))
    }
}

/// How much later it is for AWS than by the operator's own clock, as its last answer told. One number for all resources: there is one
/// clock here and one there.
#[derive(Clone, Debug)]
pub struct Skew(Arc<watch::Sender<Measured>>);

impl Default for Skew {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Measured::default())))
    }
}

impl Skew {
    /// The present one, in whole seconds.
    #[must_use]
    pub fn get(&self) -> SignedDuration {
        SignedDuration::from_secs(self.0.borrow().skew.as_secs())
    }

    /// An answer of AWS told the time.
    pub fn measure(&self, answered: Timestamp, received: Reading) {
        self.0
            .send_modify(|measured| *measured = measured.after_answer(answered, received));
    }

    /// The two clocks parted since they were read as `before`.
    pub fn step(&self, before: Reading, now: Reading) {
        self.0
            .send_modify(|measured| *measured = measured.after_step(before, now));
    }
}

/// A skew, and when it was right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Measured {
    skew: SignedDuration,
    /// The skew was exact at this moment: a step of the clock before it is in the number already.
    at: Option<Reading>,
    /// What one answer told, and no other yet.
    doubtful: Option<(SignedDuration, Reading)>,
}

impl Measured {
    fn after_answer(self, answered: Timestamp, received: Reading) -> Self {
        let told = apart(answered, received.wall);
        let agrees = |other: SignedDuration| told.saturating_sub(other).abs() <= TOLERANCE;
        // A clock that was set back between two answers is as much later for the second.
        let second = self
            .doubtful
            .is_some_and(|(first, then)| agrees(first.saturating_add(received.set_back_since(then))));
        match told.abs() <= BELIEVED || agrees(self.skew) || second {
            true => Self {
                skew: told,
                at: Some(received),
                doubtful: None,
            },
            false => Self {
                doubtful: Some((told, received)),
                ..self
            },
        }
    }

    fn after_step(self, before: Reading, now: Reading) -> Self {
        // What lies before the last measurement was measured.
        let before = match self.at {
            Some(at) if at.instant > before.instant => at,
            _ => before,
        };
        // A clock that was set forward after it had been behind was put right. One that was not known to be behind may be right for the first
        // time, so it is not taken for ahead: what is due would come too late.
        let stepped = self.skew.saturating_add(now.set_back_since(before));
        let least = self.skew.min(SignedDuration::ZERO);
        Self {
            skew: stepped.max(least),
            at: Some(now),
            ..self
        }
    }
}

/// How much later it is for AWS than for the operator, from the `Date` of an answer and the time of its coming.
fn apart(answered: Timestamp, received: Timestamp) -> SignedDuration {
    let apart = answered.duration_since(received);
    match apart.abs() <= TOLERANCE {
        true => SignedDuration::ZERO,
        false => apart,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// Readings of a clock that is wrong by a number of seconds, so many seconds after the beginning.
    fn readings() -> impl Fn(u64, i64) -> Reading {
        let begin = Instant::now();
        move |passed, wrong| Reading {
            instant: begin + Duration::from_secs(passed),
            since_boot: Duration::from_secs(passed),
            wall: at(passed.cast_signed() + wrong),
        }
    }

    #[test]
    fn the_time_since_the_start_of_the_machine_goes_on() {
        let before = SystemClock.since_boot();
        std::thread::sleep(Duration::from_millis(10));
        let passed = SystemClock.since_boot() - before;
        assert!(
            before > Duration::ZERO && passed >= Duration::from_millis(10),
            "{before:?}, {passed:?}"
        );
    }

    #[test]
    fn a_skew_counts_when_it_is_more_than_the_way_of_an_answer() {
        assert_eq!(apart(at(103), at(100)), SignedDuration::ZERO);
        assert_eq!(apart(at(95), at(100)), SignedDuration::ZERO);
        assert_eq!(apart(at(3700), at(100)), SignedDuration::from_hours(1));
        assert_eq!(apart(at(100), at(3700)), SignedDuration::from_hours(-1));
    }

    #[test]
    fn one_answer_does_not_move_the_clock_by_hours() {
        let read = readings();
        let skew = Skew::default();
        skew.measure(at(86_400), read(0, 0));
        assert_eq!(skew.get().as_secs(), 0);
        skew.measure(at(-86_400), read(0, 0));
        assert_eq!(skew.get().as_secs(), 0, "two that do not agree tell nothing");
        skew.measure(at(10), read(10, 0));
        skew.measure(at(-86_390), read(10, 0));
        assert_eq!(
            skew.get().as_secs(),
            0,
            "an answer in between took the doubtful one back"
        );
        skew.measure(at(600), read(0, 0));
        assert_eq!(skew.get().as_secs(), 600, "minutes are believed at once");
    }

    #[test]
    fn two_answers_that_agree_move_it() {
        let read = readings();
        let skew = Skew::default();
        skew.measure(at(0), read(0, -7200));
        assert_eq!(skew.get().as_secs(), 0);
        skew.measure(at(32), read(30, -7200));
        assert_eq!(skew.get().as_secs(), 7202);
        skew.measure(at(60), read(60, -7200));
        assert_eq!(
            skew.get().as_secs(),
            7200,
            "one that agrees with what is believed is enough"
        );
    }

    #[test]
    fn a_step_that_an_answer_saw_is_not_counted_again() {
        let read = readings();
        let skew = Skew::default();
        // Set back by ten minutes at second 5, seen in an answer at second 7, noticed at second 10.
        skew.measure(at(7), read(7, -600));
        skew.step(read(0, 0), read(10, -600));
        assert_eq!(skew.get().as_secs(), 600);
    }

    #[test]
    fn a_step_after_the_last_answer_is_counted_once() {
        let read = readings();
        let skew = Skew::default();
        skew.measure(at(3), read(3, 0));
        skew.step(read(0, 0), read(10, -7200));
        assert_eq!(skew.get().as_secs(), 7200);
        skew.measure(at(12), read(12, -7200));
        assert_eq!(skew.get().as_secs(), 7200);
        skew.step(read(10, -7200), read(20, -7200));
        assert_eq!(skew.get().as_secs(), 7200);
    }

    #[test]
    fn a_clock_that_is_set_forward_may_be_right_for_the_first_time() {
        let read = readings();
        let skew = Skew::default();
        skew.step(read(0, -7200), read(10, 0));
        assert_eq!(skew.get().as_secs(), 0);
    }

    #[test]
    fn a_clock_that_is_put_right_is_not_behind_any_more() {
        let read = readings();
        let skew = Skew::default();
        skew.step(read(0, 0), read(10, -7200));
        assert_eq!(skew.get().as_secs(), 7200);
        skew.step(read(20, -7200), read(30, 0));
        assert_eq!(skew.get().as_secs(), 0);
        skew.measure(at(30), read(30, -300));
        skew.step(read(40, -300), read(50, 3600));
        assert_eq!(skew.get().as_secs(), 0, "and not ahead");
        skew.measure(at(60), read(60, 600));
        skew.step(read(60, 600), read(70, 1200));
        assert_eq!(skew.get().as_secs(), -600);
    }

    #[test]
    fn a_suspension_is_no_step() {
        let read = readings();
        let skew = Skew::default();
        skew.measure(at(0), read(0, -600));
        let slept = Reading {
            instant: read(10, 0).instant,
            ..read(7210, -600)
        };
        skew.step(read(0, -600), slept);
        assert_eq!(skew.get().as_secs(), 600);
        assert_eq!(slept.behind_timers_since(read(0, -600)).as_secs(), -7200);
    }

    proptest! {
        /// However answers, steps back and looks follow each other: as soon as a look has followed the last step, AWS's time is known.
        #[test]
        fn steps_back_are_counted_once(events in proptest::collection::vec((1_u64..60, 0_u8..3, 10_i64..800), 1..40)) {
            let read = readings();
            let skew = Skew::default();
            let (mut passed, mut wrong) = (0, 0);
            let mut seen = read(0, 0);
            let look = |passed, wrong, seen: &mut Reading| {
                let now = read(passed, wrong);
                if now.set_back_since(*seen).abs() > SignedDuration::from_secs(2) {
                    skew.step(*seen, now);
                }
                *seen = now;
            };
            for (pause, event, by) in events {
                passed += pause;
                match event {
                    0 => wrong -= by,
                    1 => skew.measure(at(passed.cast_signed()), read(passed, wrong)),
                    _ => look(passed, wrong, &mut seen),
                }
            }
            look(passed, wrong, &mut seen);
            prop_assert_eq!(skew.get().as_secs(), -wrong);
        }
    }
}
