//! TLS with the collector: the certificates and the key that OpenTelemetry's variables name.

use std::path::PathBuf;
use std::{fs, io};

use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{Environment, Setting, TracesError, first};

const CERTIFICATE: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
];
const CLIENT_CERTIFICATE: Setting = [
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
];
const CLIENT_KEY: Setting = ["OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "OTEL_EXPORTER_OTLP_CLIENT_KEY"];

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
        if path.contains("-----BEGIN") || path.contains('\n') {
            return Err(TracesError::Inline(variable));
        }
        let path = PathBuf::from(path);
        match fs::read(&path) {
            Ok(content) => Ok(Some(Self {
                variable,
                path,
                content,
            })),
            // No path is that long: it is a key in base64, as it stands in a Secret's manifest.
            Err(source) if source.kind() == io::ErrorKind::InvalidFilename => Err(TracesError::Inline(variable)),
            Err(source) => Err(TracesError::Unreadable { variable, path, source }),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TracesError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.content).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(self.without("certificate")),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, TracesError> {
        PrivateKeyDer::from_pem_slice(&self.content).map_err(|_| self.without("private key"))
    }

    fn without(&self, wanted: &'static str) -> TracesError {
        let (variable, path) = (self.variable, self.path.clone());
        TracesError::Pem { variable, path, wanted }
    }
}

/// Whom the exporter trusts over TLS, and who it says it is.
pub(super) struct Tls {
    /// Whose certificates are trusted. `None`: those that the system trusts.
    authorities: Option<Pem>,
    /// The exporter's own certificate and its key.
    identity: Option<(Pem, Pem)>,
}

impl Tls {
    /// Reads the files that the environment names.
    pub(super) fn read(environment: Environment<'_>) -> Result<Self, TracesError> {
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
        let authorities = Pem::read(environment, CERTIFICATE)?;
        Ok(Self { authorities, identity })
    }

    /// The certificates and the key, checked, for whoever speaks TLS by them.
    pub(super) fn config(&self) -> Result<ClientConfig, TracesError> {
        let mut roots = RootCertStore::empty();
        match &self.authorities {
            Some(pem) => {
                for authority in pem.certificates()? {
                    roots.add(authority).map_err(TracesError::Tls)?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder().with_root_certificates(roots);
        let Some((certificate, key)) = &self.identity else {
            return Ok(config.with_no_client_auth());
        };
        config
            .with_client_auth_cert(certificate.certificates()?, key.private_key()?)
            .map_err(TracesError::Tls)
    }

    /// The configuration of the channel for gRPC.
    pub(super) fn channel(&self) -> ClientTlsConfig {
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

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

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
            let tls = Tls::read(&|name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            });
            let config = tls.and_then(|tls| tls.config());
            config.map(|_| ()).map_err(|error| error.to_string())
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

        // Each is good, but they are not a pair.
        let another = rcgen::KeyPair::generate().unwrap();
        let key_of_another = file("another.key", &another.serialize_pem());
        let refused = read(&[
            certificate_of_client,
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key_of_another),
        ])
        .unwrap_err();
        assert!(
            refused.contains("TLS cannot be spoken") && refused.contains("Mismatch"),
            "{refused}"
        );
        let garbage = "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n";
        let garbage = file("garbage.crt", garbage);
        let refused = read(&[("OTEL_EXPORTER_OTLP_CERTIFICATE", &garbage)]).unwrap_err();
        assert!(refused.contains("TLS cannot be spoken"), "{refused}");

        // A key in the variable itself is not told, neither as it is nor as a Secret's manifest has it.
        let inline = authority.signing_key.serialize_pem();
        for inline in [BASE64_STANDARD.encode(&inline), inline] {
            let refused = read(&[certificate_of_client, ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &inline)]).unwrap_err();
            assert_eq!(
                refused,
                "OTEL_EXPORTER_OTLP_CLIENT_KEY holds a certificate or a key itself: set it to the path of a file in PEM form"
            );
        }
    }
}
