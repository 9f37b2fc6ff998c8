//! What happens to the Secrets, handed to the actors whom it concerns.

use std::collections::BTreeSet;
use std::sync::Arc;

use ractor::{ActorProcessingErr, ActorRef};

use super::{SupervisorMessage, SupervisorState};
use crate::cluster::SecretEvent;
use crate::operator::role::RoleMessage;
use crate::secret::ObservedSecret;

impl SupervisorState {
    /// Hands what happened to a Secret to the actors whom it concerns.
    pub(super) async fn secret_watched(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        event: SecretEvent,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SecretEvent::Heard(scope) => {
                self.secrets.hear(&scope, self.context.now());
                self.beat();
            }
            SecretEvent::ListStarted(scope) => self.secrets.start(&scope),
            SecretEvent::Listed(secret) => {
                let namespace = secret.namespace();
                self.secrets.comes_on(namespace);
                let scope = self.secrets.scope_of(namespace);
                if let Some(wait) = scope.and_then(|scope| self.secrets_waits.get_mut(scope)) {
                    wait.comes_on();
                }
                for uid in self.concerned(&secret) {
                    self.secrets.show(namespace, &uid);
                    self.secret_seen(myself, &uid, &secret).await?;
                }
            }
            SecretEvent::ListDone(scope) => {
                let listed = self.secrets.finish(&scope);
                let uids = self.children_in(&scope).map(|(uid, _)| uid);
                let missing: Vec<_> = uids.filter(|uid| !listed.contains(*uid)).cloned().collect();
                for uid in missing {
                    self.send(myself, &uid, RoleMessage::SecretNotListed).await?;
                }
                self.beat();
                self.secrets_waits.remove(&scope);
                self.secrets_known(myself, &scope).await?;
            }
            SecretEvent::Applied(secret) => {
                for uid in self.concerned(&secret) {
                    self.secret_seen(myself, &uid, &secret).await?;
                }
            }
            SecretEvent::Deleted(secret) => {
                for uid in self.concerned(&secret) {
                    self.secret_lost(myself, &uid, &secret).await?;
                }
            }
        }
        Ok(())
    }

    /// The UIDs of the resources that a Secret concerns: the one that controls it, and those that ask for one of its name. Only resources of its
    /// own namespace: an owner reference can hold any UID.
    fn concerned(&self, secret: &ObservedSecret) -> BTreeSet<Arc<str>> {
        let (namespace, name) = (secret.namespace(), secret.name());
        let first = (Arc::from(namespace), Box::from(name), Arc::from(""));
        let wanted = self.wanted_secrets.range(first..);
        let wanted = wanted.take_while(|(of, wanted, _)| **of == *namespace && **wanted == *name);
        let mut uids: BTreeSet<Arc<str>> = wanted.map(|(_, _, uid)| uid.clone()).collect();
        let owner = secret.controller_uid().and_then(|uid| self.children.get_key_value(uid));
        let owner = owner.filter(|(_, child)| child.namespace() == namespace);
        uids.extend(owner.map(|(uid, _)| uid.clone()));
        uids
    }
}
