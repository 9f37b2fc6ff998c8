//! The watches: told of every change, lost, and listed again.

use aws_assume_role::cluster::{SecretEvent, WatchEvent};
use aws_assume_role::spec::Resource;

use super::ApiServer;
use super::storage::State;

impl ApiServer {
    /// The watches hear nothing any more.
    pub fn break_watches(&self) {
        self.state().broken = true;
    }

    /// The watches are set up again, which begins with a list.
    pub fn mend_watches(&self) {
        self.checks.all_statuses_unknown();
        let mut state = self.state();
        state.broken = false;
        state.list();
    }

    /// The operator is gone, and with it its watches.
    pub fn drop_watches(&self) {
        let mut state = self.state();
        state.resource_watches.clear();
        state.secret_watches.clear();
        state.broken = false;
    }
}

impl State {
    pub(super) fn tell(&mut self, event: WatchEvent) {
        if !self.broken {
            self.resource_watches
                .retain(|watch| watch.unbounded_send(event.clone()).is_ok());
        }
    }

    pub(super) fn tell_secret(&mut self, event: &SecretEvent) {
        if !self.broken {
            self.secret_watches
                .retain(|watch| watch.unbounded_send(event.clone()).is_ok());
        }
    }

    fn list(&mut self) {
        self.list_resources();
        self.list_secrets();
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
            .cloned()
            .collect();
        for secret in all {
            self.tell_secret(&SecretEvent::Listed(Box::new(secret.seen)));
        }
        self.tell_secret(&SecretEvent::ListDone);
    }
}
