//! A day of many equal resources, for the benchmark: how evenly the operator asks AWS, and how close to their ends credentials come.

use std::ops::Range;
use std::time::Duration;

use aws_assume_role::api::SecretType;

use super::{Life, Setting};
use crate::place::{NAMESPACES, Place};

/// What a day follows from. All credentials last equally long.
#[derive(Clone, Debug)]
pub struct Day {
    pub resources: usize,
    /// How long credentials last, in seconds.
    pub lifetime: i32,
    /// How long the day is, in seconds.
    pub length: u64,
    /// The most that AWS takes, in calls per second; as many may come at once.
    pub limit: Option<f64>,
    /// Between which seconds AWS does not answer.
    pub away: Option<Range<u64>>,
}

/// What came of it. The first lifetime is left out of all but the count of refreshes: in it everybody is a newcomer.
#[derive(Clone, Debug, PartialEq)]
pub struct DayFigures {
    /// Credentials written into Secrets.
    pub refreshes: u64,
    /// Calls to AWS, answered or not, per second.
    pub mean: f64,
    /// The most calls in any second.
    pub largest: u64,
    /// Calls that AWS threw out because there were too many.
    pub throttled: u64,
    /// The smallest time that replaced credentials still had to live, in seconds. Negative: they had ended.
    pub smallest_margin: i64,
}

impl Day {
    pub(super) fn setting(&self) -> Setting {
        Setting {
            durations: Some(self.lifetime),
            ..Setting::new(1, self.length.div_ceil(86_400), self.resources)
        }
    }
}

impl Life {
    pub(super) async fn live_the_day(&mut self, day: &Day) -> DayFigures {
        self.api.stop_faults();
        *self.aws_faults.lock().unwrap() = false;
        // It is measured here what the promises excuse.
        self.checks.begin_outage("day");
        for number in 0..day.resources {
            let place = Place::new(NAMESPACES[number % NAMESPACES.len()], &format!("r{number}"));
            let mut spec = self.spec(&place.name);
            spec.secret_type = SecretType::Map;
            spec.ecr_repository_url = None;
            spec.ecr_repository_urls = Vec::new();
            spec.template = None;
            spec.region = None;
            spec.service_account_name = None;
            spec.role_arn = Some(self.role(&place));
            self.create_with(&place, spec);
        }
        if let Some(limit) = day.limit {
            self.aws.throttle(limit, limit);
        }
        self.start_alone().await;
        let first = u64::try_from(day.lifetime).unwrap();
        self.sleep_until(first).await;
        self.aws.count_seconds();
        let throttled = self.throttled();
        if let Some(away) = &day.away {
            self.sleep_until(away.start).await;
            *self.aws_down.lock().unwrap() = true;
            self.sleep_until(away.end).await;
            *self.aws_down.lock().unwrap() = false;
        }
        self.sleep_until(day.length).await;
        let figures = self.checks.figures();
        let by_second = self.aws.calls_by_second();
        DayFigures {
            refreshes: figures.refreshes,
            mean: by_second.values().sum::<u64>() as f64 / (day.length - first) as f64,
            largest: by_second.values().copied().max().unwrap_or_default(),
            throttled: self.throttled() - throttled,
            smallest_margin: figures.smallest_margin_at_all.unwrap_or_default(),
        }
    }

    async fn sleep_until(&self, second: u64) {
        let rest = second.saturating_sub(self.time.seconds());
        tokio::time::sleep(Duration::from_secs(rest)).await;
    }

    fn throttled(&self) -> u64 {
        let counts = self.aws.counts();
        counts.get("AssumeRole Throttling").copied().unwrap_or_default()
    }
}
