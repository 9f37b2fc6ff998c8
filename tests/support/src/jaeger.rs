//! Jaeger: where the operator's traces go.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::certificates::{Authority, Certified};
use super::process::Process;
use super::traces::Trace;
use super::{free_port, http, part, wait_for};

/// How many traces it keeps, the newest ones.
const KEPT: usize = 20_000;

/// A running Jaeger that keeps everything in memory.
pub struct Jaeger {
    url: String,
    grpc_endpoint: String,
    http_endpoint: String,
    _process: Process,
}

impl Jaeger {
    /// Starts one with its files in `folder`.
    pub async fn start(folder: &Path) -> Self {
        Self::start_as(folder, "http://127.0.0.1", "").await
    }

    /// Starts one that proves by a certificate that it is `localhost`, and wants a certificate of the same authority from who sends to it.
    pub async fn start_with_tls(folder: &Path, authority: &Authority) -> Self {
        let Certified { certificate, key } = authority.issue("localhost");
        let tls = json!({"cert_file": certificate, "key_file": key, "client_ca_file": authority.certificate()});
        Self::start_as(folder, "https://localhost", &format!("tls: {tls}")).await
    }

    async fn start_as(folder: &Path, origin: &str, tls: &str) -> Self {
        let (query, grpc, http) = (free_port(), free_port(), free_port());
        let config = folder.join("jaeger.yaml");
        fs::write(&config, configuration(query, grpc, http, tls)).unwrap();
        let mut command = Command::new(part("jaeger"));
        command.arg("--config").arg(&config);
        let mut process = Process::start("jaeger", folder, &command);
        let url = format!("http://127.0.0.1:{query}");
        wait_for("Jaeger", Duration::from_secs(60), async || {
            process.must_run();
            http::get(&format!("{url}/api/services")).await?;
            // The last to come up.
            TcpStream::connect(("127.0.0.1", http)).await.ok()
        })
        .await;
        Self {
            url,
            grpc_endpoint: format!("{origin}:{grpc}"),
            http_endpoint: format!("{origin}:{http}"),
            _process: process,
        }
    }

    /// Where it takes OTLP by a protocol, in the words of `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn endpoint(&self, protocol: &str) -> &str {
        match protocol {
            "grpc" => &self.grpc_endpoint,
            _ => &self.http_endpoint,
        }
    }

    /// Where it takes OTLP by gRPC.
    pub fn grpc_endpoint(&self) -> &str {
        &self.grpc_endpoint
    }

    /// Where it takes OTLP by HTTP: the base, to which `/v1/traces` is added.
    pub fn http_endpoint(&self) -> &str {
        &self.http_endpoint
    }

    /// Where it is asked. It has no web page when it is built as a Go module, but all of the API.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The traces of a service with a span that has all of those attributes, the oldest first. See [`traces`].
    pub async fn traces(&self, service: &str, tags: &[(&str, &str)]) -> Vec<Trace> {
        traces(&self.url, service, tags).await.unwrap()
    }

    /// All that it has of a service, as it came: OTLP in JSON, with what `/api/traces` leaves out, like the attributes of links and
    /// scopes. It is to be searched for what must not be in it.
    pub async fn raw(&self, service: &str) -> String {
        let query = serde_urlencoded::to_string([
            ("query.service_name", service),
            ("query.start_time_min", "1970-01-01T00:00:00Z"),
            ("query.start_time_max", "2100-01-01T00:00:00Z"),
            ("query.num_traces", &KEPT.to_string()),
            ("query.raw_traces", "true"),
        ])
        .unwrap();
        let (status, text) = http::get(&format!("{}/api/v3/traces?{query}", self.url)).await.unwrap();
        match status.as_u16() {
            200 => text,
            // There are none.
            404 => String::new(),
            _ => panic!("Jaeger: {status} {text}"),
        }
    }
}

/// The traces that the Jaeger at `url` has of a service with a span that has all of those attributes, the oldest first. A trace that has
/// not arrived as a whole is left out.
pub async fn traces(url: &str, service: &str, tags: &[(&str, &str)]) -> Result<Vec<Trace>, String> {
    let tags: BTreeMap<_, _> = tags.iter().copied().collect();
    let query = serde_urlencoded::to_string([
        ("service", service),
        ("tags", &json!(tags).to_string()),
        ("limit", &KEPT.to_string()),
        // Without it, those of the last two days. Without an end, until now.
        ("start", "0"),
    ])
    .map_err(|error| error.to_string())?;
    let (status, text) = http::get(&format!("{url}/api/traces?{query}"))
        .await
        .ok_or("Jaeger does not answer")?;
    if !status.is_success() {
        return Err(format!("Jaeger: {status} {text}"));
    }
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("Jaeger: {error}"))?;
    let found = answer["data"].as_array().into_iter().flatten();
    let mut traces: Vec<_> = found.filter_map(Trace::parse).collect();
    traces.sort_by_key(|trace| trace.root().start);
    Ok(traces)
}

/// Every port that it opens is named here: without a name it takes the usual one.
fn configuration(query: u16, grpc: u16, http: u16, tls: &str) -> String {
    let query_grpc = free_port();
    format!(
        r#"
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces:
      receivers: [otlp]
      exporters: [jaeger_storage_exporter]
  telemetry:
    metrics:
      level: none
extensions:
  jaeger_storage:
    backends:
      memory:
        memory:
          max_traces: {KEPT}
  jaeger_query:
    # Its own traces would go to port 4317, and its end would wait for them.
    enable_tracing: false
    storage:
      traces: memory
    http:
      endpoint: 127.0.0.1:{query}
    grpc:
      endpoint: 127.0.0.1:{query_grpc}
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: 127.0.0.1:{grpc}
        {tls}
      http:
        endpoint: 127.0.0.1:{http}
        {tls}
exporters:
  jaeger_storage_exporter:
    trace_storage: memory
"#
    )
}
