//! The series that a snapshot makes, in Prometheus' text format: how each resource stands, the gate, the clocks, the watches.
//!
//! They are written straight from the snapshot. Registered ones would be made, labelled and taken off for ten thousand resources at each
//! scrape. <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::fmt::{Display, Write};

use k8s_openapi::jiff::Timestamp;
use strum::IntoEnumIterator;

use super::snapshot::Snapshot;
use crate::refresh::standing::{Standing, State};
use crate::spec::ResourceKey;

/// How many bytes the series of a resource take, about.
const BYTES_PER_RESOURCE: usize = 600;

/// What is told of each resource, with its help. A series without a value is left out.
type OfResource = (&'static str, &'static str, fn(&Standing, Timestamp) -> Option<f64>);

const OF_RESOURCES: [OfResource; 5] = [
    (
        "aws_assume_role_credentials_valid",
        "Whether the Secret of a resource holds credentials that are valid now.",
        |standing, now| Some(f64::from(u8::from(standing.is_valid_at(now)))),
    ),
    (
        "aws_assume_role_credentials_expiration_timestamp_seconds",
        "When the credentials in the Secret of a resource end.",
        |standing, _| standing.expiration.map(seconds),
    ),
    (
        "aws_assume_role_last_refresh_timestamp_seconds",
        "When the credentials in the Secret of a resource were issued.",
        |standing, _| standing.issued.map(seconds),
    ),
    (
        "aws_assume_role_refresh_due_timestamp_seconds",
        "When the credentials in the Secret of a resource are to be replaced, or were to be. Failures do not move it.",
        |standing, _| standing.due.map(seconds),
    ),
    (
        "aws_assume_role_consecutive_failures",
        "Failed attempts since the last success.",
        |standing, _| Some(f64::from(standing.failures)),
    ),
];

/// Everything that a snapshot makes.
#[must_use]
pub(super) fn text(snapshot: &Snapshot) -> String {
    let mut text = Text(String::with_capacity(
        4096 + snapshot.resources.len() * BYTES_PER_RESOURCE,
    ));
    for (name, help, value) in OF_RESOURCES {
        text.family(name, help);
        for (key, standing) in &snapshot.resources {
            if let Some(value) = value(standing, snapshot.now) {
                text.of_resource(name, key, value);
            }
        }
    }
    let name = "aws_assume_role_resources";
    text.family(name, "Resources by state.");
    for state in State::iter() {
        let resources = snapshot.resources.iter();
        let number = resources.filter(|(_, standing)| standing.state_at(snapshot.now) == state);
        text.labelled(name, "state", state.into(), number.count());
    }
    let name = "aws_assume_role_rulings";
    text.family(name, "Resources by what the AWSAssumeRolePolicies say of them.");
    for (ruling, number) in snapshot.rulings {
        text.labelled(name, "ruling", ruling, number);
    }
    let name = "aws_assume_role_watch_last_heard_timestamp_seconds";
    text.family(
        name,
        "When something was last heard of a watch on the API server, or when the operator started.",
    );
    for (watch, moment) in snapshot.watches {
        text.labelled(name, "watch", watch, seconds(moment));
    }
    text.single(
        "aws_assume_role_unwatched_namespaces",
        "Of the namespaces that are watched, those that could not be listed yet. One that stands for all counts as one.",
        snapshot.unwatched_scopes,
    );
    text.single(
        "aws_assume_role_actors",
        "Role actors, at work or at rest.",
        snapshot.actors,
    );
    text.single(
        "aws_assume_role_clock_skew_seconds",
        "How much later it is for AWS than by the operator's clock.",
        snapshot.skew_seconds,
    );
    text.single(
        "aws_assume_role_gate_waiting",
        "Calls to AWS that wait at the gate.",
        snapshot.gate.waiting,
    );
    text.single(
        "aws_assume_role_gate_in_flight",
        "Calls to AWS that are under way.",
        snapshot.gate.in_flight,
    );
    text.single(
        "aws_assume_role_gate_rate",
        "Calls per second that the gate allows now, on the quota with the fewest. It falls while AWS throttles.",
        snapshot.gate.rate,
    );
    text.0
}

/// Text in the making. All of it are gauges.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    }

    fn of_resource(&mut self, name: &str, key: &ResourceKey, value: f64) {
        // The API server's names have nothing in them that would have to be escaped.
        let (resource, namespace) = (&key.name, &key.namespace);
        self.write(format_args!(
            "{name}{{name=\"{resource}\",namespace=\"{namespace}\"}} {value}\n"
        ));
    }

    fn labelled(&mut self, name: &str, label: &str, word: &str, value: impl Display) {
        self.write(format_args!("{name}{{{label}=\"{word}\"}} {value}\n"));
    }

    fn single(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, help);
        self.write(format_args!("{name} {value}\n"));
    }

    fn write(&mut self, what: std::fmt::Arguments<'_>) {
        // A String takes whatever is written to it.
        let _ = self.0.write_fmt(what);
    }
}

/// Seconds since 1970, as Prometheus writes moments.
fn seconds(moment: Timestamp) -> f64 {
    // Milliseconds of any year that can be written down fit exactly.
    #[allow(clippy::cast_precision_loss)]
    let milliseconds = moment.as_millisecond() as f64;
    milliseconds / 1000.0
}
