//! What is known of the namespaces' labels. Each scope has a watch and a list of its own, and what befalls one says nothing about another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::state::WatchState;
use crate::cluster::{NamespaceEvent, ObservedNamespace, Scope, TenancyEvent};
use crate::operator::boundary::Labels;

/// The labels that the watches have shown, by what each is a watch on.
pub(super) struct LabelWatches(BTreeMap<Scope, LabelWatch>);

/// The watch on the labels of the namespaces of one scope.
#[derive(Default)]
struct LabelWatch {
    labels: Labels,
    /// What a list under way has shown.
    listing: Option<Labels>,
    state: WatchState,
    /// Whether enough was known once for the resources of the scope to be taken up.
    settled: bool,
}

/// What follows from an event.
pub(super) enum Consequence {
    /// Nothing yet.
    None,
    /// Something may have come to be relied on, or not to be any more.
    Reliance,
    /// The labels of these namespaces changed, and perhaps what can be relied on.
    Changed(Vec<Arc<str>>),
}

impl LabelWatches {
    pub(super) fn new(scopes: impl IntoIterator<Item = Scope>) -> Self {
        let scopes = scopes.into_iter();
        Self(scopes.map(|scope| (scope, LabelWatch::default())).collect())
    }

    /// Takes down what happened to the namespaces of a scope.
    pub(super) fn watched(&mut self, scope: &Scope, event: NamespaceEvent) -> Consequence {
        match self.0.get_mut(scope) {
            Some(watch) => watch.watched(event),
            None => Consequence::None,
        }
    }

    /// The scopes whose labels cannot be relied on.
    pub(super) fn doubted(&self) -> BTreeSet<Scope> {
        let doubted = self.0.iter().filter(|(_, watch)| watch.state.is_doubtful());
        doubted.map(|(scope, _)| scope.clone()).collect()
    }

    /// The labels that can be relied on.
    pub(super) fn known(&self) -> Labels {
        let known = self.0.values().filter(|watch| !watch.state.is_doubtful());
        known.flat_map(|watch| watch.labels.clone()).collect()
    }

    /// Whether enough was known once of the labels of a scope.
    pub(super) fn is_settled(&self, scope: &Scope) -> bool {
        self.0.get(scope).is_some_and(|watch| watch.settled)
    }

    /// Whether more scopes have enough known of their labels than before, or all if nothing depends on them.
    pub(super) fn may_settle(&self, matter: bool) -> bool {
        self.0.values().any(|watch| watch.may_settle(matter))
    }

    /// Takes those down.
    pub(super) fn settle(&mut self, matter: bool) {
        for watch in self.0.values_mut().filter(|watch| watch.may_settle(matter)) {
            watch.settled = true;
        }
    }
}

impl LabelWatch {
    fn may_settle(&self, matter: bool) -> bool {
        !self.settled && (!matter || self.state.has_begun())
    }

    fn watched(&mut self, event: NamespaceEvent) -> Consequence {
        match event {
            TenancyEvent::Heard => {
                self.state.failing = None;
                Consequence::Reliance
            }
            TenancyEvent::Failed(why) => {
                self.state.failed(why);
                Consequence::Reliance
            }
            TenancyEvent::ListStarted => {
                self.listing = Some(Labels::new());
                Consequence::None
            }
            TenancyEvent::Listed(ObservedNamespace { name, labels }) => {
                self.listing.get_or_insert_default().insert(name, Arc::new(labels));
                Consequence::None
            }
            TenancyEvent::ListDone => {
                self.state = WatchState::listed();
                let before = std::mem::replace(&mut self.labels, self.listing.take().unwrap_or_default());
                let names: BTreeSet<_> = before.keys().chain(self.labels.keys()).collect();
                let changed = names
                    .into_iter()
                    .filter(|name| before.get(*name) != self.labels.get(*name));
                Consequence::Changed(changed.cloned().collect())
            }
            TenancyEvent::Applied(ObservedNamespace { name, labels }) => {
                let labels = Arc::new(labels);
                let before = self.labels.insert(name.clone(), labels.clone());
                Consequence::Changed(Vec::from_iter((before != Some(labels)).then_some(name)))
            }
            TenancyEvent::Deleted(name) => {
                let before = self.labels.remove(&name);
                Consequence::Changed(Vec::from_iter(before.map(|_| name)))
            }
            // There are always namespaces.
            TenancyEvent::NotInstalled => Consequence::None,
        }
    }
}
