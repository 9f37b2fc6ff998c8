//! The HTTP client for all of AWS: which calls go through a proxy, and whose certificates are trusted.
//!
//! The SDK reads neither the variables of proxies nor `AWS_CA_BUNDLE` by itself.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use aws_smithy_http_client::proxy::{ProxyConfig, ProxyError};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use tracing::{info, warn};

use crate::fence::Fence;

/// The variable that names a file of certificate authorities for AWS.
/// <https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-envvars.html#envvars-list-AWS_CA_BUNDLE>
const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// The variables that name the proxy for one kind of address. The first that is set to something counts.
const HTTPS_PROXY: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// The same for plain HTTP.
const HTTP_PROXY: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// A setting of the environment that cannot be used.
#[derive(Debug, Error)]
pub enum InvalidSetting {
    /// The bundle cannot be read.
    #[error("{CA_BUNDLE}: {path} cannot be read: {why}")]
    UnreadableBundle {
        /// The file.
        path: String,
        /// Why not.
        why: std::io::Error,
    },
    /// The bundle holds nothing to trust.
    #[error("{CA_BUNDLE}: {path} holds no certificate in PEM form")]
    EmptyBundle {
        /// The file.
        path: String,
    },
    /// A proxy that the SDK would pass over in silence. Its value may hold a password.
    #[error("{0} is no proxy that can be used: give http://host:port")]
    Proxy(&'static str),
}

/// The client, as the environment wants it.
pub(super) fn client() -> Result<SharedHttpClient, InvalidSetting> {
    let tls = match variable(CA_BUNDLE) {
        Some(path) => {
            let context = trusting(&path)?;
            info!(
                path,
                "the certificates of {CA_BUNDLE} are trusted for AWS, and no others"
            );
            context
        }
        None => TlsContext::default(),
    };
    let direct = Builder::new()
        .tls_provider(Provider::rustls(CryptoMode::AwsLc))
        .tls_context(tls.clone())
        .build_https();
    let no_proxy = first(&["NO_PROXY", "no_proxy"]).map_or_else(String::new, |(_, list)| list);
    let way = |variables: &[&'static str], config: fn(Uri) -> Result<ProxyConfig, ProxyError>| {
        let Some((name, value)) = first(variables) else {
            return Ok(None);
        };
        let config = proxy(&value)
            .and_then(|uri| config(uri).ok())
            .ok_or(InvalidSetting::Proxy(name))?;
        info!(variable = name, no_proxy, "calls to AWS go through a proxy");
        Ok(Some(through(config.no_proxy(&no_proxy), tls.clone())))
    };
    let https = way(&HTTPS_PROXY, ProxyConfig::https)?;
    let http = way(&HTTP_PROXY, ProxyConfig::http)?;
    if https.is_none() && http.is_none() {
        return Ok(direct);
    }
    Ok(SharedHttpClient::new(Ways {
        direct,
        https,
        http,
        exceptions: Arc::new(Exceptions::new(&no_proxy)),
    }))
}

/// A client whose calls pass the fence, each just before it is sent.
pub(super) fn fenced(client: SharedHttpClient, fence: Fence) -> SharedHttpClient {
    SharedHttpClient::new(Fenced { client, fence })
}

/// A client whose calls go through a proxy.
fn through(config: ProxyConfig, tls: TlsContext) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder();
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        builder
            .proxy_config(config.clone())
            .tls_provider(Provider::rustls(CryptoMode::AwsLc))
            .tls_context(tls.clone())
            .build()
    })
}

/// The first of some variables that is set to something.
fn first(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, variable(name)?)))
}

/// A variable that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// A proxy as its address. Without a scheme it is one of plain HTTP.
fn proxy(value: &str) -> Option<Uri> {
    let value = value.trim();
    let uri: Uri = match value.contains("://") {
        true => value.parse().ok()?,
        false => format!("http://{value}").parse().ok()?,
    };
    (uri.host().is_some_and(|host| !host.is_empty()) && matches!(uri.scheme_str(), Some("http" | "https")))
        .then_some(uri)
}

/// Trusts the certificates of a file instead of the machine's, as AWS's own tools do.
fn trusting(path: &str) -> Result<TlsContext, InvalidSetting> {
    let text = fs::read(path).map_err(|why| InvalidSetting::UnreadableBundle {
        path: path.to_owned(),
        why,
    })?;
    let certificates = usable(&text, path);
    if certificates.is_empty() {
        return Err(InvalidSetting::EmptyBundle { path: path.to_owned() });
    }
    let store = certificates.iter().fold(TrustStore::empty(), |store, certificate| {
        store.with_pem_certificate(pem(certificate))
    });
    TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|_| InvalidSetting::EmptyBundle { path: path.to_owned() })
}

/// The certificates that can be trusted. The SDK panics over the others, of which the bundle of a machine may hold some.
fn usable(text: &[u8], path: &str) -> Vec<CertificateDer<'static>> {
    let mut probe = RootCertStore::empty();
    let found: Vec<_> = CertificateDer::pem_slice_iter(text).filter_map(Result::ok).collect();
    let all = found.len();
    let usable: Vec<_> = found
        .into_iter()
        .filter(|certificate| probe.add(certificate.clone()).is_ok())
        .collect();
    if usable.len() < all {
        warn!(
            path,
            unusable = all - usable.len(),
            "some certificates of {CA_BUNDLE} cannot be used"
        );
    }
    usable
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = BASE64_STANDARD.encode(certificate);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// Another client or connector, with a fence before it.
struct Fenced<T> {
    client: T,
    fence: Fence,
}

impl<T: fmt::Debug> fmt::Debug for Fenced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}

impl HttpClient for Fenced<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Fenced {
            client: self.client.http_connector(settings, components),
            fence: self.fence.clone(),
        })
    }
}

impl HttpConnector for Fenced<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, fence) = (self.client.clone(), self.fence.clone());
        HttpConnectorFuture::new(async move {
            fence.pass().await;
            client.call(request).await
        })
    }
}

/// The ways to AWS, and who is reached directly although there is a proxy.
#[derive(Debug)]
struct Ways {
    direct: SharedHttpClient,
    https: Option<SharedHttpClient>,
    http: Option<SharedHttpClient>,
    exceptions: Arc<Exceptions>,
}

impl HttpClient for Ways {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let connector = |client: &SharedHttpClient| client.http_connector(settings, components);
        SharedHttpConnector::new(Way {
            direct: connector(&self.direct),
            https: self.https.as_ref().map(connector),
            http: self.http.as_ref().map(connector),
            exceptions: self.exceptions.clone(),
        })
    }
}

/// The way of a request, which its address decides.
#[derive(Debug)]
struct Way {
    direct: SharedHttpConnector,
    https: Option<SharedHttpConnector>,
    http: Option<SharedHttpConnector>,
    exceptions: Arc<Exceptions>,
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri();
        let proxied = match uri.starts_with("https:") {
            true => &self.https,
            false => &self.http,
        };
        match proxied.as_ref().filter(|_| !self.exceptions.hold(uri)) {
            Some(proxied) => proxied.call(request),
            None => self.direct.call(request),
        }
    }
}

/// What `NO_PROXY` says beyond what the SDK understands of it, which is domains, addresses and networks without a port, and what no variable
/// can change: the addresses that give the operator its identity.
struct Exceptions(Vec<Exception>);

struct Exception {
    /// `*`, an address, or a domain that stands for all in it.
    host: String,
    port: Option<u16>,
}

impl fmt::Debug for Exceptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exceptions")
    }
}

impl Exceptions {
    fn new(no_proxy: &str) -> Self {
        let entries = no_proxy.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty());
        Self(entries.map(Exception::new).collect())
    }

    /// Whether an address is reached without a proxy.
    fn hold(&self, uri: &str) -> bool {
        let Ok(uri) = uri.parse::<Uri>() else {
            return false;
        };
        let Some(host) = uri.host() else {
            return false;
        };
        let host = plain(host);
        let port = uri.port_u16().unwrap_or(match uri.scheme_str() {
            Some("http") => 80,
            _ => 443,
        });
        is_at_home(&host) || self.0.iter().any(|exception| exception.holds(&host, port))
    }
}

impl Exception {
    fn new(entry: &str) -> Self {
        // A colon alone may be part of an IPv6 address.
        let parts = match entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => Some((host, rest.strip_prefix(':').unwrap_or_default())),
            None => entry.split_once(':').filter(|(_, rest)| !rest.contains(':')),
        };
        let (host, port) = parts.unwrap_or((entry, ""));
        let host = host
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(host);
        Self {
            host: plain(host.strip_prefix('.').unwrap_or(host)),
            port: port.parse().ok(),
        }
    }

    fn holds(&self, host: &str, port: u16) -> bool {
        let is_host = self.host == "*"
            || self.host == host
            || host
                .strip_suffix(self.host.as_str())
                .is_some_and(|rest| rest.ends_with('.'));
        is_host && self.port.is_none_or(|own| own == port)
    }
}

/// A host in one form: in lower case, without the brackets of an IPv6 address and the dot of the root.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
    let host = host.to_ascii_lowercase();
    host.parse::<IpAddr>().map_or(host, |address| address.to_string())
}

/// Whether a host is this machine, or an address that only this machine can reach: the metadata service, the agents that give out
/// identities. A proxy would ask its own.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>,
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
fn is_at_home(host: &str) -> bool {
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified() || is_ec2(address)
        }
        Err(_) => false,
    }
}

/// `fd00:ec2::/32`, where EC2 has its services.
fn is_ec2(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xfd00, 0x0ec2, ..])
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
