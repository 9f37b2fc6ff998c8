//! The operator's own credentials: where they come from is set up anew whenever they are wanted anew, so that a file is read again, and they
//! are dropped when AWS refuses them.
//!
//! The SDK's cache drops credentials by their time only, and its provider of a shared credentials file reads it once.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::time::Instant;
use tracing::{info, warn};

use super::caller;
use super::chain;
use super::region::CurrentRegion;
use super::sdk_region;
use crate::errors::chain_of;

/// How long finding credentials may take, as long as in the SDK's own cache. Who waits for them holds a place at the gate.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long before their end credentials are replaced. Whoever gives them has others by then: instance metadata and the agent of Pod
/// Identity five minutes before the end at the latest.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
const BEFORE_END: Duration = Duration::from_secs(300);

/// How old credentials that tell no end may become, as in the SDK's own cache. A file may hold others by then.
const AGE_MAX: Duration = Duration::from_secs(900);

/// How long passes between two searches while there are none that AWS takes.
const PAUSE: Duration = Duration::from_secs(3);

/// How long passes between two searches while those that are there are still good: those who give credentials may not have others yet.
const PAUSE_WHILE_GOOD: Duration = Duration::from_secs(10);

/// How long passes between two searches while there is only a doubt. It costs the one that looks a moment.
const PAUSE_IN_DOUBT: Duration = Duration::from_secs(30);

/// The operator's own credentials.
pub(super) struct OperatorCredentials {
    source: Source,
    state: Mutex<State>,
    /// One searches, the others wait for what it finds, or use what there is.
    search: tokio::sync::Mutex<()>,
    /// How many access keys there were.
    generation: AtomicU64,
    hasher: RandomState,
}

/// Where credentials come from.
enum Source {
    /// AWS's own variables, files and endpoints.
    Environment {
        http_client: SharedHttpClient,
        region: CurrentRegion,
        /// Whether instance metadata is among them.
        instance_metadata: bool,
    },
    /// A provider that is given.
    Fixed(Option<SharedCredentialsProvider>),
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// The hash of the last access key's id.
    key: Option<u64>,
    /// When they were last looked for, and what was the matter if there were none.
    searched: Option<(Instant, Option<String>)>,
}

struct Held {
    credentials: Credentials,
    since: Instant,
    standing: Standing,
}

/// What AWS thinks of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nothing is known against them.
    Good,
    /// They were refused for a reason that may lie elsewhere: others would tell.
    Doubtful,
    /// They were refused.
    Refused,
}

impl Held {
    fn left(&self) -> Duration {
        match self.credentials.expiry() {
            Some(end) => end.duration_since(SystemTime::now()).unwrap_or_default(),
            None => Duration::MAX,
        }
    }

    /// How long after a search for others the next may begin; `None` when none is needed.
    fn pause(&self) -> Option<Duration> {
        let old = self.credentials.expiry().is_none() && self.since.elapsed() >= AGE_MAX;
        match self.standing {
            Standing::Refused => Some(PAUSE),
            _ if self.left().is_zero() => Some(PAUSE),
            _ if old || self.left() <= BEFORE_END => Some(PAUSE_WHILE_GOOD),
            Standing::Doubtful => Some(PAUSE_IN_DOUBT),
            Standing::Good => None,
        }
    }
}

/// What is to be done for a call.
enum Next {
    Use(Credentials),
    /// Nobody has any, and that was found out a moment ago.
    Fail(String),
    /// Look for others. What there is, is better than nothing: if AWS refuses it, it says why.
    Search(Option<Credentials>),
}

impl OperatorCredentials {
    /// Those that the SDK's chain of providers finds, with instance metadata or without.
    pub(super) fn from_environment(
        http_client: SharedHttpClient,
        region: CurrentRegion,
        instance_metadata: bool,
    ) -> Self {
        Self::of(Source::Environment {
            http_client,
            region,
            instance_metadata,
        })
    }

    /// Those of a provider.
    pub(super) fn fixed(provider: Option<SharedCredentialsProvider>) -> Self {
        Self::of(Source::Fixed(provider))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            state: Mutex::default(),
            search: tokio::sync::Mutex::default(),
            generation: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Goes up with every other access key.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Who gave those that are held, in words. Nothing before they were needed.
    pub(super) fn origin(&self) -> Option<String> {
        let state = self.state();
        state.held.as_ref().map(|held| caller::origin(&held.credentials))
    }

    /// AWS refused a call that they signed. Others are looked for with the next call. Where that was done already, since the call was
    /// under way for long, the next search finds the same again.
    pub(super) fn refused(&self, standing: Standing) {
        let mut state = self.state();
        let Some(held) = state.held.as_mut() else {
            return;
        };
        if standing == Standing::Refused && held.standing < standing {
            warn!("AWS refused the operator's own credentials: others are looked for");
        }
        held.standing = held.standing.max(standing);
    }

    async fn provide(&self) -> provider::Result {
        let searching = match self.next() {
            Next::Use(credentials) => return Ok(credentials),
            Next::Fail(failure) => return Err(CredentialsError::provider_error(failure)),
            Next::Search(Some(good)) => match self.search.try_lock() {
                Ok(searching) => searching,
                Err(_) => return Ok(good),
            },
            Next::Search(None) => self.search.lock().await,
        };
        // Somebody may have searched while this one waited.
        let fallback = match self.next() {
            Next::Use(credentials) => return Ok(credentials),
            Next::Fail(failure) => return Err(CredentialsError::provider_error(failure)),
            Next::Search(good) => good,
        };
        let found = self.find().await;
        let result = self.found(found, fallback);
        drop(searching);
        result
    }

    fn next(&self) -> Next {
        let state = self.state();
        let pause = match &state.held {
            Some(held) => match held.pause() {
                None => return Next::Use(held.credentials.clone()),
                Some(pause) => pause,
            },
            None => PAUSE,
        };
        let held = state.held.as_ref().map(|held| held.credentials.clone());
        let usable = state.held.as_ref().is_some_and(|held| !held.left().is_zero());
        match state.searched.as_ref().filter(|(when, _)| when.elapsed() < pause) {
            Some((_, None)) => held.map_or_else(|| Next::Search(None), Next::Use),
            Some((_, Some(failure))) => match held.filter(|_| usable) {
                Some(held) => Next::Use(held),
                None => Next::Fail(failure.clone()),
            },
            None => Next::Search(held.filter(|_| usable)),
        }
    }

    /// Keeps what a search found, and gives what is to be used.
    fn found(&self, found: provider::Result, fallback: Option<Credentials>) -> provider::Result {
        let mut state = self.state();
        let failure = found.as_ref().err().map(|error| chain_of(error));
        if let (Some(failure), Some(_)) = (&failure, &fallback) {
            warn!("the operator's own credentials could not be replaced: {failure}");
        }
        state.searched = Some((Instant::now(), failure));
        match (found, fallback) {
            (Ok(found), _) => {
                self.hold(&mut state, found.clone());
                Ok(found)
            }
            (Err(_), Some(fallback)) => Ok(fallback),
            (Err(error), None) => Err(error),
        }
    }

    fn hold(&self, state: &mut State, credentials: Credentials) {
        let key = self.hasher.hash_one(credentials.access_key_id());
        let another = state.key.replace(key) != Some(key);
        if another && self.generation.fetch_add(1, Ordering::Relaxed) > 0 {
            info!("the operator has another access key of its own");
        }
        state.held = Some(Held {
            credentials,
            since: Instant::now(),
            standing: Standing::Good,
        });
    }

    /// Nothing is awaited and nothing panics while it is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find(&self) -> provider::Result {
        tokio::time::timeout(LOAD_TIMEOUT, async {
            match self.provider().await {
                Some(provider) => provider.provide_credentials().await,
                None => Err(CredentialsError::not_loaded("no provider of credentials is set up")),
            }
        })
        .await
        .unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(LOAD_TIMEOUT)))
    }

    /// The provider, set up anew.
    async fn provider(&self) -> Option<SharedCredentialsProvider> {
        match &self.source {
            Source::Environment {
                http_client,
                region,
                instance_metadata,
            } => {
                let (http_client, region) = (http_client.clone(), sdk_region(&region.get()));
                match instance_metadata {
                    true => chain::whole(http_client, region).await,
                    false => Some(chain::without_instance_metadata(http_client, region).await),
                }
            }
            Source::Fixed(provider) => provider.clone(),
        }
    }
}

/// The credentials as the SDK asks for them.
pub(super) struct Shared(pub(super) Arc<OperatorCredentials>);

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorCredentials([REDACTED])")
    }
}

impl ProvideCredentials for Shared {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.provide())
    }
}

#[cfg(test)]
#[path = "provider_tests.rs"]
mod tests;
