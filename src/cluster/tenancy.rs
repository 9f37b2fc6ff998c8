//! The watches on what the boundary between tenants is made of: the policies, and the labels of the namespaces.
//!
//! A failure of these is passed on, since no role may be assumed on the strength of what is not known.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Error, Event};
use kube::runtime::{WatchStreamExt, watcher as kube_watcher};
use kube::{Api, Client, ResourceExt};
use serde::de::{DeserializeOwned, IgnoredAny};
use tracing::warn;

use super::Scope;
use super::guarded::Guarded;
use super::listening::listening;
use super::watch::{Pauses, configuration};
use crate::api::{AWSAssumeRolePolicy, AWSAssumeRolePolicySpec};
use crate::errors::FailureLog;

/// What happened to the objects of one kind.
#[derive(Clone, Debug)]
pub enum TenancyEvent<T> {
    /// The API server was heard, and not with a refusal.
    Heard,
    /// A full list begins.
    ListStarted,
    /// One object of the list.
    Listed(T),
    /// The list is complete: what was not in it is gone.
    ListDone,
    /// An object was made or changed.
    Applied(T),
    /// The object of that name is gone.
    Deleted(Arc<str>),
    /// The API server does not know the kind.
    NotInstalled,
    /// The watch failed, for that reason, and is set up again.
    Failed(String),
}

/// A policy as it was seen.
#[derive(Clone, Debug)]
pub struct ObservedPolicy {
    /// Its name.
    pub name: Arc<str>,
    /// What it says, or why that cannot be read.
    pub spec: Result<Box<AWSAssumeRolePolicySpec>, String>,
}

/// A namespace as it was seen.
#[derive(Clone, Debug)]
pub struct ObservedNamespace {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What happened to the policies.
pub type PolicyEvent = TenancyEvent<ObservedPolicy>;

/// What happened to the namespaces.
pub type NamespaceEvent = TenancyEvent<ObservedNamespace>;

type WatchedPolicy = Guarded<AWSAssumeRolePolicy, AWSAssumeRolePolicySpec, IgnoredAny>;

/// Watches the policies.
pub(super) fn policies(client: Client) -> BoxStream<'static, PolicyEvent> {
    let (client, heard) = listening(client);
    let events = events(
        "policies",
        Api::<WatchedPolicy>::all(client),
        configuration(),
        |policy| ObservedPolicy {
            name: policy.name_any().into(),
            spec: policy.spec.map(Box::new),
        },
    );
    stream::select(heard.map(|()| TenancyEvent::Heard), events).boxed()
}

/// Watches the labels of the namespaces of each scope by itself: a right that is about names goes no further.
pub(super) fn namespaces(client: &Client, scopes: &[Scope]) -> BoxStream<'static, (Scope, NamespaceEvent)> {
    let each = scopes.iter().cloned().map(|scope| {
        let (client, heard) = listening(client.clone());
        let configuration = match scope.namespace() {
            None => configuration(),
            Some(name) => configuration().fields(&format!("metadata.name={name}")),
        };
        let api: Api<PartialObjectMeta<Namespace>> = Api::all(client);
        let events = events("namespaces", api, configuration, |mut namespace| ObservedNamespace {
            name: namespace.name_any().into(),
            labels: std::mem::take(namespace.labels_mut()),
        });
        stream::select(heard.map(|()| TenancyEvent::Heard), events)
            .map(move |event| (scope.clone(), event))
            .boxed()
    });
    stream::select_all(each).boxed()
}

fn events<K, T>(
    what: &'static str,
    api: Api<K>,
    configuration: kube_watcher::Config,
    read: fn(K) -> T,
) -> impl futures::Stream<Item = TenancyEvent<T>> + Send + 'static
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    T: Send + 'static,
{
    let mut log = FailureLog::default();
    kube_watcher(api, configuration)
        .backoff(Pauses::default())
        .filter_map(move |result| {
            ready(Some(match result {
                Ok(Event::Init) => TenancyEvent::ListStarted,
                Ok(Event::InitApply(object)) => TenancyEvent::Listed(read(object)),
                Ok(Event::InitDone) => TenancyEvent::ListDone,
                Ok(Event::Apply(object)) => TenancyEvent::Applied(read(object)),
                Ok(Event::Delete(object)) => TenancyEvent::Deleted(object.name_any().into()),
                Err(error) if is_not_found(&error) => TenancyEvent::NotInstalled,
                Err(error) => {
                    let error = error.to_string();
                    if log.is_news(&error) {
                        warn!(error, "the watch on the {what} failed and is set up again");
                    }
                    TenancyEvent::Failed(error)
                }
            }))
        })
}

/// Whether the API server does not know the kind at all. One that is starting says so with another code.
fn is_not_found(error: &Error) -> bool {
    match error {
        Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) => {
            status.code == 404
        }
        Error::WatchError(status) => status.code == 404,
        _ => false,
    }
}
