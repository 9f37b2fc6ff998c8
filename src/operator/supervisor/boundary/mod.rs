//! The policies and the namespaces' labels, which the supervisor publishes as soon as it knows them, and what follows from a change for the
//! resources, which it looks into a moment later: many policies that come at once are one change.

mod ruled;
mod state;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

pub(super) use self::ruled::Ruled;
pub(super) use self::state::BoundaryState;
use self::state::{Stale, WatchState, insert};
use super::children::{Child, Work};
use super::{SupervisorMessage, SupervisorState};
use crate::cluster::{NamespaceEvent, PolicyEvent, Scope, TenancyEvent};
use crate::operator::role::RoleMessage;
use crate::refresh::policy::Policies;

/// How long after a change of what is known its consequences are looked into.
const REASSESS_AFTER: Duration = Duration::from_millis(250);

impl SupervisorState {
    /// Takes down what happened to the policies.
    pub(super) async fn policy_watched(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        event: PolicyEvent,
    ) -> Result<(), ActorProcessingErr> {
        let boundary = &mut self.boundary;
        match event {
            TenancyEvent::Heard => {
                boundary.policy_watch.failing = None;
                return self.check_boundary(myself).await;
            }
            TenancyEvent::ListStarted => {
                boundary.listing = Some(Policies::default());
                return Ok(());
            }
            TenancyEvent::Listed(policy) => {
                insert(boundary.listing.get_or_insert_default(), policy);
                return Ok(());
            }
            TenancyEvent::ListDone => {
                boundary.policies = boundary.listing.take().unwrap_or_default();
                boundary.policy_watch = WatchState {
                    listed: true,
                    failing: None,
                };
                info!(
                    policies = boundary.policies.readable.len(),
                    unreadable = boundary.policies.unreadable.len(),
                    "the policies are listed"
                );
            }
            TenancyEvent::Applied(policy) => insert(&mut boundary.policies, policy),
            TenancyEvent::Deleted(name) => {
                boundary.policies.readable.remove(&name);
                boundary.policies.unreadable.remove(&name);
            }
            TenancyEvent::NotInstalled => {
                let known = boundary.policy_watch.listed && boundary.policies.is_empty();
                boundary.policies = Policies::default();
                boundary.policy_watch = WatchState {
                    listed: true,
                    failing: None,
                };
                if known {
                    return self.check_boundary(myself).await;
                }
            }
            TenancyEvent::Failed(why) => {
                boundary.policy_watch.failed(why);
                return self.check_boundary(myself).await;
            }
        }
        self.boundary.stale = Stale::All;
        self.boundary_changed(myself).await
    }

    /// Takes down what happened to the namespaces.
    pub(super) async fn namespace_watched(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        scope: Scope,
        event: NamespaceEvent,
    ) -> Result<(), ActorProcessingErr> {
        let boundary = &mut self.boundary;
        match event {
            TenancyEvent::Heard => {
                boundary.namespace_watch.failing = None;
                return self.check_boundary(myself).await;
            }
            TenancyEvent::ListStarted => {
                boundary.listing_namespaces.insert(scope, BTreeSet::new());
                return Ok(());
            }
            TenancyEvent::Listed(namespace) => {
                let shown = boundary.listing_namespaces.entry(scope).or_default();
                shown.insert(namespace.name.clone());
                boundary.label(namespace);
                return Ok(());
            }
            TenancyEvent::ListDone => {
                let shown = boundary.listing_namespaces.remove(&scope).unwrap_or_default();
                let of_scope = |name: &Arc<str>| scope.covers(name);
                let gone = boundary
                    .labels
                    .keys()
                    .filter(|name| of_scope(name) && !shown.contains(*name));
                for name in gone.cloned().collect::<Vec<_>>() {
                    boundary.unlabel(&name);
                }
                boundary.namespace_watch = WatchState {
                    listed: true,
                    failing: None,
                };
            }
            TenancyEvent::Applied(namespace) => boundary.label(namespace),
            TenancyEvent::Deleted(name) => boundary.unlabel(&name),
            TenancyEvent::NotInstalled => return Ok(()),
            TenancyEvent::Failed(why) => {
                boundary.namespace_watch.failed(why);
                return self.check_boundary(myself).await;
            }
        }
        if self.boundary.selects_by_label() || !self.boundary.settled {
            self.boundary_changed(myself).await?;
        }
        Ok(())
    }

    /// Something may have come to be relied on, or not to be any more.
    pub(super) async fn check_boundary(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let boundary = &mut self.boundary;
        let labels_doubted = boundary.selects_by_label() && boundary.namespace_watch.is_doubtful();
        let held = boundary
            .why_held()
            .or_else(|| labels_doubted.then(|| "the namespaces cannot be watched".to_owned()));
        // Whose account a role named without one is in follows from who the operator is, which is known late or becomes another.
        let identified = self.context.aws.known_identity();
        let same_operator = identified.is_none() || identified == boundary.operator;
        if held.is_some() == boundary.held.is_some() && same_operator && boundary.settled {
            return Ok(());
        }
        boundary.stale = Stale::All;
        boundary.held = held;
        self.boundary_changed(myself).await
    }

    /// Publishes what is known, and has its consequences looked into a moment later.
    async fn boundary_changed(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        let boundary = &mut self.boundary;
        self.context.boundary.publish(boundary.known());
        if boundary.reassessment.is_none() {
            let myself = myself.clone();
            boundary.reassessment = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(REASSESS_AFTER).await;
                let _ = myself.cast(SupervisorMessage::Reassess);
            })));
        }
        let enough =
            boundary.policy_watch.has_begun() && (boundary.namespace_watch.has_begun() || !boundary.selects_by_label());
        if enough && !boundary.settled {
            boundary.settled = true;
            self.rule_on_stale(|_, _, _| {});
            self.take_up_what_may_be(myself).await?;
            self.show_leadership();
            self.beat();
        }
        Ok(())
    }

    /// Rules anew on the resources for which something changed, and tells those whom it concerns: at once where an actor is at work, in turn
    /// where it rests.
    pub(super) async fn reassess(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        self.boundary.reassessment = None;
        let mut told = Vec::new();
        self.rule_on_stale(|uid, child, before| {
            let rests = matches!(child.work, Work::Resting(_));
            if child.ruled.is_news(before, child.standing.failures > 0) {
                told.push((uid.clone(), rests));
            }
        });
        for (uid, rests) in told {
            if rests {
                self.take_up_in_turn(myself, &uid).await?;
            } else if let Some(child) = self.children.get(&uid)
                && child.work.actor().is_some()
            {
                self.send(myself, &uid, RoleMessage::PolicyChanged).await?;
            }
        }
        Ok(())
    }

    /// Rules anew on the resources for which something changed.
    fn rule_on_stale(&mut self, mut changed: impl FnMut(&Arc<str>, &Child, Ruled)) {
        let stale = std::mem::take(&mut self.boundary.stale);
        let operator = self.context.aws.known_identity();
        if operator.is_some() {
            self.boundary.operator.clone_from(&operator);
        }
        for (uid, child) in &mut self.children {
            if !stale.concerns(child.namespace()) {
                continue;
            }
            let before = child.ruled;
            child.rule(&self.context.boundary, operator.as_ref());
            if child.ruled != before {
                changed(uid, child, before);
            }
        }
    }
}

#[cfg(test)]
mod tests;
