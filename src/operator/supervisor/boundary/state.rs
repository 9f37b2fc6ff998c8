//! What is known of the boundary between tenants, and how far it can be relied on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::labels::LabelWatches;
use crate::aws::Identity;
use crate::cluster::{Cluster, ObservedPolicy, Scope};
use crate::operator::boundary::Known;
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
    pub(super) labels: LabelWatches,
    /// Who the operator was when resources were last ruled on.
    pub(super) operator: Option<Identity>,
    /// Whether that was no longer known for certain.
    pub(super) by_earlier_operator: bool,
    /// What could not be relied on when what is known was published last.
    pub(super) doubts: Doubts,
    /// The resources that are to be ruled on anew.
    pub(super) stale: Stale,
    /// Counts what was published.
    pub(super) publication: u64,
    pub(super) reassessment: Option<AbortOnDropHandle<()>>,
    _watches: [AbortOnDropHandle<()>; 2],
}

/// What cannot be relied on.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Doubts {
    /// Whether that is the policies, without which no role may be assumed.
    policies: bool,
    /// The scopes whose labels cannot be, if a policy goes by labels.
    labels: BTreeSet<Scope>,
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
    /// That of one whose list has just been complete.
    pub(super) fn listed() -> Self {
        Self {
            listed: true,
            failing: None,
        }
    }

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
            labels: LabelWatches::new(cluster.scopes()),
            operator: None,
            by_earlier_operator: false,
            doubts: Doubts::default(),
            stale: Stale::None,
            publication: 0,
            reassessment: None,
            _watches: [policies, namespaces],
        }
    }

    /// Whether the resources of a scope may be taken up: it is known who may have which role, or that it cannot be known for now.
    pub(in crate::operator::supervisor) fn is_settled(&self, scope: &Scope) -> bool {
        self.labels.is_settled(scope)
    }

    /// Whether there are scopes of which enough is known now, and was not before.
    pub(super) fn may_settle(&self) -> bool {
        self.policy_watch.has_begun() && self.labels.may_settle(self.selects_by_label())
    }

    /// Takes those down.
    pub(super) fn settle(&mut self) {
        let matter = self.selects_by_label();
        self.labels.settle(matter);
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

    /// What cannot be relied on now.
    pub(super) fn doubts_now(&self) -> Doubts {
        Doubts {
            policies: self.policy_watch.is_doubtful(),
            labels: match self.selects_by_label() {
                true => self.labels.doubted(),
                false => BTreeSet::new(),
            },
        }
    }

    /// All of it, to be published.
    pub(super) fn known(&self) -> Known {
        Known {
            policies: self.policies.clone(),
            labels: self.labels.known(),
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
