//! Logs: one line per thing that happened, on standard output, for people or as JSON.

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// The level where `RUST_LOG` is not set.
const DEFAULT_FILTER: &str = "info";

/// The most that other crates may log, whatever `RUST_LOG` says. Below it the HTTP, TLS, Kubernetes and AWS clients print requests and
/// answers, and those carry credentials: kube warns of an answer that it cannot read by printing it.
const OTHERS_MAX: LevelFilter = LevelFilter::ERROR;

/// The target of this crate's own lines.
const OWN_TARGET: &str = "aws_assume_role";

/// Sets logging up for the process. A second call does nothing.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let lines = match format {
        LogFormat::Human => tracing_subscriber::fmt::layer().with_ansi(false).boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer().json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(filter).with_filter(NothingThatQuotes))
        .try_init();
}

/// Lets no line through that may quote what went over the wire.
struct NothingThatQuotes;

impl NothingThatQuotes {
    fn allows(metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let own = target == OWN_TARGET
            || target
                .strip_prefix(OWN_TARGET)
                .is_some_and(|rest| rest.starts_with("::"));
        own || *metadata.level() <= OTHERS_MAX
    }
}

impl<S> Filter<S> for NothingThatQuotes {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        Self::allows(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match Self::allows(metadata) {
            true => Interest::always(),
            false => Interest::never(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn others_are_not_heard_below_error_even_when_everything_is_asked_for() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(
            layer
                .with_filter(EnvFilter::new("trace"))
                .with_filter(NothingThatQuotes),
        );
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "aws_assume_role::role", "own");
            tracing::error!(target: "kube_client::client", "loud");
            tracing::warn!(target: "kube_client::client", "quoted");
            tracing::debug!(target: "kube_client::client::body", "quoted");
            tracing::trace!(target: "aws_smithy_runtime::client", "quoted");
            tracing::debug!(target: "aws_assume_role_not_really", "quoted");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("own") && text.contains("loud"), "{text}");
        assert!(!text.contains("quoted"), "{text}");
    }
}
