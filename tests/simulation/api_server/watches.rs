//! The watches: told of every change, lost or silent for a while, and listed again.

use aws_assume_role::cluster::{SecretEvent, WatchEvent};
use aws_assume_role::spec::Resource;

use super::ApiServer;
use super::storage::State;

/// One of the operator's watches, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watches {
    Resources,
    Secrets,
    Both,
}

impl ApiServer {
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
            state.list_resources();
        }
        if std::mem::take(&mut state.secrets_silent) {
            state.list_secrets();
        }
    }

    /// The operator is gone, and with it its watches, and what it knew of Secrets.
    pub fn drop_watches(&self) {
        let mut state = self.state();
        state.resource_watches.clear();
        state.secret_watches.clear();
        state.resources_silent = false;
        state.secrets_silent = false;
        for secret in state.secrets.values_mut() {
            let forged = secret.spoilt.is_some()
                && secret
                    .seen
                    .provenance
                    .as_ref()
                    .is_some_and(|known| known.others.is_empty());
            secret.forged_unseen |= forged;
        }
    }

    /// Whether the operator learns at once what happens to resources.
    pub fn is_heard(&self) -> bool {
        let state = self.state();
        !state.resources_silent && !state.resource_watches.is_empty()
    }
}

impl State {
    pub(super) fn tell(&mut self, event: WatchEvent) {
        if !self.resources_silent {
            self.resource_watches
                .retain(|watch| watch.unbounded_send(event.clone()).is_ok());
        }
    }

    pub(super) fn tell_secret(&mut self, event: &SecretEvent) {
        if !self.secrets_silent {
            self.secret_watches
                .retain(|watch| watch.unbounded_send(event.clone()).is_ok());
        }
    }

    pub(super) fn list_resources(&mut self) {
        self.tell(WatchEvent::ListStarted);
        let all: Vec<_> = self.resources.values().map(Resource::from_resource).collect();
        for watched in all {
            self.tell(WatchEvent::Listed(watched));
        }
        self.tell(WatchEvent::ListDone);
    }

    pub(super) fn list_secrets(&mut self) {
        self.tell_secret(&SecretEvent::ListStarted);
        let all: Vec<_> = self
            .secrets
            .values()
            .filter(|secret| secret.is_labelled())
            .map(|secret| secret.seen.clone())
            .collect();
        for secret in all {
            self.tell_secret(&SecretEvent::Listed(Box::new(secret)));
        }
        self.tell_secret(&SecretEvent::ListDone);
    }
}
