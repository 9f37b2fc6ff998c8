//! The Lease by which the replicas of the operator agree on the one that acts.
//! <https://kubernetes.io/docs/concepts/architecture/leases/>

pub mod kube;

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use k8s_openapi::jiff::Timestamp;

use super::ClusterError;

/// What is done with the one Lease. Each call is made once, by nobody's leave, and waits behind no other.
pub trait Leases: Send + Sync + 'static {
    /// The Lease as it is, and whenever it changes; nothing where there is none. The stream never ends: failures are dealt with behind it.
    fn watch(&self) -> BoxStream<'static, Option<Lease>>;

    /// The Lease as it is now, or nothing.
    ///
    /// # Errors
    /// [`ClusterError`] says what can be done.
    fn get(&self) -> BoxFuture<'_, Result<Option<Lease>, ClusterError>>;

    /// Makes the Lease, which must not exist yet.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] when it does.
    fn create<'a>(&'a self, record: &'a LeaseRecord) -> BoxFuture<'a, Result<Lease, ClusterError>>;

    /// Replaces what the Lease says, if it still is as it was seen.
    ///
    /// # Errors
    /// [`ClusterError::Changed`] when it is not, [`ClusterError::Gone`] when it is not there.
    fn replace<'a>(&'a self, over: &'a Lease, record: &'a LeaseRecord) -> BoxFuture<'a, Result<Lease, ClusterError>>;
}

/// A Lease as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// What it says.
    pub record: LeaseRecord,
}

/// What a Lease says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Who holds it, if anybody does.
    pub holder: Option<String>,
    /// For how long after it was last renewed, in whole seconds.
    pub duration: Duration,
    /// When its holder got it, by the holder's clock. For people.
    pub acquired: Option<Timestamp>,
    /// When its holder last renewed it, by the holder's clock. For people, and so that each renewal is a change.
    pub renewed: Option<Timestamp>,
    /// How often it went from one holder to another.
    pub transitions: i32,
}

impl Lease {
    /// Whether this was seen before `other`. Resource versions are whole numbers that grow, also over a deletion.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        let version = |lease: &Self| lease.version.parse::<u64>().ok();
        version(self)
            .zip(version(other))
            .is_some_and(|(this, that)| this < that)
    }
}
