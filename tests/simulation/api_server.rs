//! An API server in memory: resource versions, conflicts, watches that are lost and listed again, owner references that are followed, an
//! account of who wrote what.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_assume_role::cluster::{Cluster, ClusterError, SecretEvent, WatchEvent};
use aws_assume_role::credentials::ExposeSecret;
use aws_assume_role::refresh::event::{Event, Published};
use aws_assume_role::resource::{AWSAssumeRole, AWSAssumeRoleSpec, AWSAssumeRoleStatus};
use aws_assume_role::secret::{MANAGED_BY_LABEL, ObservedSecret, Provenance, Repair, WantedSecret};
use aws_assume_role::wanted::{REFRESH_ANNOTATION, ResourceKey, Watched};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

use crate::checks::Checks;
use crate::time::Time;

pub const NAMESPACE: &str = "sim";

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

    fn is_labelled(&self) -> bool {
        let (label, value) = MANAGED_BY_LABEL;
        let labels = self.seen.metadata.labels.as_ref();
        labels.is_some_and(|labels| labels.get(label).is_some_and(|found| found == value))
    }
}

struct State {
    version: u64,
    number: u64,
    resources: BTreeMap<String, AWSAssumeRole>,
    secrets: BTreeMap<String, Stored>,
    resource_watches: Vec<UnboundedSender<WatchEvent>>,
    secret_watches: Vec<UnboundedSender<SecretEvent>>,
    /// Nothing reaches a watch until it is listed again.
    broken: bool,
    down: bool,
    faults: bool,
    random: fastrand::Rng,
}

/// The API server.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    checks: Checks,
    time: Time,
}

/// What becomes of a call.
enum Fate {
    Done,
    Lost,
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
        edit(&mut secret);
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

    // --- what goes wrong

    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    pub fn stop_faults(&self) {
        self.state().faults = false;
    }

    /// The watches hear nothing any more.
    pub fn break_watches(&self) {
        self.state().broken = true;
    }

    /// The watches are set up again, which begins with a list.
    pub fn mend_watches(&self) {
        self.checks.all_statuses_unsure();
        let mut state = self.state();
        state.broken = false;
        state.list();
    }

    /// The operator is gone, and with it its watches.
    pub fn drop_watches(&self) {
        let mut state = self.state();
        state.resource_watches.clear();
        state.secret_watches.clear();
        state.broken = false;
    }

    /// Decides what becomes of a call, and takes the time that it takes.
    async fn fate(&self) -> Result<Fate, ClusterError> {
        tokio::task::yield_now().await;
        let (down, fate) = {
            let mut state = self.state();
            let fate = if state.faults { state.random.u32(0..1000) } else { 1000 };
            (state.down, fate)
        };
        if down {
            return Err(ClusterError::Unavailable("connection refused".to_owned()));
        }
        let unavailable = |what: &str| {
            self.checks.count(what);
            Err(ClusterError::Unavailable(what.to_owned()))
        };
        match fate {
            0..8 => unavailable("api server: error"),
            8..10 => {
                self.checks.count("api server: conflict");
                Err(ClusterError::Changed("somebody was faster".to_owned()))
            }
            10..14 => {
                self.checks.count("api server: answer lost");
                Ok(Fate::Lost)
            }
            14..18 => {
                self.checks.count("api server: slow");
                tokio::time::sleep(Duration::from_secs(12)).await;
                Ok(Fate::Done)
            }
            18 => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                unavailable("api server: hung")
            }
            _ => Ok(Fate::Done),
        }
    }

    /// Does something to the state, whose answer may get lost.
    async fn call<T>(&self, act: impl FnOnce(&mut State) -> Result<T, ClusterError> + Send) -> Result<T, ClusterError> {
        let fate = self.fate().await?;
        let done = act(&mut self.state());
        match fate {
            Fate::Done => done,
            Fate::Lost => Err(ClusterError::Unavailable("answer lost".to_owned())),
        }
    }

    fn written(&self, secret: &WantedSecret, over: Option<&ObservedSecret>) -> Stored {
        let contents = secret.data.0.values().map(|value| value.expose_secret());
        let content = contents.filter_map(identity).next().unwrap_or_default();
        let keys: BTreeSet<String> = secret.data.0.keys().cloned().collect();
        Stored {
            seen: ObservedSecret {
                metadata: secret.metadata(over),
                provenance: Some(Provenance {
                    ours: keys,
                    others: BTreeSet::new(),
                    annotations: true,
                }),
            },
            type_: secret.type_.to_owned(),
            content,
            spoilt: false,
        }
    }
}

/// What tells credentials apart, found in the value of a key.
fn identity(text: &str) -> Option<String> {
    let found = |mark: &str, length: usize| text.find(mark).map(|at| text[at..at + length].to_owned());
    found("ASIA", 20).or_else(|| found("ecr-token-", 18 + 65))
}

impl State {
    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    fn named(&mut self, name: &str) -> ObservedSecret {
        self.number += 1;
        let mut seen = ObservedSecret::default();
        seen.metadata.name = Some(name.to_owned());
        seen.metadata.namespace = Some(NAMESPACE.to_owned());
        seen.metadata.uid = Some(format!("secret-{:06}", self.number));
        seen.metadata.resource_version = Some(self.next_version());
        seen
    }

    fn put_resource(&mut self, mut resource: AWSAssumeRole) {
        resource.metadata.resource_version = Some(self.next_version());
        self.tell(WatchEvent::Applied(Watched::from_resource(&resource)));
        self.resources.insert(resource.metadata.name.clone().unwrap(), resource);
    }

    fn put_secret(&mut self, name: &str, mut secret: Stored) -> ObservedSecret {
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

    fn drop_secret(&mut self, name: &str) {
        if let Some(secret) = self.secrets.remove(name) {
            self.version += 1;
            if secret.is_labelled() {
                self.tell_secret(&SecretEvent::Deleted(Box::new(secret.seen)));
            }
        }
    }

    fn tell(&mut self, event: WatchEvent) {
        if !self.broken {
            self.resource_watches
                .retain(|watch| watch.unbounded_send(event.clone()).is_ok());
        }
    }

    fn tell_secret(&mut self, event: &SecretEvent) {
        if !self.broken {
            self.secret_watches
                .retain(|watch| watch.unbounded_send(event.clone()).is_ok());
        }
    }

    fn list(&mut self) {
        self.tell(WatchEvent::ListStarted);
        let all: Vec<_> = self.resources.values().map(Watched::from_resource).collect();
        for watched in all {
            self.tell(WatchEvent::Listed(watched));
        }
        self.tell(WatchEvent::ListDone);
        self.tell_secret(&SecretEvent::ListStarted);
        let all: Vec<_> = self
            .secrets
            .values()
            .filter(|secret| secret.is_labelled())
            .cloned()
            .collect();
        for secret in all {
            self.tell_secret(&SecretEvent::Listed(Box::new(secret.seen)));
        }
        self.tell_secret(&SecretEvent::ListDone);
    }

    /// The Secret of that name, if it is still as it was seen.
    fn unchanged(&self, name: &str, over: &ObservedSecret) -> Result<Stored, ClusterError> {
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

impl Cluster for ApiServer {
    fn watch(&self) -> BoxStream<'static, WatchEvent> {
        let (sender, receiver) = unbounded();
        let mut state = self.state();
        state.resource_watches = vec![sender];
        state.tell(WatchEvent::ListStarted);
        let all: Vec<_> = state.resources.values().map(Watched::from_resource).collect();
        for watched in all {
            state.tell(WatchEvent::Listed(watched));
        }
        state.tell(WatchEvent::ListDone);
        receiver.boxed()
    }

    fn watch_secrets(&self) -> BoxStream<'static, SecretEvent> {
        let (sender, receiver) = unbounded();
        let mut state = self.state();
        state.secret_watches = vec![sender];
        state.tell_secret(&SecretEvent::ListStarted);
        let all: Vec<_> = state
            .secrets
            .values()
            .filter(|secret| secret.is_labelled())
            .cloned()
            .collect();
        for secret in all {
            state.tell_secret(&SecretEvent::Listed(Box::new(secret.seen)));
        }
        state.tell_secret(&SecretEvent::ListDone);
        receiver.boxed()
    }

    fn observe_secret<'a>(
        &'a self,
        _: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObservedSecret>, ClusterError>> {
        self.call(|state| Ok(state.secrets.get(name).map(|secret| secret.seen.clone())))
            .boxed()
    }

    fn create_secret<'a>(&'a self, secret: &'a WantedSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.call(move |state| {
            if state.secrets.contains_key(&secret.name) {
                return Err(ClusterError::Changed("it exists".to_owned()));
            }
            let fresh = state.named(&secret.name);
            let mut stored = self.written(secret, None);
            stored.seen.metadata.uid = fresh.metadata.uid;
            self.checks
                .secret_written(&secret.name, &secret.owner.uid, &stored.content);
            Ok(state.put_secret(&secret.name, stored))
        })
        .boxed()
    }

    fn replace_secret<'a>(
        &'a self,
        secret: &'a WantedSecret,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.call(move |state| {
            let before = state.unchanged(&secret.name, over)?;
            self.checks
                .may_write(&secret.name, before.owner().as_deref(), &secret.owner.uid);
            let stored = self.written(secret, Some(over));
            if stored.type_ != before.type_ {
                return Err(ClusterError::Immutable("type: field is immutable".to_owned()));
            }
            self.checks
                .secret_written(&secret.name, &secret.owner.uid, &stored.content);
            Ok(state.put_secret(&secret.name, stored))
        })
        .boxed()
    }

    fn repair_secret<'a>(
        &'a self,
        repair: &'a Repair,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        self.call(move |state| {
            let mut stored = state.unchanged(&repair.name, over)?;
            self.checks.may_repair(&repair.name, stored.owner().as_deref());
            let labels = stored.seen.metadata.labels.get_or_insert_default();
            labels.extend(repair.envelope.labels.clone());
            labels.retain(|key, _| !repair.gone.labels.contains_key(key));
            let annotations = stored.seen.metadata.annotations.get_or_insert_default();
            annotations.extend(repair.envelope.annotations.clone());
            annotations.retain(|key, _| !repair.gone.annotations.contains_key(key));
            if let Some(provenance) = &mut stored.seen.provenance {
                provenance.others.retain(|key| !repair.foreign_keys.contains(key));
            }
            Ok(state.put_secret(&repair.name, stored))
        })
        .boxed()
    }

    fn delete_secret<'a>(
        &'a self,
        _: &'a str,
        name: &'a str,
        observed: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.call(move |state| match state.unchanged(name, observed) {
            Ok(stored) => {
                self.checks.may_repair(name, stored.owner().as_deref());
                state.drop_secret(name);
                self.checks.secret_gone(name);
                Ok(())
            }
            Err(ClusterError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        })
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        resource: &'a ResourceKey,
        event: &'a Event,
        before: Option<&'a Published>,
    ) -> BoxFuture<'a, Result<Published, ClusterError>> {
        let at = Instant::now();
        let goes_on = before.filter(|before| before.goes_on_with(event, at));
        let published = Published {
            event: event.clone(),
            name: resource.name.clone(),
            count: goes_on.map_or(1, |before| before.count + 1),
            at,
            written: at,
        };
        self.call(move |_| Ok(published.clone())).boxed()
    }

    fn write_status<'a>(
        &'a self,
        resource: &'a ResourceKey,
        status: &'a AWSAssumeRoleStatus,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let known = resource.uid.clone();
        self.call(move |state| {
            let mut stored = state
                .resources
                .get(&resource.name)
                .cloned()
                .ok_or_else(|| ClusterError::Gone(resource.name.clone()))?;
            if stored.metadata.uid.as_deref() != Some(&resource.uid) {
                return Err(ClusterError::Gone("another one".to_owned()));
            }
            self.checks
                .status_written(&known, stored.status.as_ref(), status, self.time.now());
            stored.status = Some(status.clone());
            state.put_resource(stored);
            Ok(())
        })
        .inspect(|answer| {
            if matches!(answer, Err(ClusterError::Unavailable(_))) {
                self.checks.status_unsure(&resource.uid);
            }
        })
        .boxed()
    }
}
