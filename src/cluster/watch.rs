//! The watches on the resources and on their Secrets: kube's watcher, with unreadable objects kept apart and faults mended behind the stream.

use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as kube_watcher};
use kube::{Api, Client};
use tokio::time::Instant;
use tracing::warn;

use super::guarded::WatchedResource;
use super::listening::{WATCH_SECONDS, listening};
use super::{SecretEvent, WatchEvent};
use crate::errors::FailureLog;
use crate::secret::{MANAGED_BY_LABEL, ObservedSecret};
use crate::spec::ResourceKey;

/// How many objects are asked for at once. They are held, unread, until they are passed on, and each may be as large as the API server takes.
const PAGE_SIZE: u32 = 20;

/// The first pause after a failure, doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause. An API server that comes back is to be noticed within seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// After so long without a failure the next one is the first again.
const FORGIVEN: Duration = Duration::from_secs(15);

/// Watches the resources of all namespaces.
pub(super) fn resources(client: Client) -> BoxStream<'static, WatchEvent> {
    let (client, heard) = listening(client);
    let api: Api<WatchedResource> = Api::all(client);
    let mut log = FailureLog::default();
    let events = kube_watcher(api, configuration())
        .backoff(Pauses::default())
        .filter_map(move |result| {
            ready(match result {
                Ok(event) => Some(resource_event(event)),
                Err(error) => {
                    let error = described(&error);
                    if log.is_news(&error) {
                        warn!(error, "the watch on the resources failed and is set up again");
                    }
                    None
                }
            })
        });
    stream::select(heard.map(|()| WatchEvent::Heard), events).boxed()
}

/// Watches the Secrets that carry the operator's label, in all namespaces, as metadata only: their content is not sent.
pub(super) fn secrets(client: Client) -> BoxStream<'static, SecretEvent> {
    let (client, heard) = listening(client);
    let api: Api<PartialObjectMeta<Secret>> = Api::all(client);
    let (label, value) = MANAGED_BY_LABEL;
    let labelled = configuration().labels(&format!("{label}={value}"));
    let mut log = FailureLog::default();
    let events = kube_watcher(api, labelled)
        .backoff(Pauses::default())
        .filter_map(move |result| {
            ready(match result {
                Ok(event) => Some(secret_event(event)),
                Err(error) => {
                    let error = error.to_string();
                    if log.is_news(&error) {
                        warn!(error, "the watch on the Secrets failed and is set up again");
                    }
                    None
                }
            })
        });
    stream::select(heard.map(|()| SecretEvent::Heard), events).boxed()
}

pub(super) fn configuration() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE_SIZE)
}

/// The pauses after failures.
#[derive(Default)]
pub(super) struct Pauses {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_none_or(|last| last.elapsed() > FORGIVEN) {
            self.failures = 0;
        }
        let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.last = Some(Instant::now());
        // Both watches fail at the same time. They need not come back at the same time.
        let share = RandomState::new().hash_one(self.failures) % 1000;
        let permille = 500 + u32::try_from(share / 2).unwrap_or_default();
        Some(doubled.min(LONGEST_PAUSE) * permille / 1000)
    }
}

impl Backoff for Pauses {
    /// It comes with every event, also with the one that a list begins. A list that fails would never wait for longer. So time alone forgives.
    fn reset(&mut self) {}
}

fn secret_event(event: Event<PartialObjectMeta<Secret>>) -> SecretEvent {
    let secret = |object: PartialObjectMeta<Secret>| Box::new(ObservedSecret::new(object.metadata));
    match event {
        Event::Init => SecretEvent::ListStarted,
        Event::InitApply(object) => SecretEvent::Listed(secret(object)),
        Event::InitDone => SecretEvent::ListDone,
        Event::Apply(object) => SecretEvent::Applied(secret(object)),
        Event::Delete(object) => SecretEvent::Deleted(secret(object)),
    }
}

fn resource_event(event: Event<WatchedResource>) -> WatchEvent {
    match event {
        Event::Init => WatchEvent::ListStarted,
        Event::InitApply(object) => WatchEvent::Listed(object.into_resource()),
        Event::InitDone => WatchEvent::ListDone,
        Event::Apply(object) => WatchEvent::Applied(object.into_resource()),
        Event::Delete(object) => WatchEvent::Deleted(ResourceKey::of(&object)),
    }
}

/// An error with what is likely behind it.
fn described(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404 => {
            "the API server does not know AWSAssumeRole: install the custom resource definition \
             (`aws-assume-role crd` prints it)"
                .to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_api_server_that_comes_back_is_noticed_within_seconds() {
        let mut pauses = Pauses::default();
        let taken: Vec<_> = pauses.by_ref().take(50).collect();
        assert!(taken[0] <= FIRST_PAUSE, "{taken:?}");
        assert!(taken.iter().all(|pause| *pause <= LONGEST_PAUSE), "{taken:?}");
        // And it is not asked all the time while it is away, although each attempt begins with an event.
        pauses.reset();
        let pause = pauses.next().unwrap();
        assert!(pause >= LONGEST_PAUSE / 2, "{pause:?}");
        tokio::time::advance(FORGIVEN + Duration::from_secs(1)).await;
        assert!(pauses.next().unwrap() <= FIRST_PAUSE);
    }
}
