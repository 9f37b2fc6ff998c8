//! Where calls to the API server wait: how many are made at the same time, for how long each, and by whose leave.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::ClusterError;
use crate::fence::Fence;

/// How long one call may take. The API server ends its own calls after a minute; past half of that another try is worth more.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the write of an event may take, the wait for a place included. It is worth no more.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How many calls are made at the same time. kube speaks HTTP/1.1, which has a connection for each.
const CONCURRENCY: usize = 64;

/// How many of them one namespace may have: one whose admission webhooks hang must leave places for the others.
const NAMESPACE_CONCURRENCY: usize = 8;

/// How many events are written at the same time. They have places of their own, so that no Secret waits behind them.
const EVENT_CONCURRENCY: usize = 8;

/// How many of them one namespace may have. Behind one alone the events of many resources that are made at once would wait for longer than they
/// are worth, and their actors with them.
const NAMESPACE_EVENT_CONCURRENCY: usize = 2;

/// The places of the namespaces lie in so many drawers, by a hash of the name. Two namespaces in one share its places.
const DRAWERS: usize = 1024;

/// The places for calls.
pub(super) struct Places {
    calls: Semaphore,
    namespace_calls: Vec<Semaphore>,
    events: Semaphore,
    namespace_events: Vec<Semaphore>,
    fence: Fence,
}

impl Places {
    pub(super) fn new(fence: Fence) -> Self {
        Self {
            calls: Semaphore::new(CONCURRENCY),
            namespace_calls: drawers(NAMESPACE_CONCURRENCY),
            events: Semaphore::new(EVENT_CONCURRENCY),
            namespace_events: drawers(NAMESPACE_EVENT_CONCURRENCY),
            fence,
        }
    }

    /// Bounds a call in time, and how many are made at the same time: each has a connection of its own. It passes the fence when it has its
    /// place, since it may have waited for that.
    pub(super) async fn in_time<T>(
        &self,
        namespace: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let _own_place = self.namespace_calls[drawer(namespace)].acquire().await;
        let _place = self.calls.acquire().await;
        self.fence.pass().await;
        match timeout(CALL_TIMEOUT, call).await {
            Ok(result) => result.map_err(ClusterError::from),
            Err(_) => Err(unanswered(CALL_TIMEOUT)),
        }
    }

    /// Bounds the write of an event in time, the wait for a place included.
    pub(super) async fn beside<T>(
        &self,
        namespace: &str,
        write: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let placed = async {
            let _own_place = self.namespace_events[drawer(namespace)].acquire().await;
            let _place = self.events.acquire().await;
            self.fence.pass().await;
            write.await
        };
        let written = timeout(EVENT_TIMEOUT, placed).await;
        written.unwrap_or_else(|_| Err(unanswered(EVENT_TIMEOUT)))
    }
}

fn drawers(places: usize) -> Vec<Semaphore> {
    (0..DRAWERS).map(|_| Semaphore::new(places)).collect()
}

fn drawer(namespace: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    namespace.hash(&mut hasher);
    // The remainder is less than a thousand.
    (hasher.finish() % DRAWERS as u64) as usize
}

fn unanswered(timeout: Duration) -> ClusterError {
    ClusterError::Unavailable(format!("no answer within {} s", timeout.as_secs()))
}
