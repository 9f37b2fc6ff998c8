//! Traces: the pipeline from the spans of this crate to a collector, by OTLP.
//!
//! Everything is configured by OpenTelemetry's own environment variables, and off as long as they name no endpoint.
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>
//! Spans leave in batches from a thread of their own. Its queue is bounded, and what does not fit is dropped: a collector that is away, slow
//! or refusing costs spans, never a refresh.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::exporter::{self, Exporter, TracesError};
use super::is_own;

/// The name of the service, where neither `OTEL_SERVICE_NAME` nor `OTEL_RESOURCE_ATTRIBUTES` gives another.
const SERVICE_NAME: &str = "aws-assume-role";

/// How long the last spans may take to leave when the operator stops. A collector that hangs gets no more.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The running pipeline.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sets the pipeline up, if the environment asks for one. It needs a Tokio runtime around it.
    ///
    /// # Errors
    /// [`TracesError`] tells what to write instead.
    pub fn from_environment() -> Result<Option<Self>, TracesError> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let exporter = exporter::from_environment(&environment)?;
        Ok(exporter.map(|Exporter { exporter, causes }| Self::exporting_to(exporter, causes)))
    }

    /// Exports in batches. The causes are told when the exporter fails.
    pub(super) fn exporting_to(exporter: impl SpanExporter + 'static, causes: watch::Receiver<Option<String>>) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(Outspoken {
                exporter,
                causes,
                failing: AtomicBool::new(false),
            })
            .build();
        Self(provider)
    }

    /// What hands the spans of this crate to the pipeline.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE_NAME))
            // Where in the source and on which thread is of no use to who looks at a refresh.
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_filter(filter_fn(|metadata| {
                is_own(metadata) && *metadata.level() <= LevelFilter::INFO
            }))
    }

    /// Sends what is left, for as long as that may take, and ends. It blocks the thread, and the runtime must still be there.
    pub fn flush(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            warn!(%error, "the last traces were not exported");
        }
    }
}

/// Who sends the spans: what the environment says, with a name and the version where it does not.
fn resource() -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let told = Resource::builder().build();
    let named = told
        .get_ref(&Key::from_static_str("service.name"))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = Resource::builder().with_attribute(version);
    match named {
        true => resource.build(),
        false => resource.with_service_name(SERVICE_NAME).build(),
    }
}

/// An exporter that says once when it fails, and once when it does not any more.
#[derive(Debug)]
struct Outspoken<E> {
    exporter: E,
    /// What the last failure came from, where the exporter's own error does not say.
    causes: watch::Receiver<Option<String>>,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Outspoken<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        let cause = self.causes.borrow().clone();
        match &result {
            Err(error) if !failed_before => warn!(%error, cause, "traces are not exported; this is said once"),
            Ok(()) if failed_before => info!("traces are exported again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
