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
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::is_own;

/// The name of the service, where neither `OTEL_SERVICE_NAME` nor `OTEL_RESOURCE_ATTRIBUTES` gives another.
const SERVICE_NAME: &str = "aws-assume-role";

/// How long the last spans may take to leave when the operator stops. A collector that hangs gets no more.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The running pipeline.
pub struct Traces(SdkTracerProvider);

/// What OpenTelemetry's variables ask for cannot be done. The operator does its work without traces then.
#[derive(Debug, Error)]
pub enum TracesError {
    /// A protocol that is not spoken.
    #[error("{variable} is {value:?}: set it to grpc or http/protobuf")]
    Protocol {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
    },
    /// A way of exporting that is not there.
    #[error("OTEL_TRACES_EXPORTER is {0:?}: set it to otlp, or to none")]
    Exporter(String),
    /// A way of choosing traces that is not there, or a share that is none.
    #[error("{variable} is {value:?}: set it to {instead}")]
    Sampler {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        instead: &'static str,
    },
    /// The exporter does not take what the variables hold.
    #[error("{0}. See the OTEL_EXPORTER_OTLP variables.")]
    Rejected(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What the environment holds under a name, if it is not empty.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Traces {
    /// Sets the pipeline up, if the environment asks for one. It needs a Tokio runtime around it.
    ///
    /// # Errors
    /// [`TracesError`] tells what to write instead.
    pub fn from_environment() -> Result<Option<Self>, TracesError> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let builder = OtlpExporter::builder();
        let exporter = match wanted(&environment)? {
            None => return Ok(None),
            Some(Protocol::Http) => builder.with_http().build()?,
            // The exporter of itself trusts nobody.
            Some(Protocol::Grpc) => {
                let tls = ClientTlsConfig::new().with_enabled_roots();
                builder.with_tonic().with_tls_config(tls).build()?
            }
        };
        Ok(Some(Self::exporting_to(exporter)))
    }

    pub(super) fn exporting_to(exporter: impl SpanExporter + 'static) -> Self {
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_batch_exporter(Outspoken {
                exporter,
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

/// How the collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// Whether traces are asked for, and how they are to leave.
fn wanted(environment: Environment<'_>) -> Result<Option<Protocol>, TracesError> {
    if environment("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let exporter = environment("OTEL_TRACES_EXPORTER");
    let wanted = match exporter.as_deref().map(str::trim) {
        Some("none") => return Ok(None),
        Some("otlp") => true,
        Some(_) => return Err(TracesError::Exporter(exporter.unwrap_or_default())),
        None => ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]
            .into_iter()
            .any(|name| environment(name).is_some()),
    };
    if !wanted {
        return Ok(None);
    }
    check_sampler(environment)?;
    for variable in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        match environment(variable).as_deref().map(str::trim) {
            None => {}
            Some("grpc") => return Ok(Some(Protocol::Grpc)),
            Some("http/protobuf") => return Ok(Some(Protocol::Http)),
            Some(value) => {
                let value = value.to_owned();
                return Err(TracesError::Protocol { variable, value });
            }
        }
    }
    // OpenTelemetry's default.
    Ok(Some(Protocol::Http))
}

/// The exporter's library would take all traces where it does not understand, and say so to nobody.
fn check_sampler(environment: Environment<'_>) -> Result<(), TracesError> {
    let argument = environment("OTEL_TRACES_SAMPLER_ARG");
    match environment("OTEL_TRACES_SAMPLER").as_deref() {
        None | Some("always_on" | "always_off" | "parentbased_always_on" | "parentbased_always_off") => Ok(()),
        Some("traceidratio" | "parentbased_traceidratio") => {
            let share: Option<f64> = argument.as_deref().and_then(|share| share.parse().ok());
            match share {
                Some(share) if (0.0..=1.0).contains(&share) => Ok(()),
                _ => Err(TracesError::Sampler {
                    variable: "OTEL_TRACES_SAMPLER_ARG",
                    value: argument.unwrap_or_default(),
                    instead: "a number from 0.0 to 1.0",
                }),
            }
        }
        Some(other) => Err(TracesError::Sampler {
            variable: "OTEL_TRACES_SAMPLER",
            value: other.to_owned(),
            instead: "always_on, always_off, traceidratio, or one of them with parentbased_ before it",
        }),
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
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Outspoken<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        let failed_before = self.failing.swap(result.is_err(), Ordering::Relaxed);
        match &result {
            Err(error) if !failed_before => warn!(%error, "traces are not exported; this is said once"),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted_with(variables: &[(&str, &str)]) -> Result<Option<Protocol>, String> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        wanted(&environment).map_err(|error| error.to_string())
    }

    #[test]
    fn traces_are_off_until_an_endpoint_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(wanted_with(&[]), Ok(None));
        assert_eq!(wanted_with(&[grpc]), Ok(None));
        assert_eq!(wanted_with(&[endpoint]), Ok(Some(Protocol::Http)));
        assert_eq!(wanted_with(&[endpoint, grpc]), Ok(Some(Protocol::Grpc)));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x/v1/traces");
        let own_protocol = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert_eq!(wanted_with(&[own, grpc, own_protocol]), Ok(Some(Protocol::Http)));
        let exporter = ("OTEL_TRACES_EXPORTER", "otlp");
        assert_eq!(wanted_with(&[exporter]), Ok(Some(Protocol::Http)));
        assert_eq!(wanted_with(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert_eq!(wanted_with(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
    }

    #[test]
    fn what_cannot_be_done_is_told_with_what_can() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        let protocol = wanted_with(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
        assert!(protocol.unwrap_err().contains("grpc or http/protobuf"));
        let sampler = |name, share| {
            wanted_with(&[
                endpoint,
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", share),
            ])
        };
        assert!(sampler("traceidratio", "0.1").is_ok() && sampler("always_on", "").is_ok());
        assert!(sampler("traceidratio", "ten").unwrap_err().contains("0.0 to 1.0"));
        assert!(sampler("sometimes", "").unwrap_err().contains("traceidratio"));
        let exporter = wanted_with(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
        assert!(exporter.unwrap_err().contains("otlp"));
    }
}
