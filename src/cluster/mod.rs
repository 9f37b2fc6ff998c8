//! The cluster as the operator needs it: resources to watch, Secrets to look at and write, statuses to write.
//!
//! [`Cluster`] is the seam: the product puts [`kube::KubeCluster`] behind it, a simulation its own.

pub mod connection;
pub mod crd;
pub mod error;
pub mod event;
pub mod guarded;
pub mod inquiry;
pub mod kube;
pub mod lease;
mod listening;
mod nesting;
mod places;
mod request;
mod scope;
pub mod tenancy;
mod token;
pub mod watch;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::api::AWSAssumeRoleStatus;
use crate::credentials::ServiceAccountToken;
use crate::secret::{DesiredSecret, ObservedSecret, Repair};
use crate::spec::{Resource, ResourceKey, ResourceVersion};
pub use error::ClusterError;
pub use event::Event;
pub use scope::Scope;
pub use tenancy::{NamespaceEvent, ObservedNamespace, ObservedPolicy, PolicyEvent, TenancyEvent};

/// What the operator does in the cluster. Each call is made once: when to try again is the caller's business.
pub trait Cluster: Send + Sync + 'static {
    /// What there is a watch on: all namespaces, or each of some.
    fn scopes(&self) -> Vec<Scope> {
        vec![Scope::all()]
    }

    /// The resources of all scopes, from a full list of each onwards. The stream never ends: failures are dealt with behind it, and one scope's
    /// hold up no other.
    fn watch(&self) -> BoxStream<'static, WatchEvent>;

    /// The Secrets of one scope that the operator has written, without their content, from a full list onwards. It never ends either.
    fn watch_secrets(&self, scope: &Scope) -> BoxStream<'static, SecretEvent>;

    /// The policies, from a full list onwards. It never ends, and tells of failures too.
    fn watch_policies(&self) -> BoxStream<'static, PolicyEvent>;

    /// The labels of the namespaces of all scopes, from a full list of each onwards. It never ends either.
    fn watch_namespaces(&self) -> BoxStream<'static, (Scope, NamespaceEvent)>;

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

    /// A token of a ServiceAccount, for AWS alone.
    ///
    /// # Errors
    /// [`ClusterError::Gone`] when there is no such ServiceAccount, [`ClusterError::Forbidden`] when the operator may not ask for tokens.
    fn service_account_token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<ServiceAccountToken, ClusterError>>;

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
    /// The API server was heard by the watch on that scope, whatever it said.
    Heard(Scope),
    /// A full list of a scope begins, at the start or after the watch was lost.
    ListStarted(Scope),
    /// One resource of the list of the scope that it is in.
    Listed(Resource),
    /// The list of a scope is complete: what of the scope was not in it is gone.
    ListDone(Scope),
    /// A resource was made or changed.
    Applied(Resource),
    /// A resource is gone.
    Deleted(ResourceKey),
}

/// What happened to the Secrets that the operator has written.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretEvent {
    /// The API server was heard by the watch on that scope, whatever it said.
    Heard(Scope),
    /// A full list of a scope begins.
    ListStarted(Scope),
    /// One Secret of the list of the scope that it is in.
    Listed(Box<ObservedSecret>),
    /// The list of a scope is complete.
    ListDone(Scope),
    /// A Secret was made or changed.
    Applied(Box<ObservedSecret>),
    /// A Secret is gone, or has lost the label by which it is watched.
    Deleted(Box<ObservedSecret>),
}
