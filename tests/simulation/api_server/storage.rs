//! What is stored: resources and Secrets, with a new resource version at every write.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_assume_role::api::AWSAssumeRole;
use aws_assume_role::cluster::{ClusterError, ObservedPolicy, PolicyEvent, Scope, SecretEvent, WatchEvent};
use aws_assume_role::secret::{MANAGED_BY_LABEL, ObservedSecret};
use aws_assume_role::spec::{Resource, ResourceKey};
use futures::channel::mpsc::UnboundedSender;

use super::lease::StoredLease;
use crate::place::Place;

/// A Secret as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub seen: ObservedSecret,
    pub type_: String,
    /// What tells the credentials in it apart: an access key id, or a registry token.
    pub content: String,
    /// The hashes of the values that the operator wrote.
    pub values: BTreeMap<String, u64>,
    /// When somebody changed the credentials in it, in seconds of the epoch.
    pub spoilt: Option<i64>,
    /// Somebody wrote under the operator's name, and the operator that could tell is gone.
    pub forged_unseen: bool,
    /// The operator's claim to what somebody touched and set back was lost.
    pub unclaimed: bool,
    /// Somebody's label is on it, of which the operator knows nothing.
    pub foreign_label: bool,
}

impl Stored {
    /// The UID of the resource that controls it.
    pub fn owner(&self) -> Option<String> {
        self.seen.controller_uid().map(str::to_owned)
    }

    pub(super) fn is_labelled(&self) -> bool {
        let (label, value) = MANAGED_BY_LABEL;
        let labels = self.seen.metadata.labels.as_ref();
        labels.is_some_and(|labels| labels.get(label).is_some_and(|found| found == value))
    }

    /// Whether somebody else's name stands at something that the operator relies on.
    pub(super) fn is_to_be_claimed(&self) -> bool {
        let provenance = self.seen.provenance.as_ref();
        provenance.is_some_and(|provenance| !provenance.annotations || !provenance.others.is_empty())
    }

    /// What the API server keeps after the operator has claimed what is its own.
    pub(super) fn claimed(mut self) -> Self {
        let foreign_label = self.foreign_label;
        if let Some(provenance) = &mut self.seen.provenance {
            provenance.ours.append(&mut provenance.others);
            provenance.annotations = true;
            // An entry in which nothing is left goes.
            if !foreign_label {
                provenance.their_last_write = None;
                provenance.their_writes = 0;
            }
        }
        self
    }
}

pub(super) struct State {
    pub(super) version: u64,
    pub(super) number: u64,
    pub(super) resources: BTreeMap<Place, AWSAssumeRole>,
    pub(super) secrets: BTreeMap<Place, Stored>,
    /// Each with the number of the process that watches.
    pub(super) resource_watches: Vec<(u64, UnboundedSender<WatchEvent>)>,
    /// Each on a scope.
    pub(super) secret_watches: Vec<(u64, Scope, UnboundedSender<SecretEvent>)>,
    /// What the operators watch, each by itself.
    pub(super) scopes: Vec<Scope>,
    pub(super) policies: BTreeMap<Arc<str>, ObservedPolicy>,
    pub(super) policy_watches: Vec<(u64, UnboundedSender<PolicyEvent>)>,
    pub(super) lease: StoredLease,
    /// Nothing of resources reaches a watch until they are listed again.
    pub(super) resources_silent: bool,
    /// Nothing of Secrets reaches a watch until they are listed again.
    pub(super) secrets_silent: bool,
    pub(super) down: bool,
    pub(super) faults: bool,
    pub(super) random: fastrand::Rng,
}

impl State {
    pub(super) fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// The beginning of a Secret.
    pub(super) fn named(&mut self, place: &Place) -> ObservedSecret {
        self.number += 1;
        let mut seen = ObservedSecret::default();
        seen.metadata.name = Some(place.name.clone());
        seen.metadata.namespace = Some(place.namespace.clone());
        seen.metadata.uid = Some(format!("secret-{:06}", self.number));
        seen.metadata.resource_version = Some(self.next_version());
        seen
    }

    pub(super) fn put_resource(&mut self, place: &Place, mut resource: AWSAssumeRole) -> &AWSAssumeRole {
        resource.metadata.resource_version = Some(self.next_version());
        self.tell(WatchEvent::Applied(Resource::from_resource(&resource)));
        self.resources.insert(place.clone(), resource);
        &self.resources[place]
    }

    /// The resource that is meant, and no other of its name.
    pub(super) fn this_very(&self, resource: &ResourceKey) -> Result<AWSAssumeRole, ClusterError> {
        let stored = self.resources.get(&Place::new(&resource.namespace, &resource.name));
        let same = stored.filter(|stored| stored.metadata.uid.as_deref() == Some(&resource.uid));
        same.cloned().ok_or_else(|| ClusterError::Gone(resource.to_string()))
    }

    pub(super) fn put_secret(&mut self, place: &Place, mut secret: Stored) -> ObservedSecret {
        secret.seen.metadata.resource_version = Some(self.next_version());
        let seen = secret.seen.clone();
        let was_labelled = self.secrets.get(place).is_some_and(Stored::is_labelled);
        let event = match (secret.is_labelled(), was_labelled) {
            (true, _) => Some(SecretEvent::Applied(Box::new(seen.clone()))),
            (false, true) => Some(SecretEvent::Deleted(Box::new(seen.clone()))),
            (false, false) => None,
        };
        self.secrets.insert(place.clone(), secret);
        if let Some(event) = event {
            self.tell_secret(&event);
        }
        seen
    }

    pub(super) fn drop_secret(&mut self, place: &Place) {
        if let Some(secret) = self.secrets.remove(place) {
            self.version += 1;
            if secret.is_labelled() {
                self.tell_secret(&SecretEvent::Deleted(Box::new(secret.seen)));
            }
        }
    }

    /// The Secret at that place, if it is still as it was seen.
    pub(super) fn unchanged(&self, place: &Place, over: &ObservedSecret) -> Result<Stored, ClusterError> {
        let stored = self
            .secrets
            .get(place)
            .ok_or_else(|| ClusterError::Gone(place.to_string()))?;
        let same = stored.seen.metadata.resource_version == over.metadata.resource_version
            && stored.seen.metadata.uid == over.metadata.uid;
        match same {
            true => Ok(stored.clone()),
            false => Err(ClusterError::Changed(place.to_string())),
        }
    }
}
