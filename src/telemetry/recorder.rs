//! What is recorded of a cycle: its root span, and what is counted of it. Also of a cycle that comes to no end.

use opentelemetry::trace::SpanContext;
use tokio::time::Instant;
use tracing::Span;

use super::metrics::Metrics;
use super::spans;
use crate::refresh::outcome::{Failure, Outcome};

/// The recorder of one cycle. One that is dropped records that the cycle was aborted, or has panicked.
pub struct CycleRecorder {
    span: Span,
    metrics: Metrics,
    started: Instant,
    closed: bool,
}

impl CycleRecorder {
    /// Opens the recorder of a cycle that begins.
    #[must_use]
    pub fn open(span: Span, metrics: Metrics) -> Self {
        Self {
            span,
            metrics,
            started: Instant::now(),
            closed: false,
        }
    }

    /// The root span.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Closes it with what came of the cycle. Returns the context of its span, for the next attempt to be linked to.
    pub fn close(mut self, outcome: &Outcome) -> Option<SpanContext> {
        let reason: &str = outcome.reason().into();
        if let Some(why) = outcome.why() {
            self.span.record("aws_assume_role.why", why);
        }
        match outcome {
            Outcome::Failed(Failure::Stopping(_)) => self.record(outcome.word(), ""),
            Outcome::Failed(failure) => {
                spans::failed(&self.span, reason, failure);
                self.record(outcome.word(), reason);
            }
            _ => self.record(outcome.word(), reason),
        }
        spans::context_of(&self.span)
    }

    fn record(&mut self, outcome: &'static str, reason: &str) {
        self.closed = true;
        self.span.record("aws_assume_role.outcome", outcome);
        self.metrics.refreshed(outcome, reason, self.started.elapsed());
    }
}

impl Drop for CycleRecorder {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        if std::thread::panicking() {
            // What a panic says is not recorded: it may quote anything.
            spans::failed(&self.span, "panic", &"the cycle panicked");
            self.record("panicked", "");
        } else {
            self.record("aborted", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::Trigger;
    use crate::spec::fixtures::key;
    use crate::telemetry::traces::Traces;
    use opentelemetry::trace::Status;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SpanData, SpanExporter};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex};
    use tokio::sync::watch;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch);
            Ok(())
        }
    }

    /// The spans of a cycle that does such work, and what was counted.
    fn recorded(after: Option<&SpanContext>, work: impl FnOnce(CycleRecorder)) -> (Vec<SpanData>, String) {
        let kept = Kept::default();
        let traces = Traces::exporting_to(kept.clone(), watch::channel(None).1);
        let metrics = Metrics::default();
        let subscriber = tracing_subscriber::registry().with(traces.layer());
        tracing::subscriber::with_default(subscriber, || {
            let span = spans::refresh(&key(), Trigger::Due, after);
            work(CycleRecorder::open(span, metrics.clone()));
        });
        traces.flush();
        (kept.0.lock().unwrap().clone(), metrics.text(None).unwrap())
    }

    fn attribute(span: &SpanData, name: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
        found.map(|attribute| attribute.value.to_string())
    }

    #[test]
    fn a_cycle_that_is_dropped_was_aborted_and_its_spans_are_ended() {
        let (spans, metrics) = recorded(None, |recorder| {
            let call = recorder.span().in_scope(spans::status_write);
            drop((call, recorder));
        });
        assert_eq!(spans.len(), 2);
        let root = spans.iter().find(|span| span.name == "refresh").unwrap();
        assert_eq!(attribute(root, "aws_assume_role.outcome").as_deref(), Some("aborted"));
        assert_eq!(root.status, Status::Unset);
        assert!(
            metrics.contains(r#"refreshes_total{outcome="aborted",reason=""} 1"#),
            "{metrics}"
        );
    }

    #[test]
    fn a_panic_is_an_exception_that_says_nothing_of_its_message() {
        let (spans, metrics) = recorded(None, |recorder| {
            let result = catch_unwind(AssertUnwindSafe(move || {
                let _recorder = recorder;
                panic!("a planted secret");
            }));
            assert!(result.is_err());
        });
        let root = &spans[0];
        assert_eq!(attribute(root, "aws_assume_role.outcome").as_deref(), Some("panicked"));
        assert_eq!(attribute(root, "error.type").as_deref(), Some("panic"));
        assert!(matches!(root.status, Status::Error { .. }));
        assert!(root.events.iter().any(|event| event.name == "exception"));
        assert!(!format!("{spans:?}").contains("planted"));
        assert!(metrics.contains(r#"outcome="panicked""#));
    }

    #[test]
    fn a_failure_is_an_error_and_the_next_attempt_is_linked_to_it() {
        let mut trace = None;
        let (failed, metrics) = recorded(None, |recorder| {
            trace = recorder.close(&Outcome::Failed(Failure::Chained));
        });
        let root = &failed[0];
        assert!(matches!(root.status, Status::Error { .. }));
        assert_eq!(attribute(root, "error.type").as_deref(), Some("InvalidRequest"));
        assert!(metrics.contains(r#"outcome="failed",reason="InvalidRequest"} 1"#));
        let (again, _) = recorded(trace.as_ref(), drop);
        let links: Vec<_> = again[0].links.iter().map(|link| link.span_context.trace_id()).collect();
        assert_eq!(links, [root.span_context.trace_id()]);
    }
}
