//! Logs: one line per thing that happened, on standard output, for people or as JSON.
//!
//! A line of a cycle tells whose it is, and the trace that it belongs to: `namespace`, `name`, `trace_id`.

use std::{env, fmt};

use clap::ValueEnum;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::registry::LookupSpan;

use super::is_own;
use super::spans::Subject;
use crate::errors::on_one_line;

/// The form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// The level where `RUST_LOG` is not set, or says what is not understood.
const DEFAULT_LEVEL: LevelFilter = LevelFilter::INFO;

/// The most that other crates may log, whatever `RUST_LOG` says. Below it the HTTP, TLS, Kubernetes and AWS clients print requests and
/// answers, and those carry credentials: kube warns of an answer that it cannot read by printing it.
const OTHERS_MAX: LevelFilter = LevelFilter::ERROR;

/// What writes the lines to standard output.
pub(super) fn layer<S>(format: LogFormat) -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    lines(format, &env::var("RUST_LOG").unwrap_or_default(), std::io::stdout)
}

fn lines<S, W>(format: LogFormat, wanted: &str, writer: W) -> impl Layer<S> + use<S, W>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .fmt_fields(Nothing)
        .event_format(Lines(format))
        .with_writer(writer)
        .with_filter(wanted_only(levels(wanted)))
}

/// One filter for all that is asked of a line or a span: of several that disagree, each would be asked anew every time.
fn wanted_only<S>(levels: Targets) -> impl Filter<S> {
    let most = Filter::<S>::max_level_hint(&levels).unwrap_or(LevelFilter::TRACE);
    let is_wanted = move |metadata: &Metadata<'_>| match metadata.is_span() {
        true => is_root(metadata),
        false => quotes_nothing(metadata) && levels.would_enable(metadata.target(), metadata.level()),
    };
    // Roots are known whatever is wanted.
    filter_fn(is_wanted).with_max_level_hint(most.max(LevelFilter::ERROR))
}

/// Whether it is no line that may quote what went over the wire.
fn quotes_nothing(metadata: &Metadata<'_>) -> bool {
    is_own(metadata) || *metadata.level() <= OTHERS_MAX
}

/// What `RUST_LOG` asks for: a level for everything, `target=level` for a part of it, several with commas between them. Its other form, which
/// chooses by the spans around a line, is not understood: regular expressions belong to it.
fn levels(wanted: &str) -> Targets {
    let directives: Vec<_> = wanted
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    if directives.is_empty() || wanted.contains('[') {
        return Targets::new().with_default(DEFAULT_LEVEL);
    }
    let levels = directives.join(",").parse();
    levels.unwrap_or_else(|_| Targets::new().with_default(DEFAULT_LEVEL))
}

/// Whether a span is one of this crate's that say whose they are, which have the level of an error. Those are always known, for a line to
/// tell whose it is, whatever part of the crate it comes from. The spans below them are for traces alone, and cost something.
fn is_root(metadata: &Metadata<'_>) -> bool {
    *metadata.level() == Level::ERROR && is_own(metadata)
}

/// Writes the attributes of spans into no line, and so need not put them into words.
struct Nothing;

impl<'writer> FormatFields<'writer> for Nothing {
    fn format_fields<R: RecordFields>(&self, _: Writer<'writer>, _: R) -> fmt::Result {
        Ok(())
    }
}

/// Writes a line in one form or the other. Of the spans around it only whose they are is told, not their attributes.
struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let now = Timestamp::now();
        let subject = context
            .event_scope()
            .and_then(|mut spans| spans.find_map(|span| span.extensions().get::<Subject>().cloned()));
        match self.0 {
            LogFormat::Human => {
                write!(writer, "{now:.6} {:>5} {}: ", metadata.level(), metadata.target())?;
                let mut fields = String::new();
                DefaultFields::new().format_fields(Writer::new(&mut fields), event)?;
                writer.write_str(&on_one_line(&fields))?;
                if let Some(subject) = subject {
                    write!(writer, " namespace={:?} name={:?}", subject.namespace, subject.name)?;
                    if let Some(trace_id) = subject.trace_id {
                        write!(writer, " trace_id={trace_id}")?;
                    }
                }
            }
            LogFormat::Json => {
                let mut line = Line::default();
                line.put("timestamp", format!("{now:.6}"));
                line.put("level", metadata.level().as_str());
                line.put("target", metadata.target());
                event.record(&mut line);
                if let Some(subject) = subject {
                    line.put("namespace", subject.namespace);
                    line.put("name", subject.name);
                    if let Some(trace_id) = subject.trace_id {
                        line.put("trace_id", trace_id.to_string());
                    }
                }
                write!(writer, "{}", Value::Object(line.0))?;
            }
        }
        writeln!(writer)
    }
}

/// The fields of one line.
#[derive(Default)]
struct Line(Map<String, Value>);

impl Line {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }
}

impl Visit for Line {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refresh::Trigger;
    use crate::spec::fixtures::key;
    use crate::telemetry::spans;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, filter: &str, work: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let layer = lines(format, filter, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn others_are_not_heard_below_error_even_when_everything_is_asked_for() {
        let text = written(LogFormat::Human, "trace", || {
            tracing::trace!(target: "aws_assume_role::role", "own");
            tracing::error!(target: "kube_client::client", "loud");
            tracing::warn!(target: "kube_client::client", "quoted");
            tracing::debug!(target: "kube_client::client::body", "quoted");
            tracing::trace!(target: "aws_smithy_runtime::client", "quoted");
            tracing::debug!(target: "aws_assume_role_not_really", "quoted");
        });
        assert!(text.contains("own") && text.contains("loud"), "{text}");
        assert!(!text.contains("quoted"), "{text}");
    }

    #[test]
    fn rust_log_says_what_is_written() {
        let lines = || {
            tracing::debug!(target: "aws_assume_role::operator", "detail");
            tracing::info!(target: "aws_assume_role::operator", "news");
            tracing::warn!(target: "aws_assume_role::aws", "trouble");
        };
        let all = ["detail", "news", "trouble"];
        for (filter, expected) in [
            ("info", &all[1..]),
            ("WARN", &all[2..]),
            ("off", &all[3..]),
            ("aws_assume_role=debug", &all[..]),
            ("aws_assume_role", &all[..]),
            (" warn , aws_assume_role::operator=debug,", &all[..]),
            ("debug,aws_assume_role::operator=error", &all[2..]),
            // As if nothing was set.
            ("", &all[1..]),
            ("aws_assume_role=loud", &all[1..]),
            ("aws_assume_role[refresh{name=mine}]=debug", &all[1..]),
        ] {
            let text = written(LogFormat::Human, filter, lines);
            let heard: Vec<_> = all.into_iter().filter(|word| text.contains(word)).collect();
            assert_eq!(heard, expected, "{filter:?}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_does_not_look_like_a_line() {
        let forged = "no\n2026-01-01T00:00:00Z  INFO aws_assume_role: all is well\r\u{1b}[2K\u{202e}ö";
        for format in [LogFormat::Human, LogFormat::Json] {
            let text = written(format, "info", || {
                tracing::warn!(why = forged, "not refreshed: {forged}")
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(
                text.ends_with('\n') && !text.contains('\u{1b}') && text.contains('ö'),
                "{text}"
            );
        }
        let text = written(LogFormat::Human, "info", || tracing::warn!("{forged}"));
        assert!(text.contains("no\\n2026") && text.contains("\\u{202e}"), "{text}");
    }

    fn in_a_cycle(work: impl FnOnce()) {
        let root = spans::refresh(&key(), Trigger::Due, None);
        root.in_scope(|| spans::status_write().in_scope(work));
    }

    #[test]
    fn a_line_of_a_cycle_tells_whose_it_is_at_every_level() {
        for filter in ["info", "warn", "aws_assume_role::telemetry::logs=debug"] {
            let text = written(LogFormat::Json, filter, || {
                in_a_cycle(|| tracing::warn!(role_arn = "arn", attempts = 3, "not \"refreshed\""));
            });
            let line: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(line["message"], "not \"refreshed\"");
            assert_eq!(line["level"], "WARN");
            assert_eq!(line["namespace"], "team");
            assert_eq!(line["name"], "mine");
            assert_eq!(line["role_arn"], "arn");
            assert_eq!(line["attempts"], 3);
            assert!(line["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok());
        }
        let text = written(LogFormat::Human, "info", || {
            in_a_cycle(|| tracing::info!(expiration = "then", "refreshed"));
        });
        assert!(text.ends_with("aws_assume_role::telemetry::logs::tests: refreshed expiration=\"then\" namespace=\"team\" name=\"mine\"\n"), "{text}");
    }
}
