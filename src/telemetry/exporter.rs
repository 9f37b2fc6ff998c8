//! The exporter: where the spans go and how, as OpenTelemetry's variables say.
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig, WithTonicConfig};
use thiserror::Error;

/// Each setting has a variable for traces alone, which wins, and one for everything that OpenTelemetry sends.
type Setting = [&'static str; 2];

const ENDPOINT: Setting = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOL: Setting = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUT: Setting = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const CERTIFICATE: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const CLIENT_CERTIFICATE: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
const CLIENT_KEY: Setting = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];

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
    /// A client certificate is of use with its key only.
    #[error("{set} is set and {missing} is not: set both, or none")]
    Half {
        /// The variable that is set.
        set: &'static str,
        /// The one that has to be set as well.
        missing: &'static str,
    },
    /// The client for OTLP by HTTP cannot be made.
    #[error("there is no HTTP client: {0}. See the OTEL_EXPORTER_OTLP variables.")]
    Client(#[from] reqwest::Error),
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
    let Some(protocol) = protocol(environment)? else {
        return Ok(None);
    };
    let trust = Trust::read(environment)?;
    let builder = SpanExporter::builder();
    let exporter = match protocol {
        Protocol::Grpc => builder.with_tonic().with_tls_config(trust.grpc()).build()?,
        Protocol::Http => {
            let client = trust.http(timeout(environment))?;
            builder.with_http().with_http_client(client).build()?
        }
    };
    Ok(Some(exporter))
}

fn first(environment: Environment<'_>, setting: Setting) -> Option<(&'static str, String)> {
    let found = |variable| environment(variable).map(|value| (variable, value));
    setting.into_iter().find_map(found)
}

fn timeout(environment: Environment<'_>) -> Duration {
    let milliseconds = first(environment, TIMEOUT).and_then(|(_, value)| value.trim().parse().ok());
    milliseconds.map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

/// What is in a file that a variable names.
struct Pem {
    variable: &'static str,
    path: PathBuf,
    content: Vec<u8>,
}

impl Pem {
    fn read(environment: Environment<'_>, setting: Setting) -> Result<Option<Self>, TracesError> {
        let Some((variable, path)) = first(environment, setting) else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        match fs::read(&path) {
            Ok(content) => Ok(Some(Self {
                variable,
                path,
                content,
            })),
            Err(source) => Err(TracesError::Unreadable { variable, path, source }),
        }
    }

    fn without(&self, wanted: &'static str) -> TracesError {
        let (variable, path) = (self.variable, self.path.clone());
        TracesError::Pem { variable, path, wanted }
    }
}

/// Whom the exporter trusts over TLS, and who it says it is.
struct Trust {
    /// Whose certificates are trusted. `None`: those that the system trusts.
    authorities: Option<Pem>,
    /// The exporter's own certificate and its key.
    identity: Option<(Pem, Pem)>,
}

impl Trust {
    fn read(environment: Environment<'_>) -> Result<Self, TracesError> {
        let certificate = Pem::read(environment, CLIENT_CERTIFICATE)?;
        let key = Pem::read(environment, CLIENT_KEY)?;
        let half = |set: &Pem, missing: Setting| TracesError::Half {
            set: set.variable,
            missing: missing[1],
        };
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(certificate), None) => return Err(half(&certificate, CLIENT_KEY)),
            (None, Some(key)) => return Err(half(&key, CLIENT_CERTIFICATE)),
            (None, None) => None,
        };
        let trust = Self {
            authorities: Pem::read(environment, CERTIFICATE)?,
            identity,
        };
        // By gRPC, what is wrong would show with the first request only.
        trust.authorities()?;
        trust.identity()?;
        Ok(trust)
    }

    fn authorities(&self) -> Result<Option<Vec<reqwest::Certificate>>, TracesError> {
        let Some(pem) = &self.authorities else {
            return Ok(None);
        };
        match reqwest::Certificate::from_pem_bundle(&pem.content) {
            Ok(certificates) if !certificates.is_empty() => Ok(Some(certificates)),
            _ => Err(pem.without("certificate")),
        }
    }

    fn identity(&self) -> Result<Option<reqwest::Identity>, TracesError> {
        let Some((certificate, key)) = &self.identity else {
            return Ok(None);
        };
        let both = [key.content.as_slice(), b"\n", certificate.content.as_slice()].concat();
        let identity = reqwest::Identity::from_pem(&both);
        identity
            .map(Some)
            .map_err(|_| match reqwest::Certificate::from_pem_bundle(&certificate.content) {
                Ok(certificates) if !certificates.is_empty() => key.without("private key"),
                _ => certificate.without("certificate"),
            })
    }

    fn http(&self, timeout: Duration) -> Result<reqwest::blocking::Client, TracesError> {
        let mut client = reqwest::blocking::Client::builder().timeout(timeout);
        if let Some(authorities) = self.authorities()? {
            client = client.tls_certs_only(authorities);
        }
        if let Some(identity) = self.identity()? {
            client = client.identity(identity);
        }
        Ok(client.build()?)
    }

    fn grpc(&self) -> ClientTlsConfig {
        let tls = match &self.authorities {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&pem.content)),
            // The exporter of itself trusts nobody.
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        match &self.identity {
            Some((certificate, key)) => tls.identity(Identity::from_pem(&certificate.content, &key.content)),
            None => tls,
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

    #[test]
    fn a_certificate_that_cannot_be_had_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let authority = rcgen::generate_simple_self_signed(["collector".to_owned()]).unwrap();
        let certificate = file("tls.crt", &authority.cert.pem());
        let key = file("tls.key", &authority.signing_key.serialize_pem());
        let empty = file("empty", "nothing");
        let read = |variables: &[(&str, &str)]| {
            let trust = Trust::read(&|name| found(variables, name));
            trust.map(|_| ()).map_err(|error| error.to_string())
        };

        let certificate_of_client = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_str());
        let key_of_client = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_str());
        let all = [
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", certificate.as_str()),
            certificate_of_client,
            key_of_client,
        ];
        assert_eq!(read(&[]), Ok(()));
        assert_eq!(read(&all), Ok(()));
        // The one for traces wins.
        let refused = read(&[all[0], ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/nowhere/ca.crt")]).unwrap_err();
        assert!(
            refused.starts_with("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE is \"/nowhere/ca.crt\""),
            "{refused}"
        );
        let refused = read(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", &empty)]).unwrap_err();
        assert!(refused.contains("holds no certificate"), "{refused}");
        let refused = read(&[certificate_of_client, ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &empty)]).unwrap_err();
        assert!(
            refused.contains("CLIENT_KEY") && refused.contains("holds no private key"),
            "{refused}"
        );
        let refused = read(&[("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &empty), key_of_client]).unwrap_err();
        assert!(
            refused.contains("CLIENT_CERTIFICATE") && refused.contains("holds no certificate"),
            "{refused}"
        );
        let refused = read(&[certificate_of_client]).unwrap_err();
        assert!(refused.contains("OTEL_EXPORTER_OTLP_CLIENT_KEY is not"), "{refused}");
        let refused = read(&[key_of_client]).unwrap_err();
        assert!(
            refused.contains("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE is not"),
            "{refused}"
        );
    }
}
