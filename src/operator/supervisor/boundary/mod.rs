//! The policies and the namespaces' labels, which the supervisor publishes as soon as it knows them, and what follows from a change for the
//! resources, which it looks into a moment later: many policies that come at once are one change.

mod labels;
mod ruled;
mod state;

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use self::labels::Consequence;
pub(super) use self::ruled::Ruled;
pub(super) use self::state::BoundaryState;
use self::state::{Stale, WatchState, insert};
use super::children::{Child, Work};
use super::{SupervisorMessage, SupervisorState};
use crate::aws::Identity;
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
                boundary.policy_watch = WatchState::listed();
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
                boundary.policy_watch = WatchState::listed();
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
        match boundary.labels.watched(&scope, event) {
            Consequence::None => Ok(()),
            Consequence::Reliance => self.check_boundary(myself).await,
            Consequence::Changed(names) => {
                // Those that come to matter later, by a policy, are looked at then.
                if names.is_empty() || !boundary.selects_by_label() {
                    return self.check_boundary(myself).await;
                }
                names.iter().for_each(|name| boundary.stale.add(name));
                self.boundary_changed(myself).await
            }
        }
    }

    /// Something may have come to be relied on, or not to be any more.
    pub(super) async fn check_boundary(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let boundary = &mut self.boundary;
        // Whose account a role named without one is in follows from who the operator is, which is known late or becomes another.
        let identified = self.context.aws.known_identity();
        let same_operator = identified.is_none() || (identified == boundary.operator && !boundary.by_earlier_operator);
        if boundary.doubts_now() == boundary.doubts && same_operator && !boundary.may_settle() {
            return Ok(());
        }
        boundary.stale = Stale::All;
        self.boundary_changed(myself).await
    }

    /// Publishes what is known, and has its consequences looked into a moment later.
    async fn boundary_changed(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        let boundary = &mut self.boundary;
        boundary.publication += 1;
        self.context.boundary.publish(boundary.known());
        if boundary.reassessment.is_none() {
            let myself = myself.clone();
            boundary.reassessment = Some(AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(REASSESS_AFTER).await;
                let _ = myself.cast(SupervisorMessage::Reassess);
            })));
        }
        boundary.doubts = boundary.doubts_now();
        if boundary.may_settle() {
            boundary.settle();
            // Other scopes may be at work already. Who is taken up now knows it as it is.
            let told = self.rule_on_stale();
            self.tell_of_policies(myself, told).await?;
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
        let told = self.rule_on_stale();
        self.tell_of_policies(myself, told).await
    }

    /// Tells resources that the policies say something else of them.
    async fn tell_of_policies(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        told: Vec<Arc<str>>,
    ) -> Result<(), ActorProcessingErr> {
        for uid in told {
            match self.children.get(&uid).map(|child| &child.work) {
                Some(Work::Resting(_)) => self.take_up_in_turn(myself, &uid).await?,
                Some(work) if work.actor().is_some() => self.send(myself, &uid, RoleMessage::PolicyChanged).await?,
                // It is looked at when it is taken up.
                _ => {}
            }
        }
        Ok(())
    }

    /// A cycle has ended. If it went by a ruling that does not hold any more, its resource is told so, once for each state of the policies:
    /// two changes in quick succession look like none from here.
    pub(super) async fn check_ruling(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        uid: &Arc<str>,
    ) -> Result<(), ActorProcessingErr> {
        let boundary = &self.boundary;
        let publication = boundary.publication;
        let contradicts = |child: &Child| {
            // It is ruled on in a moment anyway.
            let is_stale = boundary.reassessment.is_some() && boundary.stale.concerns(child.namespace());
            let is_corrected = child.corrected == Some(publication);
            !is_stale && !is_corrected && child.ruled.contradicts(child.standing.went_by)
        };
        if !self.children.get(uid).is_some_and(contradicts) {
            return Ok(());
        }
        let operator = self.operator();
        let is_unknown = self.context.aws.known_identity().is_none();
        let Some(child) = self.children.get_mut(uid) else {
            return Ok(());
        };
        child.rule(&self.context.boundary, operator.as_ref());
        if !child.is_to_be_corrected(is_unknown) {
            return Ok(());
        }
        child.corrected = Some(publication);
        child.told = true;
        self.send(myself, uid, RoleMessage::PolicyChanged).await
    }

    /// Who the operator is, or was when that was known last: after each change of its own access key it is not known until somebody asks.
    /// Cycles do not go by what it was, so all are ruled on again when it is known.
    pub(super) fn operator(&mut self) -> Option<Identity> {
        let known = self.context.aws.known_identity();
        let boundary = &mut self.boundary;
        boundary.by_earlier_operator |= known.is_none() && boundary.operator.is_some();
        known.or_else(|| boundary.operator.clone())
    }

    /// Rules anew on the resources for which something changed. Gives those that have to hear of it.
    fn rule_on_stale(&mut self) -> Vec<Arc<str>> {
        let mut stale = std::mem::take(&mut self.boundary.stale);
        let by_earlier_operator = std::mem::take(&mut self.boundary.by_earlier_operator);
        let operator = self.operator();
        let is_unknown = self.context.aws.known_identity().is_none();
        // Whoever it is, is known to all from now on, and not only to those that are looked at for another reason.
        if operator != self.boundary.operator || (by_earlier_operator && !is_unknown) {
            self.boundary.operator.clone_from(&operator);
            stale = Stale::All;
        }
        let mut told = Vec::new();
        for (uid, child) in &mut self.children {
            if !stale.concerns(child.namespace()) {
                continue;
            }
            let before = child.ruled;
            child.rule(&self.context.boundary, operator.as_ref());
            let is_news = child.ruled.is_news(before, child.standing.failures > 0);
            // Whoever was told works on it, and must not begin anew with each change of some policy.
            if is_news || (!child.told && child.is_to_be_corrected(is_unknown)) {
                child.told = child.has_actor();
                told.push(uid.clone());
            }
        }
        told
    }
}

#[cfg(test)]
mod correction_tests;
#[cfg(test)]
mod tests;
