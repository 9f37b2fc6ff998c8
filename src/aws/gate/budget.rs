//! How many calls may go out: a token bucket whose rate follows what AWS says.

use std::time::Duration;

use tokio::time::Instant;

use super::Limits;

/// The least that is asked of AWS while it throttles, in calls per second.
const RATE_MIN: f64 = 0.5;

/// Answers that say so within that time of each other are one throttling: the calls were under way together.
const SAME_THROTTLING: Duration = Duration::from_secs(1);

/// How many successes bring the rate back from nothing to the limit. Few would have the gate run into AWS's limit again and again, and with it
/// those who are about to lose their credentials; so many take a minute and a half when nothing is in the way.
const RECOVERY: f64 = 1000.0;

/// How many calls may go out at once: what one second allows, and never less than one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    limits: Limits,
    rate: f64,
    tokens: f64,
    refilled: Instant,
    throttled: Option<Instant>,
}

impl Budget {
    /// A full one.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            rate: limits.rate,
            tokens: limits.rate.max(1.0),
            refilled: now,
            throttled: None,
        }
    }

    /// Takes one call out of it, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.refilled = now;
        self.tokens = (self.tokens + passed * self.rate).min(self.rate.max(1.0));
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// How long until there is one.
    #[must_use]
    pub fn wait(&self) -> Duration {
        // A little more than it takes, since numbers are rounded and timers count milliseconds.
        Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / self.rate) + Duration::from_millis(1)
    }

    /// AWS threw a call out: half as many from now on.
    pub fn throttled(&mut self, now: Instant) {
        let same = self
            .throttled
            .is_some_and(|before| now.saturating_duration_since(before) < SAME_THROTTLING);
        if !same {
            self.throttled = Some(now);
            self.rate = (self.rate / 2.0).max(RATE_MIN.min(self.limits.rate));
            self.tokens = self.tokens.min(0.0);
        }
    }

    /// AWS took a call: a few more from now on.
    pub fn succeeded(&mut self) {
        self.rate = (self.rate + self.limits.rate / RECOVERY).min(self.limits.rate);
    }

    /// Whether throttling has left no trace on it, so that a new one would be the same in a while.
    #[must_use]
    pub fn has_recovered(&self) -> bool {
        self.rate >= self.limits.rate
    }

    /// Calls per second that it allows now.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        rate: 10.0,
        concurrency: 4,
    };

    fn spent(budget: &mut Budget, now: Instant) -> usize {
        std::iter::from_fn(|| budget.take(now).then_some(())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_allows_its_rate() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMITS, start);
        assert_eq!(spent(&mut budget, start), 10);
        assert_eq!(spent(&mut budget, start + Duration::from_millis(500)), 5);
        assert_eq!(
            spent(&mut budget, start + Duration::from_secs(3600)),
            10,
            "it does not add up"
        );
        assert!(budget.wait() > Duration::ZERO && budget.wait() <= Duration::from_millis(101));
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_halves_the_rate_once_and_success_brings_it_back() {
        let start = Instant::now();
        let mut budget = Budget::new(LIMITS, start);
        spent(&mut budget, start);
        budget.throttled(start);
        budget.throttled(start + Duration::from_millis(900));
        assert!((budget.rate - 5.0).abs() < 1e-9);
        budget.throttled(start + Duration::from_secs(2));
        assert!((budget.rate - 2.5).abs() < 1e-9);
        for second in 3..60 {
            budget.throttled(start + Duration::from_secs(2 * second));
        }
        assert!((budget.rate - RATE_MIN).abs() < 1e-9, "there is always a little");
        for _ in 0..1000 {
            budget.succeeded();
        }
        assert!((budget.rate - 10.0).abs() < 1e-9);
    }
}
