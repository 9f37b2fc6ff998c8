//! The exporter: where the spans go and how, as OpenTelemetry's variables say.
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{SpanExporter, WithTonicConfig};
use thiserror::Error;

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

/// The exporter that the environment asks for. It needs a Tokio runtime around it, on which its connection lives.
///
/// # Errors
/// [`TracesError`] tells what to write instead.
pub(super) fn wanted(environment: Environment<'_>) -> Result<Option<SpanExporter>, TracesError> {
    let builder = SpanExporter::builder();
    let exporter = match protocol(environment)? {
        None => return Ok(None),
        Some(Protocol::Http) => builder.with_http().build()?,
        // The exporter of itself trusts nobody.
        Some(Protocol::Grpc) => {
            let tls = ClientTlsConfig::new().with_enabled_roots();
            builder.with_tonic().with_tls_config(tls).build()?
        }
    };
    Ok(Some(exporter))
}

/// How the collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Http,
}

/// Whether traces are asked for, and how they are to leave.
fn protocol(environment: Environment<'_>) -> Result<Option<Protocol>, TracesError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol_with(variables: &[(&str, &str)]) -> Result<Option<Protocol>, String> {
        let environment = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        protocol(&environment).map_err(|error| error.to_string())
    }

    #[test]
    fn traces_are_off_until_an_endpoint_is_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(protocol_with(&[]), Ok(None));
        assert_eq!(protocol_with(&[grpc]), Ok(None));
        assert_eq!(protocol_with(&[endpoint]), Ok(Some(Protocol::Http)));
        assert_eq!(protocol_with(&[endpoint, grpc]), Ok(Some(Protocol::Grpc)));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://x/v1/traces");
        let own_protocol = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert_eq!(protocol_with(&[own, grpc, own_protocol]), Ok(Some(Protocol::Http)));
        let exporter = ("OTEL_TRACES_EXPORTER", "otlp");
        assert_eq!(protocol_with(&[exporter]), Ok(Some(Protocol::Http)));
        assert_eq!(protocol_with(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert_eq!(protocol_with(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
    }

    #[test]
    fn what_cannot_be_done_is_told_with_what_can() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317");
        let protocol = protocol_with(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")]);
        assert!(protocol.unwrap_err().contains("grpc or http/protobuf"));
        let sampler = |name, share| {
            protocol_with(&[
                endpoint,
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", share),
            ])
        };
        assert!(sampler("traceidratio", "0.1").is_ok() && sampler("always_on", "").is_ok());
        assert!(sampler("traceidratio", "ten").unwrap_err().contains("0.0 to 1.0"));
        assert!(sampler("sometimes", "").unwrap_err().contains("traceidratio"));
        let exporter = protocol_with(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
        assert!(exporter.unwrap_err().contains("otlp"));
    }
}
