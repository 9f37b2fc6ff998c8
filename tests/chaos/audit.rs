//! The API server's own record of what the operators asked of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::judge::writers::{Write, Written};
use crate::record::Record;

/// The audit log, read on from where it was read last.
pub struct Audit {
    path: PathBuf,
    offset: u64,
    /// The beginning of a line whose end is not written yet.
    rest: String,
    /// How many requests of each pod ended with each status.
    pub answers: BTreeMap<(String, i64), usize>,
    /// The requests of this kind are the watches that could not go on where they were.
    pub gone: usize,
}

impl Audit {
    /// The one of a control plane with its files in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self {
            path: folder.join("audit.log"),
            offset: 0,
            rest: String::new(),
            answers: BTreeMap::new(),
            gone: 0,
        }
    }

    /// The writes of Secrets and of the lease since it was asked last.
    pub fn writes(&mut self, record: &Record) -> Vec<Write> {
        let text = self.read_on().unwrap_or_default();
        let text = std::mem::take(&mut self.rest) + &text;
        let (lines, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
        self.rest = rest.to_owned();
        let events = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
        events.filter_map(|event: Value| self.read(&event, record)).collect()
    }

    fn read_on(&mut self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn read(&mut self, event: &Value, record: &Record) -> Option<Write> {
        if event["stage"] == "ResponseStarted" {
            return None;
        }
        let pod = event["user"]["extra"]["authentication.kubernetes.io/pod-name"][0].as_str()?;
        let status = event["responseStatus"]["code"].as_i64().unwrap_or_default();
        *self.answers.entry((pod.to_owned(), status)).or_default() += 1;
        self.gone += usize::from(status == 410);
        let writes = ["create", "update", "patch", "delete"]
            .map(Value::from)
            .contains(&event["verb"]);
        let is_trial = event["requestURI"].as_str()?.contains("dryRun=All");
        if !writes || is_trial || !(200..300).contains(&status) {
            return None;
        }
        let at: Timestamp = event["stageTimestamp"].as_str()?.parse().ok()?;
        let object = &event["objectRef"];
        let what = match object["resource"].as_str()? {
            "leases" => Written::Lease,
            "secrets" => {
                // A Secret that is created is named in its own text only where the request has no name.
                let name = object["name"].as_str()?;
                Written::Secret(format!("{}/{name}", object["namespace"].as_str()?))
            }
            _ => return None,
        };
        Some(Write {
            at: record.moment(at),
            pod: pod.to_owned(),
            what,
        })
    }
}
