//! The way of one process to the API server.

use aws_assume_role::api::AWSAssumeRoleStatus;
use aws_assume_role::cluster::{
    Cluster, ClusterError, Event, NamespaceEvent, PolicyEvent, Scope, SecretEvent, WatchEvent,
};
use aws_assume_role::credentials::ServiceAccountToken;
use aws_assume_role::secret::{DesiredSecret, ObservedSecret, Repair};
use aws_assume_role::spec::{ResourceKey, ResourceVersion};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};

use super::ApiServer;
use crate::process::Process;

/// What a process speaks to the API server by.
#[derive(Clone)]
pub struct Connection {
    pub(super) server: ApiServer,
    pub(super) process: Process,
}

impl Connection {
    /// Makes a call that only a leader makes. A process that is stopped meanwhile hears the answer when it goes on.
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.process.leave().await;
        self.server.checks.acts(self.process.number);
        let answer = call.await;
        self.process.runs().await;
        answer
    }
}

/// What a process hears, when it runs.
pub(super) fn heard<T: Send + 'static>(
    process: &Process,
    news: impl Stream<Item = T> + Send + 'static,
) -> BoxStream<'static, T> {
    let process = process.clone();
    news.then(move |event| {
        let process = process.clone();
        async move {
            process.runs().await;
            event
        }
    })
    .boxed()
}

impl Cluster for Connection {
    fn scopes(&self) -> Vec<Scope> {
        self.server.scopes()
    }

    fn watch(&self) -> BoxStream<'static, WatchEvent> {
        heard(&self.process, self.server.watch_of(self.process.number))
    }

    fn watch_secrets(&self, scope: &Scope) -> BoxStream<'static, SecretEvent> {
        heard(&self.process, self.server.secret_watch_of(self.process.number, scope))
    }

    fn watch_policies(&self) -> BoxStream<'static, PolicyEvent> {
        heard(&self.process, self.server.policy_watch_of(self.process.number))
    }

    fn watch_namespaces(&self) -> BoxStream<'static, (Scope, NamespaceEvent)> {
        heard(&self.process, self.server.watch_namespaces())
    }

    fn observe_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObservedSecret>, ClusterError>> {
        self.call(self.server.observe_secret(namespace, name)).boxed()
    }

    fn create_secret<'a>(&'a self, secret: &'a DesiredSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.call(self.server.create_secret(secret)).boxed()
    }

    fn probe_secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.call(self.server.probe_secret(namespace, name)).boxed()
    }

    fn replace_secret<'a>(
        &'a self,
        secret: &'a DesiredSecret,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.call(self.server.replace_secret(secret, over)).boxed()
    }

    fn repair_secret<'a>(
        &'a self,
        repair: &'a Repair,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.call(self.server.repair_secret(repair, over)).boxed()
    }

    fn delete_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        observed: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.call(self.server.delete_secret(namespace, name, observed)).boxed()
    }

    /// What has been sent arrives, also if nobody waits for the answer any more.
    fn write_status<'a>(
        &'a self,
        resource: &'a ResourceKey,
        status: &'a AWSAssumeRoleStatus,
        over: Option<ResourceVersion>,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        let sent = async move {
            let (server, resource, status) = (self.server.clone(), resource.clone(), status.clone());
            let arrives = tokio::spawn(async move { server.write_status(&resource, &status, over).await });
            arrives.await.unwrap()
        };
        self.call(sent).boxed()
    }

    fn resource_version<'a>(
        &'a self,
        resource: &'a ResourceKey,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        self.call(self.server.resource_version(resource)).boxed()
    }

    fn service_account_token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<ServiceAccountToken, ClusterError>> {
        self.call(self.server.service_account_token(namespace, name)).boxed()
    }

    fn create_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        event: &'a Event,
    ) -> BoxFuture<'a, Result<String, ClusterError>> {
        self.call(self.server.create_event(resource, event)).boxed()
    }

    fn repeat_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        name: &'a str,
        count: i32,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.call(self.server.repeat_event(resource, name, count)).boxed()
    }
}
