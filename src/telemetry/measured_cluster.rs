//! A [`Cluster`] around another: each call in a span of its own.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tracing::{Instrument, Span};

use super::spans;
use crate::api::AWSAssumeRoleStatus;
use crate::cluster::{Cluster, ClusterError, Event, NamespaceEvent, PolicyEvent, Scope, SecretEvent, WatchEvent};
use crate::credentials::ServiceAccountToken;
use crate::secret::{DesiredSecret, ObservedSecret, Repair};
use crate::spec::{ResourceKey, ResourceVersion};

/// A [`Cluster`] whose calls show in traces.
pub struct MeasuredCluster(Arc<dyn Cluster>);

impl MeasuredCluster {
    /// Measures the calls of `cluster`.
    #[must_use]
    pub fn new(cluster: Arc<dyn Cluster>) -> Self {
        Self(cluster)
    }
}

/// Makes a call in a span.
fn within<'a, T: Send + 'a>(
    span: Span,
    call: BoxFuture<'a, Result<T, ClusterError>>,
) -> BoxFuture<'a, Result<T, ClusterError>> {
    async move {
        let result = call.instrument(span.clone()).await;
        if let Err(error) = &result {
            spans::failed(&span, error.into(), error);
        }
        result
    }
    .boxed()
}

/// The same, for a call that is no failure when what it is about is gone: a status or an event is not needed then.
fn within_unless_gone<'a, T: Send + 'a>(
    span: Span,
    call: BoxFuture<'a, Result<T, ClusterError>>,
) -> BoxFuture<'a, Result<T, ClusterError>> {
    async move {
        let result = call.instrument(span.clone()).await;
        match &result {
            Ok(_) | Err(ClusterError::Gone(_) | ClusterError::Terminating(_)) => {}
            Err(error) => spans::failed(&span, error.into(), error),
        }
        result
    }
    .boxed()
}

impl Cluster for MeasuredCluster {
    fn scopes(&self) -> Vec<Scope> {
        self.0.scopes()
    }

    fn watch(&self) -> BoxStream<'static, WatchEvent> {
        self.0.watch()
    }

    fn watch_secrets(&self, scope: &Scope) -> BoxStream<'static, SecretEvent> {
        self.0.watch_secrets(scope)
    }

    fn watch_policies(&self) -> BoxStream<'static, PolicyEvent> {
        self.0.watch_policies()
    }

    fn watch_namespaces(&self) -> BoxStream<'static, (Scope, NamespaceEvent)> {
        self.0.watch_namespaces()
    }

    fn observe_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObservedSecret>, ClusterError>> {
        within(spans::secret_read(name), self.0.observe_secret(namespace, name))
    }

    fn create_secret<'a>(&'a self, secret: &'a DesiredSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        within(spans::secret_write(&secret.name, "POST"), self.0.create_secret(secret))
    }

    fn probe_secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), ClusterError>> {
        within(spans::secret_probe(name), self.0.probe_secret(namespace, name))
    }

    fn replace_secret<'a>(
        &'a self,
        secret: &'a DesiredSecret,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        within(
            spans::secret_write(&secret.name, "PATCH"),
            self.0.replace_secret(secret, over),
        )
    }

    fn repair_secret<'a>(
        &'a self,
        repair: &'a Repair,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        within(
            spans::secret_write(&repair.name, "PATCH"),
            self.0.repair_secret(repair, over),
        )
    }

    fn delete_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        observed: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        within(
            spans::secret_delete(name),
            self.0.delete_secret(namespace, name, observed),
        )
    }

    fn write_status<'a>(
        &'a self,
        resource: &'a ResourceKey,
        status: &'a AWSAssumeRoleStatus,
        over: Option<ResourceVersion>,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        within_unless_gone(spans::status_write(), self.0.write_status(resource, status, over))
    }

    fn resource_version<'a>(
        &'a self,
        resource: &'a ResourceKey,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        within_unless_gone(spans::resource_read(), self.0.resource_version(resource))
    }

    fn service_account_token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<ServiceAccountToken, ClusterError>> {
        within(
            spans::service_account_token(name),
            self.0.service_account_token(namespace, name),
        )
    }

    fn create_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        event: &'a Event,
    ) -> BoxFuture<'a, Result<String, ClusterError>> {
        within_unless_gone(spans::event_write("POST"), self.0.create_event(resource, event))
    }

    fn repeat_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        name: &'a str,
        count: i32,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        within_unless_gone(spans::event_write("PATCH"), self.0.repeat_event(resource, name, count))
    }
}
