//! What is stored: resources and Secrets, with a new resource version at every write.

use std::collections::BTreeMap;

use aws_assume_role::api::AWSAssumeRole;
use aws_assume_role::cluster::{ClusterError, SecretEvent, WatchEvent};
use aws_assume_role::secret::{MANAGED_BY_LABEL, ObservedSecret};
use aws_assume_role::spec::Resource;
use futures::channel::mpsc::UnboundedSender;

use super::NAMESPACE;

/// A Secret as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub seen: ObservedSecret,
    pub type_: String,
    /// What tells the credentials in it apart: an access key id, or a registry token.
    pub content: String,
    pub spoilt: bool,
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
}

pub(super) struct State {
    pub(super) version: u64,
    pub(super) number: u64,
    pub(super) resources: BTreeMap<String, AWSAssumeRole>,
    pub(super) secrets: BTreeMap<String, Stored>,
    pub(super) resource_watches: Vec<UnboundedSender<WatchEvent>>,
    pub(super) secret_watches: Vec<UnboundedSender<SecretEvent>>,
    /// Nothing reaches a watch until it is listed again.
    pub(super) broken: bool,
    pub(super) down: bool,
    pub(super) faults: bool,
    pub(super) random: fastrand::Rng,
}

impl State {
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub(super) fn named(&mut self, name: &str) -> ObservedSecret {
        self.number += 1;
        let mut seen = ObservedSecret::default();
        seen.metadata.name = Some(name.to_owned());
        seen.metadata.namespace = Some(NAMESPACE.to_owned());
        seen.metadata.uid = Some(format!("secret-{:06}", self.number));
        seen.metadata.resource_version = Some(self.next_version());
        seen
    }

    pub(super) fn put_resource(&mut self, mut resource: AWSAssumeRole) {
        resource.metadata.resource_version = Some(self.next_version());
        self.tell(WatchEvent::Applied(Resource::from_resource(&resource)));
        self.resources.insert(resource.metadata.name.clone().unwrap(), resource);
    }

    pub(super) fn put_secret(&mut self, name: &str, mut secret: Stored) -> ObservedSecret {
        secret.seen.metadata.resource_version = Some(self.next_version());
        let seen = secret.seen.clone();
        let was_labelled = self.secrets.get(name).is_some_and(Stored::is_labelled);
        let event = match (secret.is_labelled(), was_labelled) {
            (true, _) => Some(SecretEvent::Applied(Box::new(seen.clone()))),
            (false, true) => Some(SecretEvent::Deleted(Box::new(seen.clone()))),
            (false, false) => None,
        };
        self.secrets.insert(name.to_owned(), secret);
        if let Some(event) = event {
            self.tell_secret(&event);
        }
        seen
    }

    pub(super) fn drop_secret(&mut self, name: &str) {
        if let Some(secret) = self.secrets.remove(name) {
            self.version += 1;
            if secret.is_labelled() {
                self.tell_secret(&SecretEvent::Deleted(Box::new(secret.seen)));
            }
        }
    }

    /// The Secret of that name, if it is still as it was seen.
    pub(super) fn unchanged(&self, name: &str, over: &ObservedSecret) -> Result<Stored, ClusterError> {
        let stored = self
            .secrets
            .get(name)
            .ok_or_else(|| ClusterError::Gone(name.to_owned()))?;
        let same = stored.seen.metadata.resource_version == over.metadata.resource_version
            && stored.seen.metadata.uid == over.metadata.uid;
        match same {
            true => Ok(stored.clone()),
            false => Err(ClusterError::Changed(name.to_owned())),
        }
    }
}
