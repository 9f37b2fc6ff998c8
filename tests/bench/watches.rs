//! When something came about, by a watch that was opened beforehand. Nothing is asked again and again, which would load the API server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use http::HeaderValue;
use http::header::ACCEPT;
use kube::Client;
use kube::api::{WatchEvent, WatchParams};
use kube::core::Request;
use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::progress;

/// How long nothing may come about before it is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a long wait tells how far it is.
const PROGRESS: Duration = Duration::from_secs(10);

/// Each event with its metadata only.
const METADATA: HeaderValue = HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");

/// A watch on objects of one kind, in all namespaces, that notes when each first was as it is waited for.
pub struct Watch {
    what: &'static str,
    news: UnboundedReceiver<(String, Instant)>,
    reached: HashMap<String, Instant>,
    task: JoinHandle<()>,
}

/// As little of an object as is needed, since reading it costs processor time that the operator could have.
#[derive(Clone, Deserialize)]
struct Seen {
    metadata: Metadata,
    #[serde(default)]
    status: Option<Status>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    resource_version: String,
}

#[derive(Clone, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    phase: Option<String>,
}

#[derive(Clone, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

impl Watch {
    /// Notes when Secrets come.
    pub async fn secrets(client: Client) -> Self {
        Self::open("Secrets", client, "/api/v1/secrets", true, |_| true).await
    }

    /// Notes when resources are `Ready`. The predecessors of the operator have a phase instead.
    pub async fn ready(client: Client) -> Self {
        let path = "/apis/pincette.net/v1/awsassumeroles";
        Self::open("resources that are Ready", client, path, false, |seen| {
            seen.status.as_ref().is_some_and(|status| {
                let ready = |condition: &Condition| condition.type_ == "Ready" && condition.status == "True";
                status.conditions.iter().any(ready) || status.phase.as_deref() == Some("Ready")
            })
        })
        .await
    }

    async fn open(
        what: &'static str,
        client: Client,
        path: &'static str,
        metadata_only: bool,
        counts: fn(&Seen) -> bool,
    ) -> Self {
        let request = http::Request::get(format!("{path}?limit=1")).body(Vec::new()).unwrap();
        let list: List = client.request(request).await.unwrap();
        let mut version = list.metadata.resource_version;
        let (sender, news) = unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let mut request = Request::new(path).watch(&WatchParams::default(), &version).unwrap();
                if metadata_only {
                    request.headers_mut().insert(ACCEPT, METADATA);
                }
                // The API server ends a watch after a while. The next goes on where it ended.
                version = follow(&client, request, version, counts, &sender).await;
            }
        });
        Self {
            what,
            news,
            reached: HashMap::new(),
            task,
        }
    }

    /// Waits for one object, and tells when it was as waited for.
    pub async fn of(&mut self, name: &str) -> Instant {
        loop {
            if let Some(at) = self.reached.get(name) {
                return *at;
            }
            self.next().await;
        }
    }

    /// Whether an object has been as waited for.
    pub fn has(&mut self, name: &str) -> bool {
        while let Ok((name, at)) = self.news.try_recv() {
            self.reached.entry(name).or_insert(at);
        }
        self.reached.contains_key(name)
    }

    /// Waits until so many objects have been as waited for, and tells when the last of them was.
    pub async fn number(&mut self, number: usize) -> Instant {
        let mut told = Instant::now();
        while self.reached.len() < number {
            self.next().await;
            if told.elapsed() >= PROGRESS {
                told = Instant::now();
                progress(&format!("{} of {number} {}", self.reached.len(), self.what));
            }
        }
        self.reached.values().max().copied().unwrap_or_else(Instant::now)
    }

    async fn next(&mut self) {
        match tokio::time::timeout(PATIENCE, self.news.recv()).await {
            Ok(Some((name, at))) => {
                self.reached.entry(name).or_insert(at);
            }
            Ok(None) => panic!("the watch on {} failed", self.what),
            Err(_) => panic!(
                "no more {} for {} s; {} so far",
                self.what,
                PATIENCE.as_secs(),
                self.reached.len()
            ),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Follows one watch to its end, and gives the version after which the next begins.
async fn follow(
    client: &Client,
    request: http::Request<Vec<u8>>,
    mut version: String,
    counts: fn(&Seen) -> bool,
    news: &UnboundedSender<(String, Instant)>,
) -> String {
    let events = client.request_events::<Seen>(request).await.unwrap();
    let mut events = std::pin::pin!(events);
    while let Ok(Some(event)) = events.try_next().await {
        match event {
            WatchEvent::Added(seen) | WatchEvent::Modified(seen) => {
                if counts(&seen) {
                    let _ = news.send((seen.metadata.name, Instant::now()));
                }
                version = seen.metadata.resource_version;
            }
            WatchEvent::Deleted(seen) => version = seen.metadata.resource_version,
            WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
            WatchEvent::Error(status) => panic!("a watch of the bench failed: {}", status.message),
        }
    }
    version
}
