//! The Lease: optimistic concurrency, a watch for each process, and the faults of any other call. What was sent arrives, also if nobody waits
//! for the answer any more.

use std::pin::pin;
use std::time::Duration;

use aws_assume_role::cluster::ClusterError;
use aws_assume_role::cluster::lease::{Lease, LeaseRecord, Leases};
use futures::FutureExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::time::timeout;

use super::ApiServer;
use super::calls::Fate;
use super::connection::{Connection, heard};
use super::storage::State;

/// How soon a call should be answered.
const PROMPT: Duration = Duration::from_millis(100);

/// The Lease as it is stored, and who watches it.
#[derive(Default)]
pub(super) struct StoredLease {
    stored: Option<Lease>,
    watches: Vec<(u64, UnboundedSender<Option<Lease>>)>,
    /// How many calls for it are not answered as soon as they should be.
    slow: usize,
}

impl StoredLease {
    pub(super) fn forget_watch(&mut self, process: u64) {
        self.watches.retain(|(number, _)| *number != process);
    }
}

impl State {
    fn put_lease(&mut self, lease: Option<(String, LeaseRecord)>) {
        let version = self.next_version();
        self.lease.stored = lease.map(|(uid, record)| Lease { uid, version, record });
        if !self.resources_silent {
            self.tell_lease();
        }
    }

    /// Tells all who watch it how it is.
    pub(super) fn tell_lease(&mut self) {
        let lease = self.lease.stored.clone();
        let watches = &mut self.lease.watches;
        watches.retain(|(_, watch)| watch.unbounded_send(lease.clone()).is_ok());
    }
}

impl ApiServer {
    // --- what people do to it

    pub fn delete_lease(&self) {
        self.state().put_lease(None);
    }

    pub fn edit_lease(&self, edit: impl FnOnce(LeaseRecord) -> LeaseRecord) {
        let mut state = self.state();
        if let Some(lease) = state.lease.stored.clone() {
            state.put_lease(Some((lease.uid, edit(lease.record))));
        }
    }

    /// Whether a call for it hangs.
    pub fn lease_hangs(&self) -> bool {
        self.state().lease.slow > 0
    }

    /// The process that holds it, if one does.
    pub fn holder(&self) -> Option<u64> {
        let state = self.state();
        let holder = state.lease.stored.as_ref()?.record.holder.as_ref()?;
        holder.strip_prefix("replica-")?.parse().ok()
    }
}

impl Connection {
    /// The name in the Lease.
    pub fn identity(&self) -> String {
        format!("replica-{}", self.process.number)
    }

    /// Makes a call for which no leave is needed.
    fn send<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> Result<T, ClusterError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, ClusterError>> {
        let (server, process) = (self.server.clone(), self.process.clone());
        async move {
            process.runs().await;
            let arrives = tokio::spawn(async move {
                let mut fate = pin!(server.fate());
                let fate = match timeout(PROMPT, &mut fate).await {
                    Ok(fate) => fate,
                    Err(_) => {
                        server.checks.lease_is_in_trouble();
                        server.state().lease.slow += 1;
                        let fate = fate.await;
                        server.state().lease.slow -= 1;
                        fate
                    }
                };
                if !matches!(fate, Ok(Fate::Done)) || server.state().resources_silent {
                    server.checks.lease_is_in_trouble();
                }
                let fate = fate?;
                let done = act(&mut server.state());
                match fate {
                    Fate::Done => done,
                    Fate::Lost => Err(ClusterError::Unavailable("answer lost".to_owned())),
                }
            });
            let answer = arrives.await.unwrap();
            process.runs().await;
            answer
        }
        .boxed()
    }

    /// Stores what a process wrote. Who gets it by that, begins to lead.
    fn writes(&self, over: Option<&Lease>, record: &LeaseRecord) -> BoxFuture<'static, Result<Lease, ClusterError>> {
        let (over, record) = (over.cloned(), record.clone());
        let (identity, this) = (self.identity(), self.clone());
        self.send(move |state| {
            let before = state.lease.stored.clone();
            if before != over {
                return Err(ClusterError::Changed("the Lease".to_owned()));
            }
            let of = |lease: &Lease| (lease.record.holder.clone(), lease.record.acquired);
            let begins = record.holder.as_ref() == Some(&identity)
                && before.as_ref().map(of) != Some((record.holder.clone(), record.acquired));
            let uid = before.map_or_else(|| format!("lease-{}", state.version), |lease| lease.uid);
            state.put_lease(Some((uid, record)));
            if begins {
                state.forget_who_led();
                let heard = !state.resources_silent && !state.secrets_silent;
                this.server.checks.begins_to_lead(this.process.number, heard);
            }
            Ok(state.lease.stored.clone().unwrap())
        })
    }
}

impl Leases for Connection {
    fn watch(&self) -> BoxStream<'static, Option<Lease>> {
        let (sender, receiver) = unbounded();
        let mut state = self.server.state();
        sender.unbounded_send(state.lease.stored.clone()).unwrap();
        state.lease.watches.push((self.process.number, sender));
        heard(&self.process, receiver)
    }

    fn get(&self) -> BoxFuture<'_, Result<Option<Lease>, ClusterError>> {
        self.send(|state| Ok(state.lease.stored.clone()))
    }

    fn create<'a>(&'a self, record: &'a LeaseRecord) -> BoxFuture<'a, Result<Lease, ClusterError>> {
        self.writes(None, record)
    }

    fn replace<'a>(&'a self, over: &'a Lease, record: &'a LeaseRecord) -> BoxFuture<'a, Result<Lease, ClusterError>> {
        self.writes(Some(over), record)
    }
}
