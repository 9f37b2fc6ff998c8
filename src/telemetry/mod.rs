//! What the operator shows of itself: logs, traces, metrics, and whether it is well. Credentials are in none of it.
//!
//! It watches by wrapping ([`measured_aws`], [`measured_cluster`]) or is fed by the actors ([`recorder`], [`snapshot`], [`health`]). What it watches does
//! not know it.

pub mod exporter;
pub mod health;
pub mod logs;
pub mod measured_aws;
pub mod measured_cluster;
pub mod metrics;
pub mod recorder;
pub mod server;
pub mod snapshot;
pub mod spans;
mod standings;
pub mod traces;

use tracing::{Metadata, error};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::logs::LogFormat;
use self::traces::Traces;

/// The target of this crate's own lines and spans.
const OWN_TARGET: &str = "aws_assume_role";

/// Sets logs and traces up for the process. A second call does nothing.
pub fn start(format: LogFormat, traces: Option<&Traces>) {
    let _ = tracing_subscriber::registry()
        .with(logs::layer(format))
        .with(traces.map(Traces::layer))
        .try_init();
}

/// Makes a panic say no more than where it happened: its message may quote anything, and Rust would print it.
pub fn quiet_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        error!(place, "panicked");
    }));
}

/// Whether a line or a span is this crate's own. What other crates tell may quote what went over the wire.
fn is_own(metadata: &Metadata<'_>) -> bool {
    let rest = metadata.target().strip_prefix(OWN_TARGET);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}
