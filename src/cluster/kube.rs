//! The cluster through kube's client. One client, and so one connection pool, serves all resources.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, GetParams, Patch, PostParams, Preconditions};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::places::Places;
use super::request::{
    Metadata, Written, event_request, metadata_only, patch_params, post_params, resource_request, secret_request,
    unbuilt,
};
use super::{
    Cluster, ClusterError, Event, NamespaceEvent, PolicyEvent, Scope, SecretEvent, WatchEvent, event, tenancy, token,
    watch,
};
use crate::api::{AWSAssumeRole, AWSAssumeRoleStatus};
use crate::credentials::{ExposeSecret, ServiceAccountToken};
use crate::fence::Fence;
use crate::secret::provenance::claimed;
use crate::secret::{DesiredSecret, ObservedSecret, Repair};
use crate::spec::names::is_object_name;
use crate::spec::{ResourceKey, ResourceVersion};

/// What the API server says of a JSON Patch whose test fails: that, and nothing of which test or which object. Whoever else refuses a status,
/// the definition's schema or an admission webhook, has words of its own.
/// <https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/api/errors/errors.go> (`NewGenericServerResponse`)
const UNAPPLIED: &str = "the server rejected our request due to an error in our request";

/// The cluster through kube's client.
pub struct KubeCluster {
    client: Client,
    /// The reporting instance of events.
    instance: String,
    places: Places,
    scopes: Vec<Scope>,
}

impl KubeCluster {
    /// Uses a client for everything. The instance is named in events. Each call but those of the watches passes the fence.
    #[must_use]
    pub fn new(client: Client, instance: &str, fence: Fence) -> Self {
        Self {
            client,
            instance: instance.to_owned(),
            places: Places::new(fence),
            scopes: vec![Scope::all()],
        }
    }

    /// Watches those namespaces only, each by itself. None of them means all.
    #[must_use]
    pub fn watching(self, namespaces: &[String]) -> Self {
        let scopes = namespaces.iter().map(|namespace| Scope::of(namespace)).collect();
        match namespaces {
            [] => self,
            _ => Self { scopes, ..self },
        }
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Option<ObservedSecret>, ClusterError> {
        // kube puts a name into the path as it is. A status may hold any, and no Secret has one of these.
        if !is_object_name(name) {
            return Ok(None);
        }
        let found = self
            .places
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

    /// Sends a request and takes no more than metadata for an answer.
    async fn send<T: DeserializeOwned>(
        &self,
        namespace: &str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, ClusterError> {
        let request = metadata_only(request)?;
        self.places.in_time(namespace, self.client.request(request)).await
    }

    async fn repair(&self, repair: &Repair, over: &ObservedSecret) -> Result<ObservedSecret, ClusterError> {
        let api = self.secrets(&repair.namespace);
        let patch = Patch::Merge(repair.patch(over));
        let written = self
            .places
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
        match self.places.in_time(namespace, api.delete(name, &parameters)).await {
            Ok(_) | Err(ClusterError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn post_event(&self, resource: &ResourceKey, event: &Event) -> Result<String, ClusterError> {
        let object = event::object(resource, event, &self.instance, Timestamp::now());
        let name = object.metadata.name.clone().unwrap_or_default();
        let body = serde_json::to_vec(&object).map_err(unbuilt)?;
        let request = event_request(resource).create(&post_params(), body);
        let _: Written = self.client.request(metadata_only(request)?).await?;
        Ok(name)
    }

    async fn patch_event(&self, resource: &ResourceKey, name: &str, count: i32) -> Result<(), ClusterError> {
        let patch = Patch::Merge(event::repeated(count, Timestamp::now()));
        let request = event_request(resource).patch(name, &patch_params(), &patch);
        let _: Written = self.client.request(metadata_only(request)?).await?;
        Ok(())
    }

    /// The status as a whole, and only if the resource of that name is still the one that is meant, and as it was seen.
    async fn patch_status(
        &self,
        resource: &ResourceKey,
        status: &AWSAssumeRoleStatus,
        over: Option<ResourceVersion>,
    ) -> Result<Option<ResourceVersion>, ClusterError> {
        let test = |path: &str, value: String| json!({"op": "test", "path": path, "value": value});
        let identity = test("/metadata/uid", resource.uid.to_string());
        let version = over.map(|version| test("/metadata/resourceVersion", version.to_string()));
        let whole = json!({"op": "add", "path": "/status", "value": status});
        let operations = std::iter::once(identity).chain(version).chain([whole]).collect();
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operations).map_err(unbuilt)?);
        let request = resource_request(resource).patch_subresource("status", &resource.name, &patch_params(), &patch);
        match self.send::<Written>(&resource.namespace, request).await {
            Ok(written) => Ok(ResourceVersion::of(&written.metadata.into())),
            Err(ClusterError::Refused(message)) if message == UNAPPLIED && over.is_some() => {
                Err(ClusterError::Changed(message))
            }
            Err(ClusterError::Refused(message)) if message == UNAPPLIED => Err(ClusterError::Gone(message)),
            Err(error) => Err(error),
        }
    }

    async fn request_token(&self, namespace: &str, name: &str) -> Result<ServiceAccountToken, ClusterError> {
        let request = token::request(namespace, name).map_err(unbuilt)?;
        let answer: token::Answer = self.places.in_time(namespace, self.client.request(request)).await?;
        answer.token()
    }

    async fn get_version(&self, resource: &ResourceKey) -> Result<Option<ResourceVersion>, ClusterError> {
        let request = resource_request(resource).get(&resource.name, &GetParams::default());
        let found: Metadata<AWSAssumeRole> = self.send(&resource.namespace, request).await?;
        match found.metadata.uid.as_deref() == Some(&resource.uid) {
            true => Ok(ResourceVersion::of(&found.metadata)),
            false => Err(ClusterError::Gone("another one has its name".to_owned())),
        }
    }
}

impl Cluster for KubeCluster {
    fn scopes(&self) -> Vec<Scope> {
        self.scopes.clone()
    }

    fn watch(&self) -> BoxStream<'static, WatchEvent> {
        watch::resources(&self.client, &self.scopes)
    }

    fn watch_secrets(&self, scope: &Scope) -> BoxStream<'static, SecretEvent> {
        watch::secrets(self.client.clone(), scope.clone())
    }

    fn watch_policies(&self) -> BoxStream<'static, PolicyEvent> {
        tenancy::policies(self.client.clone())
    }

    fn watch_namespaces(&self) -> BoxStream<'static, (Scope, NamespaceEvent)> {
        tenancy::namespaces(&self.client, &self.scopes)
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
        over: Option<ResourceVersion>,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        self.patch_status(resource, status, over).boxed()
    }

    fn resource_version<'a>(
        &'a self,
        resource: &'a ResourceKey,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        self.get_version(resource).boxed()
    }

    fn service_account_token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<ServiceAccountToken, ClusterError>> {
        self.request_token(namespace, name).boxed()
    }

    fn create_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        event: &'a Event,
    ) -> BoxFuture<'a, Result<String, ClusterError>> {
        self.places
            .beside(&resource.namespace, self.post_event(resource, event))
            .boxed()
    }

    fn repeat_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        name: &'a str,
        count: i32,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.places
            .beside(&resource.namespace, self.patch_event(resource, name, count))
            .boxed()
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
