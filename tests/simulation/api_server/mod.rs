//! An API server in memory: resource versions, conflicts, watches that are lost and listed again, owner references that are followed, an
//! account of who wrote what.

mod calls;
mod storage;
mod watches;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_assume_role::api::{AWSAssumeRole, AWSAssumeRoleSpec};
use aws_assume_role::cluster::WatchEvent;
use aws_assume_role::spec::{REFRESH_ANNOTATION, ResourceKey};

use crate::checks::Checks;
use crate::time::Time;

use storage::State;
pub use storage::Stored;

pub const NAMESPACE: &str = "sim";

/// The API server.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    checks: Checks,
    time: Time,
}

impl ApiServer {
    pub fn new(seed: u64, checks: Checks, time: Time) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                version: 0,
                number: 0,
                resources: BTreeMap::new(),
                secrets: BTreeMap::new(),
                resource_watches: Vec::new(),
                secret_watches: Vec::new(),
                broken: false,
                down: false,
                faults: true,
                random: fastrand::Rng::with_seed(seed ^ 0xA91),
            })),
            checks,
            time,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    // --- what people do

    pub fn create(&self, name: &str, spec: AWSAssumeRoleSpec) -> String {
        let mut state = self.state();
        state.number += 1;
        let uid = format!("uid-{:06}", state.number);
        let mut resource = AWSAssumeRole::new(name, spec);
        resource.metadata.namespace = Some(NAMESPACE.to_owned());
        resource.metadata.uid = Some(uid.clone());
        resource.metadata.generation = Some(1);
        state.put_resource(resource);
        uid
    }

    pub fn change(&self, name: &str, change: impl FnOnce(&mut AWSAssumeRoleSpec)) {
        let mut state = self.state();
        if let Some(mut resource) = state.resources.get(name).cloned() {
            change(&mut resource.spec);
            resource.metadata.generation = resource.metadata.generation.map(|generation| generation + 1);
            state.put_resource(resource);
        }
    }

    pub fn request_refresh(&self, name: &str, value: &str) {
        let mut state = self.state();
        if let Some(mut resource) = state.resources.get(name).cloned() {
            let annotations = resource.metadata.annotations.get_or_insert_default();
            annotations.insert(REFRESH_ANNOTATION.to_owned(), value.to_owned());
            state.put_resource(resource);
        }
    }

    pub fn delete(&self, name: &str) -> Option<String> {
        let mut state = self.state();
        let resource = state.resources.remove(name)?;
        state.version += 1;
        state.tell(WatchEvent::Deleted(ResourceKey::of(&resource)));
        resource.metadata.uid
    }

    /// What the garbage collector does some time after a resource went.
    pub fn collect(&self, owner: &str) {
        let mut state = self.state();
        let orphans: Vec<String> = state
            .secrets
            .iter()
            .filter(|(_, secret)| secret.owner().as_deref() == Some(owner))
            .map(|(name, _)| name.clone())
            .collect();
        for name in orphans {
            state.drop_secret(&name);
            self.checks.secret_gone(&name);
        }
    }

    pub fn plant_foreign(&self, name: &str) {
        let mut state = self.state();
        if !state.secrets.contains_key(name) {
            let seen = state.named(name);
            state.secrets.insert(
                name.to_owned(),
                Stored {
                    seen,
                    type_: "Opaque".to_owned(),
                    content: "foreign".to_owned(),
                    spoilt: false,
                },
            );
        }
    }

    /// Takes a Secret away by hand.
    pub fn delete_by_hand(&self, name: &str) -> bool {
        let mut state = self.state();
        let there = state.secrets.contains_key(name);
        state.drop_secret(name);
        self.checks.secret_gone(name);
        there
    }

    /// Edits a Secret by hand.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Stored)) -> bool {
        let mut state = self.state();
        let Some(mut secret) = state.secrets.get(name).cloned() else {
            return false;
        };
        let before = secret.seen.provenance.clone();
        edit(&mut secret);
        // Whoever writes something leaves a trace; whoever only takes something off does not.
        if secret.seen.provenance != before
            && let Some(provenance) = &mut secret.seen.provenance
        {
            provenance.their_last_write = Some(self.time.now());
            provenance.their_writes += 1;
        }
        state.put_secret(name, secret);
        true
    }

    pub fn names(&self) -> Vec<String> {
        self.state().resources.keys().cloned().collect()
    }

    pub fn resource(&self, name: &str) -> Option<AWSAssumeRole> {
        self.state().resources.get(name).cloned()
    }

    pub fn resources(&self) -> Vec<AWSAssumeRole> {
        self.state().resources.values().cloned().collect()
    }

    pub fn secret(&self, name: &str) -> Option<Stored> {
        self.state().secrets.get(name).cloned()
    }

    pub fn secrets(&self) -> BTreeMap<String, Stored> {
        self.state().secrets.clone()
    }
}
