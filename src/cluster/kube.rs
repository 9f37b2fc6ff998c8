//! The cluster through kube's client. One client, and so one connection pool, serves all resources.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event as EventObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{PartialObjectMeta, Request};
use kube::{Api, Client, Resource as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Cluster, ClusterError, Event, SecretEvent, WatchEvent, event, watch};
use crate::api::{AWSAssumeRole, AWSAssumeRoleStatus};
use crate::credentials::ExposeSecret;
use crate::secret::FIELD_MANAGER;
use crate::secret::provenance::claimed;
use crate::secret::{DesiredSecret, ObservedSecret, Repair};
use crate::spec::ResourceKey;

/// How long one call may take. The API server ends its own calls after a minute; past half of that another try is worth more.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the write of an event may take, the wait for a place included. It is worth no more.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many events are written at the same time. They have places of their own, so that no Secret waits behind them.
const EVENT_CONCURRENCY: usize = 4;

/// What the API server says of a JSON Patch whose test fails: that, and nothing of which test or which object. Whoever else refuses a status,
/// the definition's schema or an admission webhook, has words of its own.
/// <https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/api/errors/errors.go> (`NewGenericServerResponse`)
const UNAPPLIED: &str = "the server rejected our request due to an error in our request";

/// How many calls are made at the same time. kube speaks HTTP/1.1, which has a connection for each.
const CONCURRENCY: usize = 64;

/// How many of them one namespace may have: one whose admission webhooks hang must leave places for the others.
const NAMESPACE_CONCURRENCY: usize = 8;

/// The places of the namespaces lie in so many drawers, by a hash of the name. Two namespaces in one share its places.
const DRAWERS: usize = 1024;

/// The cluster through kube's client.
pub struct KubeCluster {
    client: Client,
    /// The reporting instance of events.
    instance: String,
    places: Semaphore,
    namespace_places: Vec<Semaphore>,
    event_places: Semaphore,
    namespace_event_places: Vec<Semaphore>,
}

type Metadata<K> = PartialObjectMeta<K>;

impl KubeCluster {
    /// Uses a client for everything. The instance is named in events.
    #[must_use]
    pub fn new(client: Client, instance: &str) -> Self {
        Self {
            client,
            instance: instance.to_owned(),
            places: Semaphore::new(CONCURRENCY),
            namespace_places: drawers(NAMESPACE_CONCURRENCY),
            event_places: Semaphore::new(EVENT_CONCURRENCY),
            namespace_event_places: drawers(1),
        }
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Option<ObservedSecret>, ClusterError> {
        let found = self
            .in_time(namespace, self.secrets(namespace).get_metadata_opt(name))
            .await?;
        Ok(found.map(|secret| ObservedSecret::new(secret.metadata)))
    }

    async fn create(&self, secret: &DesiredSecret) -> Result<ObservedSecret, ClusterError> {
        let body = serde_json::to_vec(&object(secret)).map_err(unbuilt)?;
        let request = secret_request(&secret.owner.namespace).create(&post_params(), body);
        let written: Metadata<Secret> = self.send(&secret.owner.namespace, request).await?;
        Ok(ObservedSecret::new(written.metadata))
    }

    async fn probe(&self, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}});
        let parameters = PostParams {
            dry_run: true,
            ..post_params()
        };
        let body = serde_json::to_vec(&object).map_err(unbuilt)?;
        let _: Metadata<Secret> = self
            .send(namespace, secret_request(namespace).create(&parameters, body))
            .await?;
        Ok(())
    }

    /// A merge patch, since that leaves alone what others wrote, which need not be known for it.
    async fn replace(&self, secret: &DesiredSecret, over: &ObservedSecret) -> Result<ObservedSecret, ClusterError> {
        let gone = secret.gone_keys(over).into_iter().map(|key| (key, Value::Null));
        let put = content(secret).map(|(key, bytes)| (key, json!(bytes)));
        let patch = json!({
            "metadata": secret.metadata_patch(over),
            "type": secret.type_,
            "data": put.chain(gone).collect::<serde_json::Map<_, _>>(),
        });
        let patch = Patch::Merge(patch);
        let request = secret_request(&secret.owner.namespace).patch(&secret.name, &patch_params(), &patch);
        let written: Metadata<Secret> = self.send(&secret.owner.namespace, request).await?;
        self.claim(secret, written.metadata).await
    }

    /// Takes over fields that somebody touched and set back. A write of equal values leaves them in that other's name, where they would count
    /// as edited for ever.
    async fn claim(&self, secret: &DesiredSecret, written: ObjectMeta) -> Result<ObservedSecret, ClusterError> {
        let entries = written.managed_fields.as_deref().unwrap_or_default();
        let Some(claimed) = claimed(entries, secret.data.0.keys().map(String::as_str), Timestamp::now()) else {
            return Ok(ObservedSecret::new(written));
        };
        let patch = serde_json::from_value(json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": written.resource_version},
            {"op": "add", "path": "/metadata/managedFields", "value": claimed},
        ]));
        let patch: Patch<()> = Patch::Json(patch.map_err(unbuilt)?);
        let request = secret_request(&secret.owner.namespace).patch(&secret.name, &patch_params(), &patch);
        match self.send::<Metadata<Secret>>(&secret.owner.namespace, request).await {
            Ok(claimed) => Ok(ObservedSecret::new(claimed.metadata)),
            // The credentials are written all the same. The next look finds out what became of the rest.
            Err(_) => Ok(ObservedSecret::new(written)),
        }
    }

    /// Sends a request and takes no more than metadata for an answer, so that no content of a Secret comes back, and no status that this
    /// operator cannot read stands in the way.
    async fn send<T: DeserializeOwned>(
        &self,
        namespace: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, ClusterError> {
        let mut request = request.map_err(unbuilt)?;
        let accept = HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
        request.headers_mut().insert(ACCEPT, accept);
        self.in_time(namespace, self.client.request(request)).await
    }

    /// Bounds a call in time, and how many are made at the same time: each has a connection of its own.
    async fn in_time<T>(
        &self,
        namespace: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let _own_place = self.namespace_places[drawer(namespace)].acquire().await;
        let _place = self.places.acquire().await;
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(result) => result.map_err(ClusterError::from),
            Err(_) => Err(unanswered(CALL_TIMEOUT)),
        }
    }

    async fn repair(&self, repair: &Repair, over: &ObservedSecret) -> Result<ObservedSecret, ClusterError> {
        let api = self.secrets(&repair.namespace);
        let patch = Patch::Merge(repair.patch(over));
        let written = self
            .in_time(
                &repair.namespace,
                api.patch_metadata(&repair.name, &patch_params(), &patch),
            )
            .await?;
        Ok(ObservedSecret::new(written.metadata))
    }

    async fn delete(&self, namespace: &str, name: &str, seen: &ObservedSecret) -> Result<(), ClusterError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: seen.metadata.uid.clone(),
                resource_version: seen.metadata.resource_version.clone(),
            }),
            ..DeleteParams::default()
        };
        let api = self.secrets(namespace);
        match self.in_time(namespace, api.delete(name, &parameters)).await {
            Ok(_) | Err(ClusterError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn events(&self, resource: &ResourceKey) -> Api<EventObject> {
        Api::namespaced(self.client.clone(), &resource.namespace)
    }

    async fn post_event(&self, resource: &ResourceKey, event: &Event) -> Result<String, ClusterError> {
        let object = event::object(resource, event, &self.instance, Timestamp::now());
        let name = object.metadata.name.clone().unwrap_or_default();
        self.events(resource).create(&post_params(), &object).await?;
        Ok(name)
    }

    async fn patch_event(&self, resource: &ResourceKey, name: &str, count: i32) -> Result<(), ClusterError> {
        let patch = Patch::Merge(event::repeated(count, Timestamp::now()));
        let api = self.events(resource);
        api.patch_metadata(name, &patch_params(), &patch).await?;
        Ok(())
    }

    /// Bounds the write of an event in time, the wait for a place included.
    async fn beside<T>(
        &self,
        namespace: &str,
        write: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let placed = async {
            let _own_place = self.namespace_event_places[drawer(namespace)].acquire().await;
            let _place = self.event_places.acquire().await;
            write.await
        };
        let written = tokio::time::timeout(EVENT_TIMEOUT, placed).await;
        written.unwrap_or_else(|_| Err(unanswered(EVENT_TIMEOUT)))
    }

    async fn patch_status(&self, resource: &ResourceKey, status: &AWSAssumeRoleStatus) -> Result<(), ClusterError> {
        // The status as a whole, and only if the resource of that name is still the one that is meant.
        let patch: Patch<()> = Patch::Json(
            serde_json::from_value(json!([
                {"op": "test", "path": "/metadata/uid", "value": &*resource.uid},
                {"op": "add", "path": "/status", "value": status},
            ]))
            .map_err(unbuilt)?,
        );
        let url = AWSAssumeRole::url_path(&(), Some(&resource.namespace));
        let request = Request::new(url).patch_subresource("status", &resource.name, &patch_params(), &patch);
        match self.send::<Metadata<AWSAssumeRole>>(&resource.namespace, request).await {
            Ok(_) => Ok(()),
            Err(ClusterError::Refused(message)) if message == UNAPPLIED => Err(ClusterError::Gone(message)),
            Err(error) => Err(error),
        }
    }
}

impl Cluster for KubeCluster {
    fn watch(&self) -> BoxStream<'static, WatchEvent> {
        watch::resources(self.client.clone())
    }

    fn watch_secrets(&self) -> BoxStream<'static, SecretEvent> {
        watch::secrets(self.client.clone())
    }

    fn observe_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObservedSecret>, ClusterError>> {
        self.get(namespace, name).boxed()
    }

    fn create_secret<'a>(&'a self, secret: &'a DesiredSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.create(secret).boxed()
    }

    fn probe_secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.probe(namespace, name).boxed()
    }

    fn replace_secret<'a>(
        &'a self,
        secret: &'a DesiredSecret,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.replace(secret, over).boxed()
    }

    fn repair_secret<'a>(
        &'a self,
        repair: &'a Repair,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.repair(repair, over).boxed()
    }

    fn delete_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        observed: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.delete(namespace, name, observed).boxed()
    }

    fn write_status<'a>(
        &'a self,
        resource: &'a ResourceKey,
        status: &'a AWSAssumeRoleStatus,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.patch_status(resource, status).boxed()
    }

    fn create_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        event: &'a Event,
    ) -> BoxFuture<'a, Result<String, ClusterError>> {
        self.beside(&resource.namespace, self.post_event(resource, event))
            .boxed()
    }

    fn repeat_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        name: &'a str,
        count: i32,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.beside(&resource.namespace, self.patch_event(resource, name, count))
            .boxed()
    }
}

fn drawers(places: usize) -> Vec<Semaphore> {
    (0..DRAWERS).map(|_| Semaphore::new(places)).collect()
}

fn drawer(namespace: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    // The remainder is less than a thousand.
    (hasher.finish() % DRAWERS as u64) as usize
}

fn secret_request(namespace: &str) -> Request {
    Request::new(Secret::url_path(&(), Some(namespace)))
}

fn unanswered(timeout: Duration) -> ClusterError {
    ClusterError::Unavailable(format!("no answer within {} s", timeout.as_secs()))
}

/// A request that could not be put together. What was to be in it is not said.
fn unbuilt(_: impl std::error::Error) -> ClusterError {
    ClusterError::Refused("the request could not be put together".to_owned())
}

fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// A new Secret as the API server takes it.
fn object(secret: &DesiredSecret) -> Secret {
    Secret {
        metadata: secret.object_metadata(None),
        type_: Some(secret.type_.to_owned()),
        data: Some(content(secret).collect()),
        ..Secret::default()
    }
}

/// The content of a Secret. The only place where it is laid open, a moment before it is sent.
fn content(secret: &DesiredSecret) -> impl Iterator<Item = (String, ByteString)> {
    secret.data.0.iter().map(|(key, value)| {
        let bytes = value.expose_secret().as_bytes().to_vec();
        (key.clone(), ByteString(bytes))
    })
}
