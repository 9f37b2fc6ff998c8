//! The watches as the supervisor knows them: how far each has come with its lists, when it was last heard, and the task that brings its events.
//!
//! There is one on all namespaces, or one on each of some. A namespace whose watch fails, since the operator may not watch it or it is not there
//! yet, holds up no other: what is known of a namespace is acted on.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use k8s_openapi::jiff::Timestamp;
use ractor::{ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use super::children::Child;
use super::taking_up::SecretsWait;
use super::{SupervisorMessage, SupervisorState};
use crate::cluster::Scope;
use crate::telemetry::health::WatchHealth;

/// How long a scope whose list does not come on is waited for by those that wait for all lists, once another's is complete.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long they wait at most.
const LIST_MAX: Duration = Duration::from_secs(60);

/// What is known of the watches on one kind, each of which is on one scope.
pub(super) struct Watch {
    lists: BTreeMap<Scope, List>,
    /// When the first list was complete, and when the lists that never were came on last.
    first: Option<Instant>,
    came_on: Instant,
}

/// How far the watch on one scope is.
struct List {
    /// The UIDs of the resources that a list under way has shown so far.
    shown: Option<HashSet<Arc<str>>>,
    /// Whether a list has been complete once.
    listed: bool,
    /// When it was last heard, by the clock of the timers and by AWS's.
    heard: (Instant, Timestamp),
}

impl Watch {
    /// One that begins now. So it counts as heard: it has not been silent yet.
    pub(super) fn new(scopes: impl IntoIterator<Item = Scope>, now: Timestamp) -> Self {
        let began = Instant::now();
        let list = || List {
            shown: None,
            listed: false,
            heard: (began, now),
        };
        Self {
            lists: scopes.into_iter().map(|scope| (scope, list())).collect(),
            first: None,
            came_on: began,
        }
    }

    /// The API server was heard.
    pub(super) fn hear(&mut self, scope: &Scope, now: Timestamp) {
        if let Some(list) = self.lists.get_mut(scope) {
            list.heard = (Instant::now(), now);
        }
    }

    /// When the one of them that has been silent for longest was last heard, by AWS's clock. Those that could never be listed count only if
    /// none could.
    pub(super) fn heard(&self) -> Option<Timestamp> {
        let all = || self.lists.values();
        let listed = all().filter(|list| list.listed).map(|list| list.heard.1).min();
        listed.or_else(|| all().map(|list| list.heard.1).min())
    }

    /// How they are, for the probes. What befalls the watch on one namespace must not count against the operator, which is there for the others
    /// too: the one that was heard last counts.
    pub(super) fn health(&self, watch: &'static str) -> WatchHealth {
        let heard = self.lists.values().map(|list| list.heard.0).max();
        WatchHealth {
            watch,
            listed: self.is_known(),
            heard: heard.unwrap_or(self.came_on),
        }
    }

    /// The scopes, in an order that is the same at every run.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.lists.keys()
    }

    /// The scope that a namespace belongs to.
    pub(super) fn scope_of(&self, namespace: &str) -> Option<&Scope> {
        let own = self.lists.get_key_value(namespace);
        own.or_else(|| self.lists.get_key_value("")).map(|(scope, _)| scope)
    }

    /// The scopes of which no list has been complete yet.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = &Scope> {
        let unlisted = self.lists.iter().filter(|(_, list)| !list.listed);
        unlisted.map(|(scope, _)| scope)
    }

    /// Whether a list of any scope has been complete once.
    pub(super) fn is_listed_somewhere(&self) -> bool {
        self.first.is_some()
    }

    /// Whether a list that shows that namespace has been complete once.
    pub(super) fn is_listed(&self, namespace: &str) -> bool {
        let list = self.lists.get(namespace).or_else(|| self.lists.get(""));
        list.is_some_and(|list| list.listed)
    }

    /// Whether all lists have been complete once, or some and the others are not waited for any more.
    fn is_known(&self) -> bool {
        let late = |first: Instant| self.came_on.elapsed() >= LIST_TIMEOUT || first.elapsed() >= LIST_MAX;
        self.first
            .is_some_and(|first| late(first) || self.unlisted().next().is_none())
    }

    /// A list begins.
    pub(super) fn start(&mut self, scope: &Scope) {
        if let Some(list) = self.lists.get_mut(scope) {
            list.shown = Some(HashSet::new());
        }
    }

    /// A list shows something in that namespace.
    pub(super) fn comes_on(&mut self, namespace: &str) {
        if !self.is_listed(namespace) {
            self.came_on = Instant::now();
        }
    }

    /// A list shows something of the resource with that UID in that namespace.
    pub(super) fn show(&mut self, namespace: &str, uid: &Arc<str>) {
        let own = self.lists.contains_key(namespace);
        let list = self.lists.get_mut(if own { namespace } else { "" });
        if let Some(shown) = list.and_then(|list| list.shown.as_mut()) {
            shown.insert(uid.clone());
        }
    }

    /// A list is complete. Gives what it showed.
    pub(super) fn finish(&mut self, scope: &Scope) -> HashSet<Arc<str>> {
        let now = Instant::now();
        self.first.get_or_insert(now);
        let Some(list) = self.lists.get_mut(scope) else {
            return HashSet::new();
        };
        if !std::mem::replace(&mut list.listed, true) {
            self.came_on = now;
        }
        list.shown.take().unwrap_or_default()
    }
}

impl SupervisorState {
    /// The resources of a scope are listed: what was not in the list is gone.
    pub(super) async fn listed(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        scope: &Scope,
    ) -> Result<(), ActorProcessingErr> {
        let listed = self.resources.finish(scope);
        let (mut resources, mut gone) = (0, Vec::new());
        for (uid, _) in self.children_in(scope) {
            match listed.contains(uid) {
                true => resources += 1,
                false => gone.push(uid.clone()),
            }
        }
        for uid in gone {
            self.stop(&uid, "it is not in the list any more");
        }
        if !self.secret_watches.contains_key(scope) {
            let secrets = self.context.cluster.watch_secrets(scope);
            let watch = forward(secrets, myself, SupervisorMessage::SecretWatched);
            self.secret_watches.insert(scope.clone(), watch);
            self.secrets_waits
                .insert(scope.clone(), SecretsWait::begin(myself, scope));
            self.take_up_urgent(myself, scope).await?;
        }
        self.beat();
        self.show_leadership();
        info!(namespace = scope.namespace(), resources, "the resources are listed");
        Ok(())
    }

    /// What is known in a scope.
    pub(super) fn children_in(&self, scope: &Scope) -> impl Iterator<Item = (&Arc<str>, &Child)> {
        let children = self.children.iter();
        children.filter(|(_, child)| scope.covers(child.namespace()))
    }
}

/// Sends what a watch brings to the supervisor, in order. The supervisor learns of its end, also when that is a panic: it would act on what
/// it knew then for ever, and nobody would notice.
pub(super) fn forward<T: Send + 'static>(
    mut events: BoxStream<'static, T>,
    myself: &ActorRef<SupervisorMessage>,
    message: fn(T) -> SupervisorMessage,
) -> AbortOnDropHandle<()> {
    let myself = myself.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let forwarded = async {
            while let Some(event) = events.next().await {
                if myself.cast(message(event)).is_err() {
                    return;
                }
            }
        };
        // What it panicked with may quote anything. The panic hook tells the place.
        let _ = AssertUnwindSafe(forwarded).catch_unwind().await;
        let _ = myself.cast(SupervisorMessage::WatchEnded);
    }))
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use ractor::{Actor, ActorProcessingErr};

    use super::*;
    use crate::cluster::SecretEvent;

    /// Ends when it is told that a watch has ended, as the supervisor does.
    struct Ends;

    impl Actor for Ends {
        type Msg = SupervisorMessage;
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<SupervisorMessage>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle(
            &self,
            myself: ActorRef<SupervisorMessage>,
            message: SupervisorMessage,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            if matches!(message, SupervisorMessage::WatchEnded) {
                myself.stop(None);
            }
            Ok(())
        }
    }

    async fn is_told_of(events: BoxStream<'static, SecretEvent>) -> bool {
        let (actor, ended) = Actor::spawn(None, Ends, ()).await.unwrap();
        let _watch = forward(events, &actor, SupervisorMessage::SecretWatched);
        tokio::time::timeout(Duration::from_secs(5), ended).await.is_ok()
    }

    #[tokio::test]
    async fn a_watch_that_ends_or_panics_is_told_of() {
        let heard = || stream::iter([SecretEvent::Heard(Scope::all())]);
        assert!(is_told_of(heard().boxed()).await);
        let panics = stream::once(async { panic!("a planted panic") });
        assert!(is_told_of(heard().chain(panics).boxed()).await);
    }
}
