//! The watches: told of every change, lost or silent for a while, and listed again.

use aws_assume_role::cluster::{Scope, SecretEvent, WatchEvent};
use aws_assume_role::spec::Resource;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use super::ApiServer;
use super::storage::State;

/// The number of a process that shares its work with no other.
pub(super) const ALONE: u64 = 0;

/// One of the operator's watches, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watches {
    Resources,
    Secrets,
    Both,
}

impl ApiServer {
    /// What the operators watch, each by itself.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        self.state().scopes.clone()
    }

    /// What a process hears of the resources.
    pub(super) fn watch_of(&self, process: u64) -> UnboundedReceiver<WatchEvent> {
        let (sender, receiver) = unbounded();
        let mut state = self.state();
        if !state.resources_silent {
            state.list_resources_to(&sender);
        }
        state.resource_watches.push((process, sender));
        receiver
    }

    /// What it hears of the Secrets of a scope.
    pub(super) fn secret_watch_of(&self, process: u64, scope: &Scope) -> UnboundedReceiver<SecretEvent> {
        let (sender, receiver) = unbounded();
        let mut state = self.state();
        if !state.secrets_silent {
            state.list_secrets_to(scope, &sender);
        }
        state.secret_watches.push((process, scope.clone(), sender));
        receiver
    }

    /// The watches hear nothing any more.
    pub fn silence(&self, watches: Watches) {
        let mut state = self.state();
        state.resources_silent = watches != Watches::Secrets;
        state.secrets_silent = watches != Watches::Resources;
    }

    /// The watches are set up again, which begins with a list.
    pub fn mend_watches(&self) {
        self.checks.all_statuses_unknown();
        let mut state = self.state();
        if std::mem::take(&mut state.resources_silent) {
            for (_, watch) in &state.resource_watches {
                state.list_resources_to(watch);
            }
            state.tell_lease();
        }
        if std::mem::take(&mut state.secrets_silent) {
            for (_, scope, watch) in &state.secret_watches {
                state.list_secrets_to(scope, watch);
            }
        }
    }

    /// A process is gone, and with it its watches.
    pub fn drop_watches(&self, process: u64) {
        let mut state = self.state();
        state.resource_watches.retain(|(number, _)| *number != process);
        state.secret_watches.retain(|(number, ..)| *number != process);
        state.policy_watches.retain(|(number, _)| *number != process);
        state.lease.forget_watch(process);
    }

    /// Whether the operator learns at once what happens to resources.
    pub fn is_heard(&self) -> bool {
        let state = self.state();
        !state.resources_silent && !state.resource_watches.is_empty()
    }
}

impl State {
    /// Whoever acts from now on does not know what the one before knew of Secrets.
    pub(super) fn forget_who_led(&mut self) {
        for secret in self.secrets.values_mut() {
            let forged = secret.spoilt.is_some()
                && secret
                    .seen
                    .provenance
                    .as_ref()
                    .is_some_and(|known| known.others.is_empty());
            secret.forged_unseen |= forged;
        }
    }

    pub(super) fn tell(&mut self, event: WatchEvent) {
        if !self.resources_silent {
            self.resource_watches
                .retain(|(_, watch)| watch.unbounded_send(event.clone()).is_ok());
        }
    }

    pub(super) fn tell_secret(&mut self, event: &SecretEvent) {
        let (SecretEvent::Applied(secret) | SecretEvent::Deleted(secret)) = event else {
            return;
        };
        if !self.secrets_silent {
            self.secret_watches.retain(|(_, scope, watch)| {
                !scope.covers(secret.namespace()) || watch.unbounded_send(event.clone()).is_ok()
            });
        }
    }

    /// Lists each scope, between them what is in another.
    fn list_resources_to(&self, watch: &UnboundedSender<WatchEvent>) {
        let starts = self.scopes.iter().cloned().map(WatchEvent::ListStarted);
        let all = self.resources.values().map(Resource::from_resource);
        let listed = all.map(WatchEvent::Listed);
        // The first is complete before the others have shown anything.
        let (early, late) = match &*self.scopes {
            [first, others @ ..] => (first, others),
            [] => return,
        };
        let (of_first, of_others): (Vec<_>, Vec<_>) = listed.partition(|event| match event {
            WatchEvent::Listed(resource) => early.covers(&resource.key.namespace),
            _ => false,
        });
        let events = starts
            .chain(of_first)
            .chain([WatchEvent::ListDone(early.clone())])
            .chain(of_others)
            .chain(late.iter().cloned().map(WatchEvent::ListDone));
        for event in events {
            // Whoever does not hear it is gone.
            let _ = watch.unbounded_send(event);
        }
    }

    fn list_secrets_to(&self, scope: &Scope, watch: &UnboundedSender<SecretEvent>) {
        let all = self.secrets.values();
        let all = all.filter(|secret| secret.is_labelled() && scope.covers(secret.seen.namespace()));
        let listed = all.map(|secret| SecretEvent::Listed(Box::new(secret.seen.clone())));
        for event in [SecretEvent::ListStarted(scope.clone())]
            .into_iter()
            .chain(listed)
            .chain([SecretEvent::ListDone(scope.clone())])
        {
            let _ = watch.unbounded_send(event);
        }
    }
}
