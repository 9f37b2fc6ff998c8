//! etcd, which keeps its data when it is started again.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::process::Process;
use super::{free_port, http, part};

/// A running etcd, or one that was ended for a while.
pub struct Etcd {
    url: String,
    folder: PathBuf,
    command: Command,
    process: Option<Process>,
}

impl Etcd {
    /// Starts one with its files in `folder`.
    pub fn start(folder: &Path) -> Self {
        let url = format!("http://127.0.0.1:{}", free_port());
        let mut command = Command::new(part("etcd"));
        command
            .arg(format!("--data-dir={}", folder.join("etcd").display()))
            .arg(format!("--listen-client-urls={url}"))
            .arg(format!("--advertise-client-urls={url}"))
            .arg(format!("--listen-peer-urls=http://127.0.0.1:{}", free_port()))
            .args(["--unsafe-no-fsync", "--log-level=warn"]);
        let mut etcd = Self {
            url,
            folder: folder.to_owned(),
            command,
            process: None,
        };
        etcd.restart();
        etcd
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends it from one moment to the next.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("an etcd that runs");
        process.signal("KILL");
        process.wait();
    }

    /// Starts it again with the data that it had.
    pub fn restart(&mut self) {
        self.process = Some(Process::start("etcd", &self.folder, &self.command));
    }

    /// Drops all history up to now, so that nobody can watch from an earlier revision on. Gives that revision.
    pub async fn compact(&self) -> Option<i64> {
        let range = self.ask("range", &json!({"key": "AA==", "limit": 1})).await?;
        // It writes numbers of 64 bits as strings.
        let revision: i64 = range["header"]["revision"].as_str()?.parse().ok()?;
        self.ask("compaction", &json!({"revision": revision, "physical": true}))
            .await?;
        Some(revision)
    }

    /// <https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/>
    async fn ask(&self, what: &str, body: &Value) -> Option<Value> {
        let url = format!("{}/v3/kv/{what}", self.url);
        let headers = [("content-type", "application/json")];
        let (status, text) = http::post(&url, &headers, &body.to_string()).await?;
        status.is_success().then(|| serde_json::from_str(&text).ok()).flatten()
    }
}
