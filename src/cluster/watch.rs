//! The watches on the resources and on their Secrets: kube's watcher, with unreadable objects kept apart and faults mended behind the stream.

use std::future::ready;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as kube_watcher};
use kube::{Api, Client};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::guarded::WatchedResource;
use super::listening::{WATCH_SECONDS, listening};
use super::{Scope, SecretEvent, WatchEvent};
use crate::errors::FailureLog;
use crate::secret::{MANAGED_BY_LABEL, ObservedSecret};
use crate::spec::ResourceKey;

/// How many objects are asked for at once. They are held, unread, until they are passed on, and each may be as large as the API server takes.
const PAGE_SIZE: u32 = 20;

/// The first pause after a failure, doubled with each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest pause. An API server that comes back is to be noticed within seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// The longest pause while a namespace may not be watched. Many that are to be made later must not load the API server.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// How far apart the watches on several namespaces begin.
const APART: Duration = Duration::from_millis(10);

/// After so long without a failure the next one is the first again.
const FORGIVEN: Duration = Duration::from_secs(15);

/// Watches the resources of each scope by itself. They do not all begin at the same moment, nor are they renewed at the same moment then.
pub(super) fn resources(client: &Client, scopes: &[Scope]) -> BoxStream<'static, WatchEvent> {
    let each = scopes.iter().zip(0..).map(|(scope, number)| {
        let (client, scope) = (client.clone(), scope.clone());
        let begin = async move {
            sleep(APART * number).await;
            resources_of(client, scope)
        };
        begin.flatten_stream().boxed()
    });
    stream::select_all(each).boxed()
}

fn resources_of(client: Client, scope: Scope) -> BoxStream<'static, WatchEvent> {
    let (client, heard) = listening(client);
    let api: Api<WatchedResource> = match scope.namespace() {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let pauses = Pauses::of(&scope);
    let refused = pauses.refused.clone();
    let hears = heard.map({
        let scope = scope.clone();
        move |()| WatchEvent::Heard(scope.clone())
    });
    let mut log = FailureLog::default();
    let events = kube_watcher(api, configuration())
        .inspect_err(move |error| refused.note(error))
        .backoff(pauses)
        .filter_map(move |result| {
            ready(match result {
                Ok(event) => Some(resource_event(&scope, event)),
                Err(error) => {
                    let error = described(&error);
                    if log.is_news(&error) {
                        let namespace = scope.namespace();
                        warn!(
                            namespace,
                            error, "the watch on the resources failed and is set up again"
                        );
                    }
                    None
                }
            })
        });
    stream::select(hears, events).boxed()
}

/// Watches the Secrets of a scope that carry the operator's label, as metadata only: their content is not sent.
pub(super) fn secrets(client: Client, scope: Scope) -> BoxStream<'static, SecretEvent> {
    let (client, heard) = listening(client);
    let api: Api<PartialObjectMeta<Secret>> = match scope.namespace() {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let (label, value) = MANAGED_BY_LABEL;
    let labelled = configuration().labels(&format!("{label}={value}"));
    let pauses = Pauses::of(&scope);
    let refused = pauses.refused.clone();
    let hears = heard.map({
        let scope = scope.clone();
        move |()| SecretEvent::Heard(scope.clone())
    });
    let mut log = FailureLog::default();
    let events = kube_watcher(api, labelled)
        .inspect_err(move |error| refused.note(error))
        .backoff(pauses)
        .filter_map(move |result| {
            ready(match result {
                Ok(event) => Some(secret_event(&scope, event)),
                Err(error) => {
                    let error = error.to_string();
                    if log.is_news(&error) {
                        let namespace = scope.namespace();
                        warn!(namespace, error, "the watch on the Secrets failed and is set up again");
                    }
                    None
                }
            })
        });
    stream::select(hears, events).boxed()
}

pub(super) fn configuration() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE_SIZE)
}

/// The pauses after failures.
#[derive(Default)]
pub(super) struct Pauses {
    failures: u32,
    last: Option<Instant>,
    refused: Refused,
}

/// Whether the last failure was that the operator may not watch a namespace.
#[derive(Clone, Default)]
struct Refused {
    is_namespace: bool,
    last: Arc<AtomicBool>,
}

impl Pauses {
    fn of(scope: &Scope) -> Self {
        let refused = Refused {
            is_namespace: scope.namespace().is_some(),
            ..Refused::default()
        };
        Self {
            refused,
            ..Self::default()
        }
    }
}

impl Refused {
    fn note(&self, error: &watcher::Error) {
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => Some(status),
            _ => None,
        };
        let refused = self.is_namespace && status.is_some_and(|status| status.code == 403);
        self.last.store(refused, Ordering::Relaxed);
    }
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
        let pause = match self.refused.last.load(Ordering::Relaxed) {
            true => REFUSED_PAUSE,
            false => doubled.min(LONGEST_PAUSE),
        };
        Some(pause * permille / 1000)
    }
}

impl Backoff for Pauses {
    /// It comes with every event, also with the one that a list begins. A list that fails would never wait for longer. So time alone forgives.
    fn reset(&mut self) {}
}

fn secret_event(scope: &Scope, event: Event<PartialObjectMeta<Secret>>) -> SecretEvent {
    let secret = |object: PartialObjectMeta<Secret>| Box::new(ObservedSecret::new(object.metadata));
    match event {
        Event::Init => SecretEvent::ListStarted(scope.clone()),
        Event::InitApply(object) => SecretEvent::Listed(secret(object)),
        Event::InitDone => SecretEvent::ListDone(scope.clone()),
        Event::Apply(object) => SecretEvent::Applied(secret(object)),
        Event::Delete(object) => SecretEvent::Deleted(secret(object)),
    }
}

fn resource_event(scope: &Scope, event: Event<WatchedResource>) -> WatchEvent {
    match event {
        Event::Init => WatchEvent::ListStarted(scope.clone()),
        Event::InitApply(object) => WatchEvent::Listed(object.into_resource()),
        Event::InitDone => WatchEvent::ListDone(scope.clone()),
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
#[path = "watch_tests.rs"]
mod tests;
