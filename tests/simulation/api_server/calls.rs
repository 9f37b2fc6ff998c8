//! The operator's calls: what becomes of each, and what it does to what is stored.

use std::time::Duration;

use aws_assume_role::api::AWSAssumeRoleStatus;
use aws_assume_role::cluster::{
    Cluster, ClusterError, Event, NamespaceEvent, PolicyEvent, Scope, SecretEvent, WatchEvent,
};
use aws_assume_role::credentials::ServiceAccountToken;
use aws_assume_role::secret::{DesiredSecret, ObservedSecret, Repair};
use aws_assume_role::spec::{ResourceKey, ResourceVersion};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};

use super::ApiServer;
use super::policies::namespaces;
use super::storage::State;
use super::watches::ALONE;
use crate::place::Place;
use support::strict_aws::issuer::service_account_token;

/// What becomes of a call.
pub(super) enum Fate {
    Done,
    Lost,
}

impl ApiServer {
    // --- what goes wrong

    pub fn set_down(&self, down: bool) {
        self.state().down = down;
    }

    pub fn stop_faults(&self) {
        self.state().faults = false;
    }

    /// Decides what becomes of a call, and takes the time that it takes.
    pub(super) async fn fate(&self) -> Result<Fate, ClusterError> {
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
}

impl Cluster for ApiServer {
    fn watch(&self) -> BoxStream<'static, WatchEvent> {
        self.watch_of(ALONE).boxed()
    }

    fn watch_secrets(&self, scope: &Scope) -> BoxStream<'static, SecretEvent> {
        self.secret_watch_of(ALONE, scope).boxed()
    }

    fn watch_policies(&self) -> BoxStream<'static, PolicyEvent> {
        self.policy_watch_of(ALONE).boxed()
    }

    fn watch_namespaces(&self) -> BoxStream<'static, (Scope, NamespaceEvent)> {
        stream::iter(namespaces().map(|event| (Scope::all(), event)))
            .chain(stream::pending())
            .boxed()
    }

    fn observe_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ObservedSecret>, ClusterError>> {
        let place = Place::new(namespace, name);
        self.call(move |state| Ok(state.secrets.get(&place).map(|secret| secret.seen.clone())))
            .boxed()
    }

    fn create_secret<'a>(&'a self, secret: &'a DesiredSecret) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        let place = Place::new(&secret.owner.namespace, &secret.name);
        self.call(move |state| {
            if state.secrets.contains_key(&place) {
                return Err(ClusterError::Changed("it exists".to_owned()));
            }
            let fresh = state.named(&place);
            let mut stored = self.written(secret, None);
            stored.seen.metadata.uid = fresh.metadata.uid;
            self.checks.secret_written(&place, &secret.owner.uid, &stored.content);
            Ok(state.put_secret(&place, stored))
        })
        .boxed()
    }

    fn probe_secret<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.call(|_| Ok(())).boxed()
    }

    fn replace_secret<'a>(
        &'a self,
        secret: &'a DesiredSecret,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        let place = Place::new(&secret.owner.namespace, &secret.name);
        self.call(move |state| {
            let before = state.unchanged(&place, over)?;
            self.checks
                .may_write(&place, before.owner().as_deref(), &secret.owner.uid);
            let mut stored = self.written(secret, Some(&before));
            if stored.type_ != before.type_ {
                return Err(ClusterError::Immutable("type: field is immutable".to_owned()));
            }
            self.checks.secret_written(&place, &secret.owner.uid, &stored.content);
            if !stored.is_to_be_claimed() {
                return Ok(state.put_secret(&place, stored));
            }
            // The real client claims it in a second write, which may get lost.
            stored.unclaimed = state.faults && state.random.u8(0..8) == 0;
            let written = state.put_secret(&place, stored.clone());
            if stored.unclaimed {
                self.checks.count("api server: claim lost");
                self.checks.allow_call(&secret.owner.uid);
                return Ok(written);
            }
            self.checks.count("secret: claimed");
            Ok(state.put_secret(&place, stored.claimed()))
        })
        .boxed()
    }

    fn repair_secret<'a>(
        &'a self,
        repair: &'a Repair,
        over: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<ObservedSecret, ClusterError>> {
        let place = Place::new(&repair.namespace, &repair.name);
        self.call(move |state| {
            let stored = state.unchanged(&place, over)?;
            self.checks.may_repair(&place, stored.owner().as_deref());
            let repaired = self.repaired(stored, repair);
            self.checks.note(&format!("{place} repaired"));
            Ok(state.put_secret(&place, repaired))
        })
        .boxed()
    }

    fn delete_secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        observed: &'a ObservedSecret,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let place = Place::new(namespace, name);
        self.call(move |state| match state.unchanged(&place, observed) {
            Ok(stored) => {
                self.checks.may_repair(&place, stored.owner().as_deref());
                state.drop_secret(&place);
                self.checks.secret_gone(&place);
                Ok(())
            }
            Err(ClusterError::Gone(_)) => Ok(()),
            Err(error) => Err(error),
        })
        .boxed()
    }

    fn service_account_token<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<ServiceAccountToken, ClusterError>> {
        self.call(move |_| {
            let token = service_account_token(namespace, name, self.time.now());
            Ok(ServiceAccountToken::new(token.into()))
        })
        .boxed()
    }

    fn create_event<'a>(
        &'a self,
        resource: &'a ResourceKey,
        _: &'a Event,
    ) -> BoxFuture<'a, Result<String, ClusterError>> {
        self.call(move |_| Ok(resource.name.to_string())).boxed()
    }

    fn repeat_event<'a>(&'a self, _: &'a ResourceKey, _: &'a str, _: i32) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.call(|_| Ok(())).boxed()
    }

    fn write_status<'a>(
        &'a self,
        resource: &'a ResourceKey,
        status: &'a AWSAssumeRoleStatus,
        over: Option<ResourceVersion>,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        let known = resource.uid.clone();
        let place = Place::new(&resource.namespace, &resource.name);
        self.call(move |state| {
            let mut stored = state.this_very(resource)?;
            if over.is_some() && over != ResourceVersion::of(&stored.metadata) {
                return Err(ClusterError::Changed("it has another version".to_owned()));
            }
            self.checks
                .status_written(&known, stored.status.as_ref(), status, self.time.now());
            stored.status = Some(status.clone());
            Ok(ResourceVersion::of(&state.put_resource(&place, stored).metadata))
        })
        .inspect(|answer| {
            if matches!(answer, Err(ClusterError::Unavailable(_))) {
                self.checks.status_unknown(&resource.uid);
            }
        })
        .boxed()
    }

    fn resource_version<'a>(
        &'a self,
        resource: &'a ResourceKey,
    ) -> BoxFuture<'a, Result<Option<ResourceVersion>, ClusterError>> {
        self.call(move |state| Ok(ResourceVersion::of(&state.this_very(resource)?.metadata)))
            .boxed()
    }
}
