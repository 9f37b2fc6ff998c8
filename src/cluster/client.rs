//! The cluster through kube's client. One client, and so one connection pool, serves all resources.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::json;

use super::{Cluster, ClusterError, SecretEvent, WatchEvent, watch};
use crate::credentials::ExposeSecret;
use crate::resource::{AWSAssumeRole, AWSAssumeRoleStatus};
use crate::secret::observed::FIELD_MANAGER;
use crate::secret::{ObservedSecret, Repair, WantedSecret};
use crate::wanted::ResourceKey;

/// How long one call may take. The API server ends its own calls after a minute; past half of that another try is worth more.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The cluster through kube's client.
#[derive(Clone)]
pub struct KubeCluster {
    client: Client,
}

impl KubeCluster {
    /// Uses a client for everything.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn get(&self, namespace: &str, name: &str) -> Result<Option<ObservedSecret>, ClusterError> {
        let found = in_time(self.secrets(namespace).get_metadata_opt(name)).await?;
        Ok(found.map(|secret| ObservedSecret::new(secret.metadata)))
    }

    async fn create(&self, secret: &WantedSecret) -> Result<ObservedSecret, ClusterError> {
        let api = self.secrets(&secret.owner.namespace);
        let object = object(secret, None);
        let written = in_time(api.create(&post_params(), &object)).await?;
        Ok(ObservedSecret::new(written.metadata))
    }

    async fn replace(&self, secret: &WantedSecret, over: &ObservedSecret) -> Result<ObservedSecret, ClusterError> {
        let api = self.secrets(&secret.owner.namespace);
        let object = object(secret, Some(over));
        let written = in_time(api.replace(&secret.name, &post_params(), &object)).await?;
        Ok(ObservedSecret::new(written.metadata))
    }

    async fn repair(&self, repair: &Repair, over: &ObservedSecret) -> Result<ObservedSecret, ClusterError> {
        let api = self.secrets(&repair.namespace);
        let patch = Patch::Merge(repair.patch(over));
        let written = in_time(api.patch_metadata(&repair.name, &patch_params(), &patch)).await?;
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
        match in_time(api.delete(name, &parameters)).await {
            Ok(_) | Err(ClusterError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn patch_status(&self, resource: &ResourceKey, status: &AWSAssumeRoleStatus) -> Result<(), ClusterError> {
        let api: Api<AWSAssumeRole> = Api::namespaced(self.client.clone(), &resource.namespace);
        // A merge patch with every field, absent ones as null, replaces the whole status. The UID makes it fail on a resource
        // of the same name that was made since.
        let patch = json!({
            "metadata": {"uid": resource.uid},
            "status": status,
        });
        in_time(api.patch_status(&resource.name, &patch_params(), &Patch::Merge(patch))).await?;
        Ok(())
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

    fn create_secret<'a>(&'a self, secret: &'a WantedSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.create(secret).boxed()
    }

    fn replace_secret<'a>(
        &'a self,
        secret: &'a WantedSecret,
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
}

/// Bounds a call in time.
async fn in_time<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, ClusterError> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(result) => result.map_err(ClusterError::from),
        Err(_) => Err(ClusterError::Unavailable(format!(
            "no answer within {} s",
            CALL_TIMEOUT.as_secs()
        ))),
    }
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

/// The Secret as the API server takes it. The only place where its content is laid open, a moment before it is sent.
fn object(secret: &WantedSecret, over: Option<&ObservedSecret>) -> Secret {
    let data: BTreeMap<String, ByteString> = secret
        .data
        .0
        .iter()
        .map(|(key, value)| {
            let bytes = value.expose_secret().as_bytes().to_vec();
            (key.clone(), ByteString(bytes))
        })
        .collect();
    Secret {
        metadata: secret.metadata(over),
        type_: Some(secret.type_.to_owned()),
        data: Some(data),
        ..Secret::default()
    }
}
