//! Prometheus, which reads the operator's metrics, and promtool, which judges them.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::process::Process;
use super::{free_port, http, part, wait_for};

/// A running Prometheus.
pub struct Prometheus {
    url: String,
    _process: Process,
}

impl Prometheus {
    /// Starts one with its files in `folder`, that reads `/metrics` of the targets, each a host and a port. They keep the labels that
    /// they give themselves. It returns when it has tried each of them once.
    pub async fn start(folder: &Path, targets: &[&str], scrape_interval: Duration) -> Self {
        let config = folder.join("prometheus.yaml");
        fs::write(&config, configuration(targets, scrape_interval).to_string()).unwrap();
        let port = free_port();
        let mut command = Command::new(part("prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            // Otherwise it looks at the targets only after five seconds.
            .args(["--scrape.discovery-reload-interval=100ms", "--log.level=warn"]);
        let mut process = Process::start("prometheus", folder, &command);
        let url = format!("http://127.0.0.1:{port}");
        wait_for("Prometheus", Duration::from_secs(60), async || {
            process.must_run();
            let found = ask(&url, "up").await?;
            (found.as_array()?.len() == targets.len()).then_some(())
        })
        .await;
        Self { url, _process: process }
    }

    /// The result of an expression at this moment: for a vector a list of `{"metric": {...}, "value": [time, "text"]}`.
    pub async fn query(&self, expression: &str) -> Value {
        let answer = ask(&self.url, expression).await;
        answer.unwrap_or_else(|| panic!("Prometheus does not answer {expression}"))
    }
}

async fn ask(url: &str, expression: &str) -> Option<Value> {
    let parameters = serde_urlencoded::to_string([("query", expression)]).unwrap();
    let (status, text) = http::get(&format!("{url}/api/v1/query?{parameters}")).await?;
    // It is an error in the test, and Prometheus says which.
    assert_ne!(status.as_u16(), 400, "Prometheus: {text}");
    let mut answer: Value = serde_json::from_str(&text).ok()?;
    status.is_success().then(|| answer["data"]["result"].take())
}

/// As JSON, which is YAML too.
fn configuration(targets: &[&str], scrape_interval: Duration) -> Value {
    let milliseconds = |duration: Duration| format!("{}ms", duration.as_millis());
    json!({
        "global": {
            "scrape_interval": milliseconds(scrape_interval),
            "scrape_timeout": milliseconds(scrape_interval.min(Duration::from_secs(10))),
        },
        "scrape_configs": [{
            "job_name": "aws-assume-role",
            "honor_labels": true,
            "static_configs": [{"targets": targets}],
        }],
    })
}

/// Runs promtool with something on its standard input.
pub fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(part("promtool"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // It need not read it.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    child.wait_with_output().unwrap()
}
