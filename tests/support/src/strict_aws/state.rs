//! What the strict AWS knows: who may call, the roles, the registry tokens, and the calls so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::regions::Regions;
use super::throttle::Bucket;
use super::{Call, Fault, OidcProvider, Refusal, Request};

/// Who may call: a user, or a session of a role.
#[derive(Clone, Debug)]
pub struct Principal {
    /// `aws_secret_access_key`.
    pub secret: String,
    /// `aws_session_token`, of a session.
    pub token: Option<String>,
    /// As `GetCallerIdentity` tells it.
    pub arn: String,
    /// The policies that must all allow an action: its own, and those of its session.
    pub policies: Vec<Vec<Value>>,
    /// What a session has besides.
    pub session: Option<SessionFacts>,
}

/// What a session has besides its credentials.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// The role.
    pub role_arn: String,
    /// When it ends.
    pub expiration: Timestamp,
    /// The tags that sessions assumed from it inherit.
    pub transitive_tags: BTreeMap<String, String>,
    /// Its source identity, which cannot be changed.
    pub source_identity: Option<String>,
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// The trust policy.
    pub trust: Value,
    /// The permission policies.
    pub policies: Vec<Value>,
    /// `MaxSessionDuration` in seconds.
    pub max_session: u32,
}

/// A registry token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The role of the session that it was given to, if it was one.
    pub(super) role_arn: Option<String>,
    pub(super) policies: Vec<Vec<Value>>,
    pub(super) expiration: Timestamp,
}

/// What is throttled by itself: a service, for an account, in a Region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Quota {
    pub(super) service: &'static str,
    pub(super) account: String,
    pub(super) region: String,
}

/// How many principals there may be before anybody is forgotten.
pub(super) const PRINCIPALS_MAX: usize = 20_000;

type FaultInjector = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;

pub(super) struct State {
    pub(super) principals: HashMap<String, Principal>,
    pub(super) roles: HashMap<String, Role>,
    pub(super) oidc_providers: Vec<OidcProvider>,
    pub(super) tokens: HashMap<String, Token>,
    pub(super) regions: Regions,
    pub(super) buckets: HashMap<Quota, Bucket>,
    /// The rate and the burst of every quota, where there is one.
    pub(super) throttle: Option<(f64, f64)>,
    /// The longest that a session lasts, whatever was asked for.
    pub(super) longest_session: Option<Duration>,
    /// The rate and the burst of single quotas.
    pub(super) throttled: HashMap<Quota, (f64, f64)>,
    /// Regions whose endpoints do not answer.
    pub(super) silent: BTreeSet<String>,
    /// The access keys that count as expired.
    pub(super) revoked: BTreeSet<String>,
    pub(super) fault_injector: Option<FaultInjector>,
    /// How long an answer over HTTP takes.
    pub(super) latency: Duration,
    pub(super) calls: Vec<Call>,
    pub(super) remember: bool,
    /// How many principals there may be until those whose sessions have ended are forgotten.
    pub(super) principals_max: usize,
    /// The calls of each second of the epoch, where they are counted.
    pub(super) by_second: Option<BTreeMap<i64, u64>>,
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) number: u64,
}

impl State {
    pub(super) fn record(
        &mut self,
        now: Timestamp,
        access_key_id: &str,
        region: &str,
        request: &Request,
        refusal: Option<&Refusal>,
    ) {
        let kind = match request {
            Request::GetCallerIdentity => "GetCallerIdentity",
            Request::AssumeRole(_) => "AssumeRole",
            Request::AssumeRoleWithWebIdentity(_) => "AssumeRoleWithWebIdentity",
            Request::GetAuthorizationToken => "GetAuthorizationToken",
            Request::HeadBucket => "HeadBucket",
        };
        let name = refusal.map_or_else(|| kind.to_owned(), |refusal| format!("{kind} {}", refusal.code));
        *self.counts.entry(name).or_default() += 1;
        if let Some(by_second) = &mut self.by_second {
            *by_second.entry(now.as_second()).or_default() += 1;
        }
        if self.remember {
            self.calls.push(Call {
                at: now,
                access_key_id: access_key_id.to_owned(),
                region: region.to_owned(),
                request: request.clone(),
                refused: refusal.map(|refusal| refusal.code.clone()),
            });
        } else if self.principals.len() > self.principals_max {
            let alive = |principal: &Principal| {
                principal
                    .session
                    .as_ref()
                    .is_none_or(|session| session.expiration > now)
            };
            self.principals.retain(|_, principal| alive(principal));
            self.tokens.retain(|_, token| token.expiration > now);
            // Many that are alive are not to be looked through with every call.
            self.principals_max = PRINCIPALS_MAX.max(2 * self.principals.len());
        }
    }
}
