//! The account that a cycle gives of itself: its root span, and what is counted of it. It is given also by a cycle that comes to no end.

use opentelemetry::trace::SpanContext;
use tokio::time::Instant;
use tracing::Span;

use super::metrics::Metrics;
use super::spans;
use crate::refresh::outcome::Outcome;

/// The account of one cycle. Letting go of it says that the cycle was aborted, or has panicked.
pub struct Account {
    span: Span,
    metrics: Metrics,
    started: Instant,
    given: bool,
}

impl Account {
    /// Opens the account of a cycle that begins.
    #[must_use]
    pub fn open(span: Span, metrics: Metrics) -> Self {
        Self {
            span,
            metrics,
            started: Instant::now(),
            given: false,
        }
    }

    /// The root span.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Closes it with what came of the cycle. Gives its place among the traces, for the next attempt to be linked to.
    pub fn close(mut self, outcome: &Outcome) -> Option<SpanContext> {
        let reason: &str = outcome.reason().into();
        if let Outcome::Failed(failure) = outcome {
            spans::failed(&self.span, reason, failure);
        }
        self.give(outcome.word(), reason);
        spans::context_of(&self.span)
    }

    fn give(&mut self, outcome: &'static str, reason: &str) {
        self.given = true;
        self.span.record("aws_assume_role.outcome", outcome);
        self.metrics.refreshed(outcome, reason, self.started.elapsed());
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if self.given {
            return;
        }
        if std::thread::panicking() {
            // What a panic says is not told: it may quote anything.
            spans::failed(&self.span, "panic", &"the cycle panicked");
            self.give("panicked", "");
        } else {
            self.give("aborted", "");
        }
    }
}
