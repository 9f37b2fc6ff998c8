//! An API server in memory: resource versions, conflicts, watches that are lost and listed again, owner references that are followed, an
//! account of who wrote what.

mod calls;
mod connection;
mod hands;
mod lease;
mod policies;
mod storage;
mod watches;
mod writes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_assume_role::api::{AWSAssumeRole, AWSAssumeRoleSpec};
use aws_assume_role::cluster::{Scope, WatchEvent};
use aws_assume_role::spec::{REFRESH_ANNOTATION, ResourceKey};

use crate::checks::Checks;
use crate::place::{HOSTILE, NAMESPACES, Place};
use crate::process::Process;
use crate::time::Time;

pub use connection::Connection;
pub use hands::{Forgery, Trace};
use lease::StoredLease;
use storage::State;
pub use storage::Stored;
pub use watches::Watches;

/// The API server.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    checks: Checks,
    time: Time,
}

impl ApiServer {
    pub fn new(seed: u64, checks: Checks, time: Time) -> Self {
        // Some operators watch all namespaces, and some each by itself.
        let scopes = match seed % 3 {
            0 => NAMESPACES.into_iter().chain([HOSTILE]).map(Scope::of).collect(),
            _ => vec![Scope::all()],
        };
        Self {
            state: Arc::new(Mutex::new(State {
                version: 0,
                number: 0,
                resources: BTreeMap::new(),
                secrets: BTreeMap::new(),
                resource_watches: Vec::new(),
                secret_watches: Vec::new(),
                policies: BTreeMap::new(),
                policy_watches: Vec::new(),
                scopes,
                lease: StoredLease::default(),
                resources_silent: false,
                secrets_silent: false,
                down: false,
                faults: true,
                random: fastrand::Rng::with_seed(seed ^ 0xA91),
            })),
            checks,
            time,
        }
    }

    /// The way of a process to it.
    pub fn connect(&self, process: &Process) -> Connection {
        Connection {
            server: self.clone(),
            process: process.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    // --- what people do to resources

    pub fn create(&self, place: &Place, spec: AWSAssumeRoleSpec) -> String {
        let mut state = self.state();
        state.number += 1;
        let uid = format!("uid-{:06}", state.number);
        self.checks.resource_created(&uid, place);
        let mut resource = AWSAssumeRole::new(&place.name, spec);
        resource.metadata.namespace = Some(place.namespace.clone());
        resource.metadata.uid = Some(uid.clone());
        resource.metadata.generation = Some(1);
        state.put_resource(place, resource);
        uid
    }

    pub fn change(&self, place: &Place, change: impl FnOnce(&mut AWSAssumeRoleSpec)) {
        let mut state = self.state();
        if let Some(mut resource) = state.resources.get(place).cloned() {
            change(&mut resource.spec);
            resource.metadata.generation = resource.metadata.generation.map(|generation| generation + 1);
            state.put_resource(place, resource);
        }
    }

    pub fn request_refresh(&self, place: &Place, value: &str) {
        let mut state = self.state();
        if let Some(mut resource) = state.resources.get(place).cloned() {
            let annotations = resource.metadata.annotations.get_or_insert_default();
            annotations.insert(REFRESH_ANNOTATION.to_owned(), value.to_owned());
            state.put_resource(place, resource);
        }
    }

    pub fn delete(&self, place: &Place) -> Option<String> {
        let mut state = self.state();
        let resource = state.resources.remove(place)?;
        state.version += 1;
        state.tell(WatchEvent::Deleted(ResourceKey::of(&resource)));
        resource.metadata.uid
    }

    /// The resources of one namespace.
    pub fn places(&self, namespace: &str) -> Vec<Place> {
        let state = self.state();
        let places = state.resources.keys();
        places.filter(|place| place.namespace == namespace).cloned().collect()
    }

    pub fn resource(&self, place: &Place) -> Option<AWSAssumeRole> {
        self.state().resources.get(place).cloned()
    }

    pub fn uid(&self, place: &Place) -> Option<String> {
        self.state().resources.get(place)?.metadata.uid.clone()
    }

    pub fn resources(&self) -> BTreeMap<Place, AWSAssumeRole> {
        self.state().resources.clone()
    }

    pub fn secret(&self, place: &Place) -> Option<Stored> {
        self.state().secrets.get(place).cloned()
    }

    pub fn secrets(&self) -> BTreeMap<Place, Stored> {
        self.state().secrets.clone()
    }
}
