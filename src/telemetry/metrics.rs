//! Metrics for Prometheus. `docs/observability.md` lists them for people.
//!
//! What happens is counted when it happens. How things stand is asked for when somebody looks: the series of a resource are made from a
//! snapshot, and so are gone when the resource is.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
};
use strum::IntoEnumIterator;

use super::snapshot::Snapshot;
use super::standings;
use crate::api::Reason;
use crate::aws::AwsError;
use crate::aws::error::Operation;

/// The media type of [`Metrics::text`].
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds in seconds for what takes milliseconds when all is well, and up to a minute when it is not.
const SECONDS: [f64; 13] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// What is counted. Each copy counts into the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    refreshes: IntCounterVec,
    refresh_duration: HistogramVec,
    aws_call_duration: HistogramVec,
    gate_wait: Histogram,
    /// Actors that failed and were started again.
    pub actor_restarts: IntCounter,
    /// 1 while this operator acts on the resources.
    pub leader: IntGauge,
}

impl Default for Metrics {
    // The names are constants, each used once, and a test makes one: none can be refused.
    #[allow(clippy::expect_used)]
    fn default() -> Self {
        Self::new().expect("metrics with constant names")
    }
}

impl Metrics {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = GaugeVec::new(
            Opts::new("aws_assume_role_build_info", "The version that runs. Always 1."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        let histogram = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let metrics = Self {
            refreshes: IntCounterVec::new(
                Opts::new(
                    "aws_assume_role_refreshes_total",
                    "Refresh cycles by what came of them.",
                ),
                &["outcome", "reason"],
            )?,
            refresh_duration: HistogramVec::new(
                histogram(
                    "aws_assume_role_refresh_duration_seconds",
                    "How long refresh cycles took, from what set them off to the written status.",
                ),
                &["outcome"],
            )?,
            aws_call_duration: HistogramVec::new(
                histogram(
                    "aws_assume_role_aws_call_duration_seconds",
                    "How long calls to AWS took, without the wait at the gate.",
                ),
                &["operation", "result"],
            )?,
            gate_wait: Histogram::with_opts(histogram(
                "aws_assume_role_gate_wait_seconds",
                "How long calls waited at the gate before AWS.",
            ))?,
            actor_restarts: IntCounter::new(
                "aws_assume_role_actor_restarts_total",
                "Role actors that failed and were started again.",
            )?,
            leader: IntGauge::new("aws_assume_role_leader", "1 while this operator acts on the resources.")?,
            registry,
        };
        let collectors: [Box<dyn Collector>; 7] = [
            Box::new(build),
            Box::new(metrics.refreshes.clone()),
            Box::new(metrics.refresh_duration.clone()),
            Box::new(metrics.aws_call_duration.clone()),
            Box::new(metrics.gate_wait.clone()),
            Box::new(metrics.actor_restarts.clone()),
            Box::new(metrics.leader.clone()),
        ];
        for collector in collectors {
            metrics.registry.register(collector)?;
        }
        // From the start, since a counter that appears with its first count has not risen for Prometheus.
        for (outcome, reason) in [
            ("issued", "Issued"),
            ("kept", "Issued"),
            ("repaired", "Issued"),
            ("suspended", "Suspended"),
            ("aborted", ""),
            ("panicked", ""),
        ] {
            metrics.refreshes.with_label_values(&[outcome, reason]);
        }
        for reason in Reason::iter().filter(|reason| !matches!(reason, Reason::Issued | Reason::Suspended)) {
            metrics.refreshes.with_label_values(&["failed", reason.into()]);
        }
        Ok(metrics)
    }

    /// Counts the process's memory, time and files too.
    #[must_use]
    pub fn with_process(self) -> Self {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        // Refused only when it is there already.
        let _ = self.registry.register(Box::new(process));
        self
    }

    /// A cycle came to its end. The reason is empty for one that gave none.
    pub fn refreshed(&self, outcome: &str, reason: &str, took: Duration) {
        self.refreshes.with_label_values(&[outcome, reason]).inc();
        self.refresh_duration
            .with_label_values(&[outcome])
            .observe(took.as_secs_f64());
    }

    /// AWS was called.
    pub fn called_aws(&self, operation: Operation, error: Option<&AwsError>, took: Duration) {
        let result = error.map_or("ok", |error| error.reason().into());
        self.aws_call_duration
            .with_label_values(&[operation.name(), result])
            .observe(took.as_secs_f64());
    }

    /// A call waited at the gate.
    pub fn waited(&self, waited: Duration) {
        self.gate_wait.observe(waited.as_secs_f64());
    }

    /// Everything in Prometheus' text format. Without a snapshot it holds nothing of the resources and the gate.
    ///
    /// # Errors
    /// When the text cannot be put together, which no name or value here leads to.
    pub fn text(&self, snapshot: Option<&Snapshot>) -> Result<String, prometheus::Error> {
        let mut text = snapshot.map(standings::text).unwrap_or_default();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::gate::GateStanding;
    use crate::refresh::standing::{Standing, State};
    use crate::spec::ResourceKey;
    use crate::spec::fixtures::key;
    use k8s_openapi::jiff::Timestamp;

    fn snapshot(names: &[&str]) -> Snapshot {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        let resources = names.iter().map(|name| {
            let key = ResourceKey {
                name: (*name).into(),
                uid: format!("uid-{name}").into(),
                ..key()
            };
            let standing = Standing {
                state: State::Ready,
                ready: true,
                expiration: at(900),
                issued: at(0),
                due: at(600),
                ..Standing::default()
            };
            (key, standing)
        });
        Snapshot {
            actors: names.len(),
            now: at(100).unwrap(),
            skew_seconds: -3,
            gate: GateStanding {
                waiting: 4,
                in_flight: 2,
                rate: 12.5,
            },
            rulings: [("permitted", 2), ("unlisted", 1), ("denied", 0), ("unknown", 0)],
            watches: [("resources", at(90).unwrap()), ("secrets", at(95).unwrap())],
            unwatched_scopes: 2,
            resources: resources.collect(),
        }
    }

    #[test]
    fn the_series_of_a_resource_go_with_it() {
        let metrics = Metrics::default();
        metrics.refreshed("issued", "Issued", Duration::from_millis(30));
        let text = metrics.text(Some(&snapshot(&["a", "b"]))).unwrap();
        for line in [
            r#"aws_assume_role_credentials_expiration_timestamp_seconds{name="a",namespace="team"} 900"#,
            r#"aws_assume_role_credentials_valid{name="b",namespace="team"} 1"#,
            r#"aws_assume_role_refresh_due_timestamp_seconds{name="b",namespace="team"} 600"#,
            r#"aws_assume_role_resources{state="ready"} 2"#,
            r#"aws_assume_role_resources{state="suspended"} 0"#,
            r#"aws_assume_role_refreshes_total{outcome="issued",reason="Issued"} 1"#,
            r#"aws_assume_role_refresh_duration_seconds_bucket{outcome="issued",le="0.05"} 1"#,
            "aws_assume_role_clock_skew_seconds -3",
            "aws_assume_role_unwatched_namespaces 2",
            "aws_assume_role_actors 2",
            "aws_assume_role_gate_waiting 4",
            "aws_assume_role_gate_in_flight 2",
            "aws_assume_role_gate_rate 12.5",
            r#"aws_assume_role_watch_last_heard_timestamp_seconds{watch="secrets"} 95"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let text = metrics.text(Some(&snapshot(&["a"]))).unwrap();
        assert!(!text.contains(r#"name="b""#), "{text}");
        assert!(text.contains(r#"outcome="issued""#));
        let text = metrics.text(None).unwrap();
        assert!(!text.contains("credentials_valid") && text.contains("aws_assume_role_leader"));
    }
}
