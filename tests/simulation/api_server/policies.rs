//! The policies of the cluster and the labels of its namespaces, and who is told of them.

use std::sync::Arc;

use aws_assume_role::cluster::{NamespaceEvent, ObservedNamespace, ObservedPolicy, PolicyEvent, TenancyEvent};
use futures::channel::mpsc::{UnboundedReceiver, unbounded};

use super::ApiServer;
use crate::place::{HOSTILE, NAMESPACES};

impl ApiServer {
    /// What a process hears of the policies. They are never silent: that a refusal is heard of late is another promise.
    pub(super) fn policy_watch_of(&self, process: u64) -> UnboundedReceiver<PolicyEvent> {
        let (sender, receiver) = unbounded();
        let mut state = self.state();
        let listed = state.policies.values().cloned().map(TenancyEvent::Listed);
        let list = [TenancyEvent::ListStarted].into_iter().chain(listed);
        for event in list.chain([TenancyEvent::ListDone]) {
            let _ = sender.unbounded_send(event);
        }
        state.policy_watches.push((process, sender));
        receiver
    }

    /// An administrator makes or changes a policy.
    pub fn put_policy(&self, policy: ObservedPolicy) {
        let mut state = self.state();
        state.policies.insert(policy.name.clone(), policy.clone());
        state.tell_policy(&TenancyEvent::Applied(policy));
    }

    /// An administrator takes a policy away.
    pub fn delete_policy(&self, name: &str) {
        let mut state = self.state();
        let name: Arc<str> = name.into();
        if state.policies.remove(&name).is_some() {
            state.tell_policy(&TenancyEvent::Deleted(name));
        }
    }
}

impl super::State {
    fn tell_policy(&mut self, event: &PolicyEvent) {
        self.policy_watches
            .retain(|(_, watch)| watch.unbounded_send(event.clone()).is_ok());
    }
}

/// The namespaces, which stay as they are.
pub(super) fn namespaces() -> impl Iterator<Item = NamespaceEvent> + Send + 'static {
    let all = NAMESPACES.into_iter().chain([HOSTILE]).map(|name| {
        TenancyEvent::Listed(ObservedNamespace {
            name: name.into(),
            labels: [("team".to_owned(), name.to_owned())].into(),
        })
    });
    [TenancyEvent::ListStarted]
        .into_iter()
        .chain(all)
        .chain([TenancyEvent::ListDone])
}
