//! The operator's own credentials: where they come from is set up anew whenever they are wanted anew, so that a file is read again, and they
//! are dropped when AWS refuses them.
//!
//! The SDK's cache drops credentials by their time only, and its provider of a shared credentials file reads it once.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

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

/// How long passes between two searches for credentials, whatever is wrong with those that are there.
const PAUSE: Duration = Duration::from_secs(3);

/// How long passes between two searches while those that are there are still good: those who give credentials may not have others yet.
const PAUSE_WHILE_GOOD: Duration = Duration::from_secs(10);

/// The operator's own credentials.
pub(super) struct OperatorCredentials {
    source: Source,
    state: Mutex<State>,
    /// How many access keys there were.
    generation: AtomicU64,
    hasher: RandomState,
}

/// Where credentials come from.
enum Source {
    /// AWS's own variables, files and endpoints.
    Environment(SharedHttpClient, CurrentRegion),
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
    /// AWS refused them.
    refused: bool,
}

impl Held {
    fn left(&self) -> Duration {
        match self.credentials.expiry() {
            Some(end) => end.duration_since(SystemTime::now()).unwrap_or_default(),
            None => Duration::MAX,
        }
    }

    /// Whether they are as good as any.
    fn is_fresh(&self) -> bool {
        let old = self.credentials.expiry().is_none() && self.since.elapsed() >= AGE_MAX;
        !self.refused && !old && self.left() > BEFORE_END
    }

    /// Whether they can be used, though others are wanted.
    fn is_good(&self) -> bool {
        !self.refused && !self.left().is_zero()
    }
}

impl OperatorCredentials {
    /// Those that the SDK's chain of providers finds.
    pub(super) fn from_environment(http_client: SharedHttpClient, region: CurrentRegion) -> Self {
        Self::of(Source::Environment(http_client, region))
    }

    /// Those of a provider.
    pub(super) fn fixed(provider: Option<SharedCredentialsProvider>) -> Self {
        Self::of(Source::Fixed(provider))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            state: Mutex::default(),
            generation: AtomicU64::new(0),
            hasher: RandomState::new(),
        }
    }

    /// Goes up with every other access key.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// AWS refused the credentials that signed a call of that time. Others are looked for with the next call, unless that was done since.
    pub(super) async fn refused(&self, started: Instant) {
        let mut state = self.state.lock().await;
        if let Some(held) = state
            .held
            .as_mut()
            .filter(|held| held.since <= started && !held.refused)
        {
            held.refused = true;
            warn!("AWS refused the operator's own credentials: they are looked for anew");
        }
    }

    async fn provide(&self) -> provider::Result {
        // Whoever comes while the search is under way waits here for what it finds.
        let mut state = self.state.lock().await;
        if let Some(held) = state.held.as_ref().filter(|held| held.is_fresh()) {
            return Ok(held.credentials.clone());
        }
        let good = state.held.as_ref().filter(|held| held.is_good());
        let good = good.map(|held| held.credentials.clone());
        let pause = match good {
            Some(_) => PAUSE_WHILE_GOOD,
            None => PAUSE,
        };
        let recent = state.searched.as_ref().filter(|(when, _)| when.elapsed() < pause);
        match (good, recent) {
            (Some(good), Some(_)) => return Ok(good),
            (None, Some((_, failure))) => {
                // They were found a moment ago and refused: better those than none, so that AWS says why.
                return match (&state.held, failure) {
                    (Some(held), None) => Ok(held.credentials.clone()),
                    (_, failure) => Err(CredentialsError::provider_error(failure.clone().unwrap_or_default())),
                };
            }
            (good, None) => {
                let found = self.search().await;
                state.searched = Some((Instant::now(), found.as_ref().err().map(|error| chain_of(error))));
                match (found, good) {
                    (Ok(found), _) => {
                        self.hold(&mut state, found.clone());
                        Ok(found)
                    }
                    (Err(error), Some(good)) => {
                        warn!(
                            "the operator's own credentials are good and could not be replaced: {}",
                            chain_of(&error)
                        );
                        Ok(good)
                    }
                    (Err(error), None) => Err(error),
                }
            }
        }
    }

    fn hold(&self, state: &mut State, credentials: Credentials) {
        let key = self.hasher.hash_one(credentials.access_key_id());
        let another = state.key.replace(key) != Some(key);
        if another {
            let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
            if generation > 1 {
                info!("the operator has another access key of its own");
            }
        }
        state.held = Some(Held {
            credentials,
            since: Instant::now(),
            refused: false,
        });
    }

    async fn search(&self) -> provider::Result {
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
            Source::Environment(http_client, region) => {
                let config = aws_config::defaults(BehaviorVersion::latest())
                    .http_client(http_client.clone())
                    .region(sdk_region(&region.get()))
                    .load()
                    .await;
                config.credentials_provider()
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
