//! What is known of the policies and of the namespaces' labels, and how far it can be relied on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::aws::Identity;
use crate::cluster::{Cluster, ObservedNamespace, ObservedPolicy, Scope};
use crate::operator::boundary::{Known, Labels};
use crate::operator::supervisor::SupervisorMessage;
use crate::operator::supervisor::watches::forward;
use crate::refresh::policy::Policies;

/// For how long a watch may fail before what it showed is not relied on any more. An API server that is away for that long takes no Secret
/// either, and one that refuses may have been told so.
const DOUBTED_AFTER: Duration = Duration::from_secs(60);

/// What the supervisor knows of policies and namespaces.
pub(in crate::operator::supervisor) struct BoundaryState {
    pub(super) policies: Policies,
    /// The list of the policies that is under way.
    pub(super) listing: Option<Policies>,
    pub(super) policy_watch: WatchState,
    pub(super) labels: Labels,
    /// The names that lists of namespaces under way have shown, by what each is a list of.
    pub(super) listing_namespaces: BTreeMap<Scope, BTreeSet<Arc<str>>>,
    pub(super) namespace_watch: WatchState,
    /// Whether enough was known once for resources to be taken up.
    pub(super) settled: bool,
    /// Who the operator was when resources were last ruled on.
    pub(super) operator: Option<Identity>,
    /// Why no role may be assumed, as it was published last.
    pub(super) held: Option<String>,
    /// The resources that are to be ruled on anew.
    pub(super) stale: Stale,
    pub(super) reassessment: Option<AbortOnDropHandle<()>>,
    _watches: [AbortOnDropHandle<()>; 2],
}

/// How a watch is.
#[derive(Default)]
pub(super) struct WatchState {
    /// Whether there was a full list.
    pub(super) listed: bool,
    /// Since when it fails, and why.
    pub(super) failing: Option<(Instant, String)>,
}

impl WatchState {
    pub(super) fn failed(&mut self, why: String) {
        let since = self.failing.take().map_or_else(Instant::now, |(since, _)| since);
        self.failing = Some((since, why));
    }

    /// Whether what it showed cannot be relied on.
    pub(super) fn is_doubtful(&self) -> bool {
        let failing = self.failing.as_ref();
        !self.listed || failing.is_some_and(|(since, _)| since.elapsed() >= DOUBTED_AFTER)
    }

    /// Whether it has come to anything yet.
    pub(super) fn has_begun(&self) -> bool {
        self.listed || self.failing.is_some()
    }
}

/// The resources that are to be ruled on anew.
#[derive(Debug, Default)]
pub(super) enum Stale {
    #[default]
    None,
    Namespaces(BTreeSet<Arc<str>>),
    All,
}

impl Stale {
    pub(super) fn add(&mut self, namespace: &Arc<str>) {
        match self {
            Self::None => *self = Self::Namespaces(BTreeSet::from([namespace.clone()])),
            Self::Namespaces(namespaces) => drop(namespaces.insert(namespace.clone())),
            Self::All => {}
        }
    }

    pub(super) fn concerns(&self, namespace: &str) -> bool {
        match self {
            Self::None => false,
            Self::Namespaces(namespaces) => namespaces.contains(namespace),
            Self::All => true,
        }
    }
}

impl BoundaryState {
    /// One that begins to watch.
    pub(in crate::operator::supervisor) fn watch(cluster: &dyn Cluster, myself: &ActorRef<SupervisorMessage>) -> Self {
        let policies = forward(cluster.watch_policies(), myself, SupervisorMessage::PolicyWatched);
        let namespaces = forward(cluster.watch_namespaces(), myself, |(scope, event)| {
            SupervisorMessage::NamespaceWatched(scope, event)
        });
        Self {
            policies: Policies::default(),
            listing: None,
            policy_watch: WatchState::default(),
            labels: Labels::new(),
            listing_namespaces: BTreeMap::new(),
            namespace_watch: WatchState::default(),
            settled: false,
            operator: None,
            held: Some(String::new()),
            stale: Stale::None,
            reassessment: None,
            _watches: [policies, namespaces],
        }
    }

    /// Whether resources may be taken up: it is known who may have which role, or that it cannot be known for now.
    pub(in crate::operator::supervisor) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether the policies have been listed once, or are known not to be there.
    pub(in crate::operator::supervisor) fn is_listed(&self) -> bool {
        self.policy_watch.listed
    }

    pub(super) fn selects_by_label(&self) -> bool {
        self.policies.readable.values().any(|policy| policy.selects_by_label())
    }

    /// Why no role may be assumed now.
    pub(super) fn why_held(&self) -> Option<String> {
        if !self.policy_watch.is_doubtful() {
            return None;
        }
        Some(match &self.policy_watch.failing {
            Some((_, why)) => format!("the AWSAssumeRolePolicies cannot be watched: {why}"),
            None => "the AWSAssumeRolePolicies are not listed yet".to_owned(),
        })
    }

    pub(super) fn label(&mut self, namespace: ObservedNamespace) {
        let ObservedNamespace { name, labels } = namespace;
        if self.labels.get(&name).is_none_or(|before| **before != labels) {
            self.stale.add(&name);
            self.labels.insert(name, Arc::new(labels));
        }
    }

    pub(super) fn unlabel(&mut self, name: &Arc<str>) {
        if self.labels.remove(name).is_some() {
            self.stale.add(name);
        }
    }

    /// All of it, to be published.
    pub(super) fn known(&self) -> Known {
        Known {
            policies: self.policies.clone(),
            labels: (!self.namespace_watch.is_doubtful()).then(|| self.labels.clone()),
            held: self.why_held(),
        }
    }
}

/// Takes down a policy as it was seen last.
pub(super) fn insert(policies: &mut Policies, observed: ObservedPolicy) {
    let ObservedPolicy { name, spec } = observed;
    if let Err(why) = policies.insert(name.clone(), spec) {
        warn!(policy = &*name, "an AWSAssumeRolePolicy cannot be read: {why}");
    }
}
