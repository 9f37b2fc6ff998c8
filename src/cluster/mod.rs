//! The cluster as the operator needs it: resources to watch, Secrets to look at and write, statuses to write.
//!
//! [`Cluster`] is the seam: the product puts [`kube::KubeCluster`] behind it, a simulation its own.

pub mod connection;
pub mod crd;
pub mod error;
pub mod event;
pub mod guarded;
pub mod kube;
pub mod lease;
mod listening;
mod nesting;
mod places;
pub mod tenancy;
pub mod watch;

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::api::AWSAssumeRoleStatus;
use crate::secret::{DesiredSecret, ObservedSecret, Repair};
use crate::spec::{Resource, ResourceKey, ResourceVersion};
pub use error::ClusterError;
pub use event::Event;
pub use tenancy::{NamespaceEvent, ObservedNamespace, ObservedPolicy, PolicyEvent, TenancyEvent};

/// What the operator does in the cluster. Each call is made once: when to try again is the caller's business.
pub trait Cluster: Send + Sync + 'static {
    /// The resources, from a full list onwards. The stream never ends: failures are dealt with behind it.
    fn watch(&self) -> BoxStream<'static, WatchEvent>;

    /// The Secrets that the operator has written, without their content, from a full list onwards. It never ends either.
    fn watch_secrets(&self) -> BoxStream<'static, SecretEvent>;

    /// The policies, from a full list onwards. It never ends, and tells of failures too.
    fn watch_policies(&self) -> BoxStream<'static, PolicyEvent>;

    /// The labels of the namespaces in which the operator works, from full lists onwards: one of all of them, or one for each name. It never
    /// ends either.
    fn watch_namespaces(&self) -> BoxStream<'static, (Option<Arc<str>>, NamespaceEvent)>;

    /// The Secret of that name, without its content, or nothing.
    ///
    /// # Errors
    /// [`ClusterError`] says what can be done.
    fn observe_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObservedSecret>, ClusterError>>;

    /// Makes a Secret that must not exist yet.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] when it does.
    fn create_secret<'a>(&'a self, secret: &'a DesiredSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>>;

    /// Asks whether a Secret of that name could be made, without making it.
    ///
    /// # Errors
    /// [`ClusterError::Terminating`] when the namespace is being deleted; the others as for [`Self::create_secret`].
    fn probe_secret<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Replaces the content of a Secret that must still be as it was observed, and what is the operator's on it.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] when it is not, [`ClusterError::Immutable`] when it can only be made anew.
    fn replace_secret<'a>(
        &'a self,
        secret: &'a DesiredSecret,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>>;

    /// Puts right what is wrong on a Secret beside its credentials, if it still is as it was observed.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] when it is not.
    fn repair_secret<'a>(
        &'a self,
        repair: &'a Repair,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>>;

    /// Deletes a Secret that must still be as it was observed. One that is gone already counts as deleted.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] when it is not.
    fn delete_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        observed: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Replaces the status of a resource that must still be that very one and, where a version is given, have that version. Gives the version
    /// that it has then.
    ///
    /// # Errors
    /// [`ClusterError::Gone`] when it is another one, [`ClusterError::Changed`] when it has another version: [`Self::resource_version`] tells
    /// which.
    fn write_status<'a>(
        &'a self,
        resource: &'a ResourceKey,
        status: &'a AWSAssumeRoleStatus,
        over: Option<ResourceVersion>,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>>;

    /// The version of a resource as it is now.
    ///
    /// # Errors
    /// [`ClusterError::Gone`] when it is not there, or another one has its name.
    fn resource_version<'a>(
        &'a self,
        resource: &'a ResourceKey,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>>;

    /// Publishes an event of a resource. Gives the name of the object.
    ///
    /// # Errors
    /// [`ClusterError`] says why it was not published. It is not worth trying again.
    fn create_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        event: &'a Event,
    ) -> BoxFuture<'a, Result<String, ClusterError>>;

    /// Counts an event that was published on its object: it has happened that often by now.
    ///
    /// # Errors
    /// [`ClusterError::Gone`] when the API server does not keep the object any more.
    fn repeat_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        name: &'a str,
        count: i32,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
}

/// What happened to the resources.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// The API server was heard, whatever it said.
    Heard,
    /// A full list begins, at the start or after the watch was lost.
    ListStarted,
    /// One resource of the list.
    Listed(Resource),
    /// The list is complete: what was not in it is gone.
    ListDone,
    /// A resource was made or changed.
    Applied(Resource),
    /// A resource is gone.
    Deleted(ResourceKey),
}

/// What happened to the Secrets that the operator has written.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretEvent {
    /// The API server was heard, whatever it said.
    Heard,
    /// A full list begins.
    ListStarted,
    /// One Secret of the list.
    Listed(Box<ObservedSecret>),
    /// The list is complete.
    ListDone,
    /// A Secret was made or changed.
    Applied(Box<ObservedSecret>),
    /// A Secret is gone, or has lost the label by which it is watched.
    Deleted(Box<ObservedSecret>),
}
