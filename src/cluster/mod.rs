//! The cluster as the operator needs it: resources to watch, Secrets to look at and write, statuses to write.
//!
//! [`Cluster`] is the seam: the product puts [`client::KubeCluster`] behind it, a simulation its own.

pub mod client;
pub mod definition;
pub mod error;
mod event;
pub mod watch;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::refresh::event::{Event, Published};
use crate::resource::AWSAssumeRoleStatus;
use crate::secret::{ObservedSecret, Repair, WantedSecret};
use crate::wanted::{ResourceKey, Watched};
pub use error::ClusterError;

/// What the operator does in the cluster. Each call is made once: when to try again is the caller's business.
pub trait Cluster: Send + Sync + 'static {
    /// The resources, from a full list onwards. The stream ends never: what goes wrong is mended behind it.
    fn watch(&self) -> BoxStream<'static, WatchEvent>;

    /// The Secrets that the operator has written, without their content, from a full list onwards. It ends as little as the other.
    fn watch_secrets(&self) -> BoxStream<'static, SecretEvent>;

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
    fn create_secret<'a>(&'a self, secret: &'a WantedSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>>;

    /// Replaces a Secret that must still be as it was observed.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] when it is not, [`ClusterError::Immutable`] when it can only be made anew.
    fn replace_secret<'a>(
        &'a self,
        secret: &'a WantedSecret,
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

    /// Replaces the status of a resource that must still be that very one.
    ///
    /// # Errors
    /// [`ClusterError::Gone`] when it is not.
    fn write_status<'a>(
        &'a self,
        resource: &'a ResourceKey,
        status: &'a AWSAssumeRoleStatus,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Tells an event of a resource, as one that goes on where it is the one before once more.
    ///
    /// # Errors
    /// [`ClusterError`] says why it was not told. It is not worth trying again.
    fn publish<'a>(
        &'a self,
        resource: &'a ResourceKey,
        event: &'a Event,
        before: Option<&'a Published>,
    ) -> BoxFuture<'a, Result<Published, ClusterError>>;
}

/// What happened to the resources.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// A full list begins, at the start or after the watch was lost.
    ListStarted,
    /// One resource of the list.
    Listed(Watched),
    /// The list is complete: what was not in it is gone.
    ListDone,
    /// A resource was made or changed.
    Applied(Watched),
    /// A resource is gone.
    Deleted(ResourceKey),
}

/// What happened to the Secrets that the operator has written.
#[derive(Clone, Debug, PartialEq)]
pub enum SecretEvent {
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
