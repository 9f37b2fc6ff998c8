//! The spans of a cycle: their names and attributes, in one place. What only an answer tells (`http.response.status_code`,
//! `aws.request_id`), the clients record on the span that is open.
//!
//! Names and attributes follow OpenTelemetry's semantic conventions for AWS SDK calls, HTTP clients, Kubernetes and exceptions where these
//! have a word (<https://opentelemetry.io/docs/specs/semconv/>), and begin with `aws_assume_role.` where they do not.
//! `docs/observability.md` lists them for people.

use std::fmt::Display;

use opentelemetry::trace::{SpanContext, TraceContextExt, TraceId};
use opentelemetry::{KeyValue, Value};
use tracing::field::Empty;
use tracing::{Dispatch, Span, error_span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

use crate::aws::error::Operation;
use crate::refresh::Trigger;
use crate::spec::ResourceKey;

/// Whose a span is, kept on it for the log lines.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub namespace: String,
    pub name: String,
    /// Where traces are on.
    pub trace_id: Option<TraceId>,
}

/// The root span of a cycle. The cycle that it repeats, where it is one that failed, is linked to it.
///
/// Its level is that of an error so that a line of whatever level knows whose it is.
#[must_use]
pub fn refresh(resource: &ResourceKey, trigger: Trigger, after: Option<&SpanContext>) -> Span {
    let span = error_span!(
        parent: None,
        "refresh",
        otel.kind = "internal",
        k8s.namespace.name = &*resource.namespace,
        k8s.awsassumerole.name = &*resource.name,
        k8s.awsassumerole.uid = &*resource.uid,
        k8s.secret.name = Empty,
        aws_assume_role.trigger = %trigger,
        aws_assume_role.why = Empty,
        aws_assume_role.role_arn = Empty,
        aws_assume_role.secret_type = Empty,
        aws_assume_role.attempt = Empty,
        aws_assume_role.actor.restarts = Empty,
        aws_assume_role.outcome = Empty,
        aws_assume_role.next_refresh_time = Empty,
        error.type = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    );
    if let Some(after) = after {
        span.add_link(after.clone());
    }
    belongs_to(&span, resource);
    span
}

/// The root span of another attempt to write a status, when the cycle that it belongs to is long over.
#[must_use]
pub fn status_again(resource: &ResourceKey) -> Span {
    let span = error_span!(
        parent: None,
        "status",
        otel.kind = "internal",
        k8s.namespace.name = &*resource.namespace,
        k8s.awsassumerole.name = &*resource.name,
        k8s.awsassumerole.uid = &*resource.uid,
    );
    belongs_to(&span, resource);
    span
}

/// A call to AWS, named as its SDKs do.
#[must_use]
pub fn aws_call(operation: Operation, region: &str) -> Span {
    let service = operation.service();
    info_span!(
        "aws",
        otel.name = format!("{}.{}", service.to_lowercase(), operation.name()),
        otel.kind = "client",
        rpc.system = "aws-api",
        rpc.service = service,
        rpc.method = operation.name(),
        cloud.provider = "aws",
        cloud.region = region,
        aws.request_id = Empty,
        http.response.status_code = Empty,
        error.type = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty,
    )
}

/// The time that a call waits at the gate before AWS.
#[must_use]
pub fn gate_wait() -> Span {
    info_span!("gate.wait", otel.kind = "internal")
}

/// The time that is kept between two calls for one resource, whatever AWS answered.
#[must_use]
pub fn floor_wait() -> Span {
    info_span!("floor.wait", otel.kind = "internal")
}

macro_rules! api_call {
    ($name:literal, $method:expr) => {
        info_span!(
            $name,
            otel.kind = "client",
            http.request.method = $method,
            http.response.status_code = Empty,
            k8s.secret.name = Empty,
            k8s.serviceaccount.name = Empty,
            error.type = Empty,
            otel.status_code = Empty,
            otel.status_description = Empty,
        )
    };
}

/// A look at the metadata of a Secret.
#[must_use]
pub fn secret_read(secret: &str) -> Span {
    named(api_call!("secret.read", "GET"), secret)
}

/// The question whether a Secret could be made, to which a namespace that is being deleted says no.
#[must_use]
pub fn secret_probe(secret: &str) -> Span {
    named(api_call!("secret.probe", "POST"), secret)
}

/// A write of a Secret: `POST` makes it, `PATCH` replaces its content or puts right what is beside it.
#[must_use]
pub fn secret_write(secret: &str, method: &'static str) -> Span {
    named(api_call!("secret.write", method), secret)
}

/// The deletion of a Secret.
#[must_use]
pub fn secret_delete(secret: &str) -> Span {
    named(api_call!("secret.delete", "DELETE"), secret)
}

/// A look at the version of a resource that somebody changed while its status was written.
#[must_use]
pub fn resource_read() -> Span {
    api_call!("resource.read", "GET")
}

/// The request for a token of a ServiceAccount.
#[must_use]
pub fn service_account_token(service_account: &str) -> Span {
    let span = api_call!("serviceaccount.token", "POST");
    span.record("k8s.serviceaccount.name", service_account);
    span
}

/// A write of the status.
#[must_use]
pub fn status_write() -> Span {
    api_call!("status.write", "PATCH")
}

/// A write of an event: `POST` makes it, `PATCH` counts one that recurs.
#[must_use]
pub fn event_write(method: &'static str) -> Span {
    api_call!("event.write", method)
}

fn named(span: Span, secret: &str) -> Span {
    span.record("k8s.secret.name", secret);
    span
}

/// Says that what a span stands for failed: its status, the class of the error, and an exception.
pub fn failed(span: &Span, error_type: &str, message: &dyn Display) {
    let message = message.to_string();
    span.record("error.type", error_type);
    span.record("otel.status_code", "ERROR");
    span.record("otel.status_description", message.as_str());
    let attribute = |key: &'static str, value: String| KeyValue::new(key, Value::from(value));
    span.add_event(
        "exception",
        vec![
            attribute("exception.type", error_type.to_owned()),
            attribute("exception.message", message),
        ],
    );
}

/// The trace and the span, for another to be linked to it.
#[must_use]
pub fn context_of(span: &Span) -> Option<SpanContext> {
    let context = span.context().span().span_context().clone();
    context.is_valid().then_some(context)
}

/// Keeps whose a span is where the log lines look for it.
fn belongs_to(span: &Span, resource: &ResourceKey) {
    let trace_id = context_of(span).map(|context| context.trace_id());
    span.with_subscriber(|(id, dispatch): (&tracing::Id, &Dispatch)| {
        let registry = dispatch.downcast_ref::<Registry>();
        if let Some(span) = registry.and_then(|registry| registry.span(id)) {
            span.extensions_mut().insert(Subject {
                namespace: resource.namespace.to_string(),
                name: resource.name.to_string(),
                trace_id,
            });
        }
    });
}
