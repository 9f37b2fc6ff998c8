//! Where calls to the API server wait: how many are made at the same time, for how long each, and by whose leave.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::ClusterError;
use crate::fence::Fence;

/// How long one call may take. The API server ends its own calls after a minute; past half of that another try is worth more.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an event may wait for its place. It is worth no more.
const EVENT_WAIT: Duration = Duration::from_secs(5);

/// How long its write may take from then on. One bound on both would end most writes under way where many wait, each with its connection.
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

    /// Bounds the write of an event in time, and before that the wait for a place.
    pub(super) async fn beside<T>(
        &self,
        namespace: &str,
        write: impl Future<Output = Result<T, ClusterError>>,
    ) -> Result<T, ClusterError> {
        let places = async {
            let own_place = self.namespace_events[drawer(namespace)].acquire().await;
            let place = self.events.acquire().await;
            self.fence.pass().await;
            (own_place, place)
        };
        let waited = timeout(EVENT_WAIT, places).await;
        let _places = waited.map_err(|_| {
            let seconds = EVENT_WAIT.as_secs();
            ClusterError::Unavailable(format!("its turn did not come within {seconds} s"))
        })?;
        let written = timeout(EVENT_TIMEOUT, write).await;
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn where_more_events_wait_than_can_be_written_those_under_way_are_not_given_up() {
        let places = Places::new(Fence::open());
        let begun = AtomicUsize::new(0);
        let write = async || {
            begun.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(260)).await;
            Ok(())
        };
        let namespaces: Vec<_> = (0..500).map(|number| format!("namespace-{}", number % 50)).collect();
        let writes = namespaces.iter().map(|namespace| places.beside(namespace, write()));
        let written = join_all(writes).await.iter().filter(|result| result.is_ok()).count();
        // What eight places let through until the wait is over.
        assert_eq!(written, EVENT_CONCURRENCY * 20);
        assert_eq!(begun.load(Ordering::Relaxed), written);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_worth_so_much_time_and_no_more() {
        let places = Places::new(Fence::open());
        let started = Instant::now();
        let written = places
            .beside("team", std::future::pending::<Result<(), ClusterError>>())
            .await;
        assert!(matches!(written, Err(ClusterError::Unavailable(_))), "{written:?}");
        assert_eq!(started.elapsed(), EVENT_TIMEOUT);
    }
}
