//! The exporter: where the spans go and how, as OpenTelemetry's variables say.
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

mod client;
mod tls;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use thiserror::Error;
use tokio::sync::watch;

use self::client::Client;
use self::tls::Tls;
use crate::errors::chain_of;

/// Each setting has a variable for traces alone, which wins, and one for everything that OpenTelemetry sends.
type Setting = [&'static str; 2];

const ENDPOINT: Setting = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: Setting = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUT: Setting = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
/// How long a request to the collector may take. OpenTelemetry's default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

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
    /// A file with certificates, or a key, is not there.
    #[error("{variable} is {path:?}, which cannot be read: {source}. Set it to the path of a file in PEM form.")]
    Unreadable {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A file holds no certificate, or no key.
    #[error("{variable} is {path:?}, which holds no {wanted} in PEM form")]
    Pem {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        path: PathBuf,
        /// What should be in the file.
        wanted: &'static str,
    },
    /// A variable holds what the file should hold. What it holds is not said.
    #[error("{0} holds a certificate or a key itself: set it to the path of a file in PEM form")]
    Inline(&'static str),
    /// A client certificate is of use with its key only.
    #[error("{set} is set and {missing} is not: set both, or none")]
    Half {
        /// The variable that is set.
        set: &'static str,
        /// The one that has to be set as well.
        missing: &'static str,
    },
    /// The certificates and the key do not fit together, or cannot be used.
    #[error("TLS cannot be spoken: {}. See OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY.", chain_of(.0))]
    Tls(#[source] rustls::Error),
    /// The exporter does not take what the variables hold.
    #[error("{0}. See the OTEL_EXPORTER_OTLP variables.")]
    Rejected(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// What the environment holds under a name, if it is not empty.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The exporter that the environment asks for, and what tells why it failed where its own error does not. It needs a Tokio runtime around
/// it, on which its connection lives.
///
/// # Errors
/// [`TracesError`] tells what to write instead.
pub(super) fn from_environment(environment: Environment<'_>) -> Result<Option<Exporter>, TracesError> {
    let Some(protocol) = protocol(environment)? else {
        return Ok(None);
    };
    let timeout = timeout(environment);
    let tls = Tls::read(environment)?;
    // Made for gRPC too: it says at once what does not fit together, which a handshake would say later, or not at all.
    let (client, causes) = Client::new(tls.config()?, timeout);
    let builder = SpanExporter::builder();
    // What was decided here is not to be read again by other rules.
    let exporter = match protocol {
        Protocol::Grpc => builder
            .with_tonic()
            .with_timeout(timeout)
            .with_tls_config(tls.channel())
            .build()?,
        Protocol::Http => builder
            .with_http()
            .with_timeout(timeout)
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .with_http_client(client)
            .build()?,
    };
    Ok(Some(Exporter { exporter, causes }))
}

/// The exporter, and the causes of what failed.
pub(super) struct Exporter {
    pub exporter: SpanExporter,
    pub causes: watch::Receiver<Option<String>>,
}

fn first(environment: Environment<'_>, setting: Setting) -> Option<(&'static str, String)> {
    let found = |variable| environment(variable).map(|value| (variable, value));
    setting.into_iter().find_map(found)
}

fn timeout(environment: Environment<'_>) -> Duration {
    let milliseconds = first(environment, TIMEOUT).and_then(|(_, value)| value.trim().parse().ok());
    milliseconds.map_or(DEFAULT_TIMEOUT, Duration::from_millis)
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
        None => first(environment, ENDPOINT).is_some(),
    };
    if !wanted {
        return Ok(None);
    }
    check_sampler(environment)?;
    let Some((variable, value)) = first(environment, PROTOCOL) else {
        // OpenTelemetry's default.
        return Ok(Some(Protocol::Http));
    };
    match value.trim() {
        "grpc" => Ok(Some(Protocol::Grpc)),
        "http/protobuf" => Ok(Some(Protocol::Http)),
        _ => Err(TracesError::Protocol { variable, value }),
    }
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

    fn found(variables: &[(&str, &str)], name: &str) -> Option<String> {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    fn protocol_with(variables: &[(&str, &str)]) -> Result<Option<Protocol>, String> {
        protocol(&|name| found(variables, name)).map_err(|error| error.to_string())
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
