//! The Lease through a client of its own, so that nothing else that is asked of the API server is in the way of a renewal.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease as LeaseObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Event, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::OnceCell;
use tracing::warn;

use super::{Lease, LeaseRecord, Leases};
use crate::cluster::ClusterError;
use crate::cluster::inquiry::{self, ServiceAccountName};
use crate::cluster::listening::listening;
use crate::cluster::watch::{Pauses, configuration};
use crate::errors::FailureLog;
use crate::secret::FIELD_MANAGER;

/// How soon the watch asks again for a namespace that is not known.
const PAUSE: Duration = Duration::from_secs(1);

/// The Lease of a name in a namespace.
pub struct KubeLease {
    client: Client,
    /// Not known before it is asked for, where it is not given.
    namespace: Arc<OnceCell<String>>,
    name: String,
}

impl KubeLease {
    /// Uses a client for it. Without a namespace it is that of the client's ServiceAccount, which has the rights to it, or else the kubeconfig's.
    #[must_use]
    pub fn new(client: Client, namespace: Option<&str>, name: &str) -> Self {
        Self {
            namespace: Arc::new(OnceCell::new_with(namespace.map(str::to_owned))),
            client,
            name: name.to_owned(),
        }
    }

    async fn api(&self) -> Result<Api<LeaseObject>, ClusterError> {
        let namespace = known(&self.namespace, &self.client).await?;
        Ok(Api::namespaced(self.client.clone(), &namespace))
    }

    async fn look(&self) -> Result<Option<Lease>, ClusterError> {
        Ok(self.api().await?.get_opt(&self.name).await?.map(read))
    }

    async fn make(&self, record: &LeaseRecord) -> Result<Lease, ClusterError> {
        let object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name},
            "spec": spec(record),
        });
        let object = serde_json::from_value(object).map_err(unbuilt)?;
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        Ok(read(self.api().await?.create(&parameters, &object).await?))
    }

    /// A merge patch: labels, annotations and fields of others stay. It makes no Lease where there is none.
    async fn patch(&self, over: &Lease, record: &LeaseRecord) -> Result<Lease, ClusterError> {
        let patch = json!({
            "metadata": {"uid": over.uid, "resourceVersion": over.version},
            "spec": spec(record),
        });
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let api = self.api().await?;
        let patched = api.patch(&self.name, &parameters, &Patch::Merge(patch)).await?;
        Ok(read(patched))
    }
}

impl Leases for KubeLease {
    fn watch(&self) -> BoxStream<'static, Option<Lease>> {
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        let name = self.name.clone();
        let namespace = async move {
            loop {
                match known(&namespace, &client).await {
                    Ok(namespace) => return (client, namespace),
                    // The calls say what is wrong.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        stream::once(namespace)
            .flat_map(move |(client, namespace)| seen(client, &namespace, &name))
            .boxed()
    }

    fn get(&self) -> BoxFuture<'_, Result<Option<Lease>, ClusterError>> {
        self.look().boxed()
    }

    fn create<'a>(&'a self, record: &'a LeaseRecord) -> BoxFuture<'a, Result<Lease, ClusterError>> {
        self.make(record).boxed()
    }

    fn replace<'a>(&'a self, over: &'a Lease, record: &'a LeaseRecord) -> BoxFuture<'a, Result<Lease, ClusterError>> {
        self.patch(over, record).boxed()
    }
}

/// What the watch on the Lease of that name tells.
fn seen(client: Client, namespace: &str, name: &str) -> impl Stream<Item = Option<Lease>> + Send + use<> {
    let (client, _) = listening(client);
    let api: Api<LeaseObject> = Api::namespaced(client, namespace);
    let this_one = configuration().fields(&format!("metadata.name={name}"));
    let mut log = FailureLog::default();
    let mut listed = None;
    watcher(api, this_one)
        .backoff(Pauses::default())
        .filter_map(move |event| {
            ready(match event {
                Ok(Event::Init) => {
                    listed = None;
                    None
                }
                Ok(Event::InitApply(lease)) => {
                    listed = Some(read(lease));
                    None
                }
                Ok(Event::InitDone) => Some(listed.take()),
                Ok(Event::Apply(lease)) => Some(Some(read(lease))),
                Ok(Event::Delete(_)) => Some(None),
                Err(error) => {
                    let error = error.to_string();
                    if log.is_news(&error) {
                        warn!(error, "the watch on the Lease failed and is set up again");
                    }
                    None
                }
            })
        })
}

/// The namespace of the Lease, asked for if it is not known yet.
async fn known(namespace: &OnceCell<String>, client: &Client) -> Result<String, ClusterError> {
    let ask = async || {
        let user = inquiry::user(client).await?;
        let own = user.as_deref().and_then(ServiceAccountName::of_user);
        Ok(own.map_or_else(|| client.default_namespace().to_owned(), |account| account.namespace))
    };
    namespace.get_or_try_init(ask).await.cloned()
}

fn read(object: LeaseObject) -> Lease {
    let spec = object.spec.unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Lease {
        uid: object.metadata.uid.unwrap_or_default(),
        version: object.metadata.resource_version.unwrap_or_default(),
        record: LeaseRecord {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            duration: Duration::from_secs(seconds.try_into().unwrap_or_default()),
            acquired: spec.acquire_time.map(|time| time.0),
            renewed: spec.renew_time.map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or_default(),
        },
    }
}

/// What a Lease says, as the API server takes it. Who lets go of it takes the name out.
fn spec(record: &LeaseRecord) -> serde_json::Value {
    json!({
        "holderIdentity": record.holder,
        "leaseDurationSeconds": record.duration.as_secs(),
        "acquireTime": record.acquired.map(MicroTime),
        "renewTime": record.renewed.map(MicroTime),
        "leaseTransitions": record.transitions,
    })
}

/// A Lease that could not be put together.
fn unbuilt(error: serde_json::Error) -> ClusterError {
    ClusterError::Refused(error.to_string())
}
