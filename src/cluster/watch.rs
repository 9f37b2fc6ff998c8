//! The watches on the resources and on their Secrets: kube's watcher, with unreadable objects kept apart and faults mended behind the stream.

use std::future::ready;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as kube_watcher};
use kube::{Api, Client};
use tracing::warn;

use super::{SecretEvent, WatchEvent};
use crate::api::AWSAssumeRole;
use crate::secret::{MANAGED_BY_LABEL, ObservedSecret};
use crate::spec::{Resource, ResourceKey};

/// Watches the resources of all namespaces.
pub(super) fn resources(client: Client) -> BoxStream<'static, WatchEvent> {
    let api: Api<DeserializeGuard<AWSAssumeRole>> = Api::all(client);
    kube_watcher(api, watcher::Config::default())
        .default_backoff()
        .filter_map(|result| {
            ready(match result {
                Ok(event) => Some(resource_event(event)),
                Err(error) => {
                    warn!(error = %described(&error), "the watch on the resources failed and is set up again");
                    None
                }
            })
        })
        .boxed()
}

/// Watches the Secrets that carry the operator's label, in all namespaces, as metadata only: their content is not sent.
pub(super) fn secrets(client: Client) -> BoxStream<'static, SecretEvent> {
    let api: Api<PartialObjectMeta<Secret>> = Api::all(client);
    let (label, value) = MANAGED_BY_LABEL;
    let labelled = watcher::Config::default().labels(&format!("{label}={value}"));
    kube_watcher(api, labelled)
        .default_backoff()
        .filter_map(|result| {
            ready(match result {
                Ok(event) => Some(secret_event(event)),
                Err(error) => {
                    warn!(%error, "the watch on the Secrets failed and is set up again");
                    None
                }
            })
        })
        .boxed()
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

fn resource_event(event: Event<DeserializeGuard<AWSAssumeRole>>) -> WatchEvent {
    match event {
        Event::Init => WatchEvent::ListStarted,
        Event::InitApply(object) => WatchEvent::Listed(read(object)),
        Event::InitDone => WatchEvent::ListDone,
        Event::Apply(object) => WatchEvent::Applied(read(object)),
        Event::Delete(object) => WatchEvent::Deleted(ResourceKey::of(&object)),
    }
}

fn read(object: DeserializeGuard<AWSAssumeRole>) -> Resource {
    match object.0 {
        Ok(resource) => Resource::from_resource(&resource),
        Err(invalid) => {
            let error = invalid.error.clone();
            Resource::unreadable(&DeserializeGuard::<AWSAssumeRole>(Err(invalid)), &error)
        }
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
