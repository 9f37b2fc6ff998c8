//! Leading and standing by: the resources are known in both, and have actors in one.

use futures::future::join_all;
use ractor::{ActorProcessingErr, ActorRef};

use super::alarms::Alarms;
use super::arrivals::Arrivals;
use super::children::{Child, Work};
use super::{STOP_TIMEOUT, SupervisorMessage, SupervisorState};
use crate::cluster::Scope;

impl SupervisorState {
    /// Whether resources of a namespace are taken up, and not only got to know.
    pub(super) fn takes_up(&self, namespace: &str) -> bool {
        let scope = self.secrets.scope_of(namespace);
        scope.is_some_and(|scope| self.acts_in(scope) && self.known_secrets.contains(scope))
    }

    /// Whether those are taken up that cannot wait until its Secrets are known.
    pub(super) fn takes_up_urgent(&self, namespace: &str) -> bool {
        let scope = self.resources.scope_of(namespace);
        scope.is_some_and(|scope| self.acts_in(scope) && self.resources.is_listed(namespace))
    }

    /// Whether it leads, and knows of a scope who may have which role, or that this cannot be known for now.
    fn acts_in(&self, scope: &Scope) -> bool {
        self.leads && self.boundary.is_settled(scope)
    }

    /// Takes up all resources, as soon as enough is known of them.
    pub(super) async fn lead(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), ActorProcessingErr> {
        self.leads = true;
        self.show_leadership();
        self.take_up_what_may_be(myself).await
    }

    /// Takes up the resources, or those that cannot wait, as far as enough is known.
    pub(super) async fn take_up_what_may_be(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let scopes = self.resources.scopes().filter(|scope| self.acts_in(scope));
        for scope in scopes.cloned().collect::<Vec<_>>() {
            match self.known_secrets.contains(&scope) {
                true => self.take_up_all(myself, &scope).await?,
                false => self.take_up_urgent(myself, &scope).await?,
            }
        }
        Ok(())
    }

    /// The Secrets of a scope are listed, or are not waited for any more.
    pub(super) async fn secrets_known(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        scope: &Scope,
    ) -> Result<(), ActorProcessingErr> {
        if self.known_secrets.insert(scope.clone()) && self.acts_in(scope) {
            self.take_up_all(myself, scope).await?;
        }
        Ok(())
    }

    /// Stops all actors, and with them what they are doing, and waits until they have ended. What is known of the resources stays.
    pub(super) async fn stand_by(&mut self) -> Result<(), ActorProcessingErr> {
        self.leads = false;
        self.show_leadership();
        self.alarms = Alarms::default();
        self.arrivals = Arrivals::default();
        // Whatever they still report counts no more.
        self.actors.clear();
        let actors = self.children.values().filter_map(|child| child.work.actor().cloned());
        let ends = actors.map(|actor| async move {
            // One that is about to rest is stopping already.
            actor.stop(None);
            actor.wait(Some(STOP_TIMEOUT)).await
        });
        for ended in join_all(ends).await {
            ended?;
        }
        self.children.values_mut().for_each(Child::let_go);
        Ok(())
    }

    /// A leader that does not know the resources yet, of no namespace, does not act on them.
    pub(super) fn show_leadership(&self) {
        let acts = self.leads && self.resources.is_listed_somewhere();
        self.context.metrics.leader.set(acts.into());
    }
}

impl Child {
    /// Waits to be taken up again, with what is known of it. What an actor was doing may have changed the Secret.
    fn let_go(&mut self) {
        let known = match std::mem::replace(&mut self.work, Work::Waiting(None)) {
            Work::Waiting(known) => known,
            Work::Resting(rest) => {
                self.status.get_or_insert_with(|| rest.status().clone());
                rest.secret().cloned()
            }
            Work::Awake(_) | Work::Settling(..) | Work::Failed { .. } => None,
        };
        self.work = Work::Waiting(known);
        self.failures = 0;
    }
}
