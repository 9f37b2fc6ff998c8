//! A stand-in for STS and ECR that refuses what AWS refuses, with AWS's codes and in its words.
//!
//! One core with two ways to it: [`in_process`] for the simulation, [`http`] for the operator as a process. Each rule names the page that it
//! comes from. Every call is recorded. Faults can be injected into any call: all the ways in which networks and services fail.

mod answers;
mod calls;
pub mod http;
pub mod in_process;
pub mod issuer;
pub mod own_keys;
pub mod policy;
mod regions;
mod rules;
pub mod signature;
mod state;
pub mod throttle;
pub mod web_identity;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::fixtures::{ACCESS_KEY_ID, ACCOUNT, SECRET_ACCESS_KEY, role_arn};

pub use calls::{AssumeRole, AssumeRoleWithWebIdentity, Call, Fault, Refusal, Reply, Request};
pub use state::{Principal, Role, SessionFacts};
use state::{Quota, State};
pub use web_identity::OidcProvider;

type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The stand-in.
#[derive(Clone)]
pub struct StrictAws {
    now: Now,
    state: Arc<Mutex<State>>,
}

impl StrictAws {
    /// An AWS that lives by a clock, with nobody in it but the operator, whose access key may do everything.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        let aws = Self {
            now: Arc::new(now),
            state: Arc::new(Mutex::new(State {
                principals: HashMap::new(),
                roles: HashMap::new(),
                oidc_providers: Vec::new(),
                tokens: HashMap::new(),
                regions: regions::Regions::default(),
                buckets: HashMap::new(),
                throttle: None,
                longest_session: None,
                throttled: HashMap::new(),
                silent: BTreeSet::new(),
                revoked: BTreeSet::new(),
                fault_injector: None,
                latency: Duration::ZERO,
                calls: Vec::new(),
                remember: true,
                principals_max: state::PRINCIPALS_MAX,
                by_second: None,
                counts: BTreeMap::new(),
                number: 0,
            })),
        };
        aws.set_operator_policy(allow_all());
        aws
    }

    /// Gives the operator another policy.
    pub fn set_operator_policy(&self, policy: Value) {
        self.add_user("operator", ACCESS_KEY_ID, SECRET_ACCESS_KEY, policy);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// Makes an IAM user with an access key and one policy.
    pub fn add_user(&self, name: &str, access_key_id: &str, secret: &str, policy: Value) {
        let user = Principal {
            secret: secret.to_owned(),
            token: None,
            arn: format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            policies: vec![vec![policy]],
            session: None,
        };
        self.state().principals.insert(access_key_id.to_owned(), user);
    }

    /// Gives out a session of a role, as an agent on the node does: its access key id, secret and token, good for an hour.
    pub fn give_session(&self, role_name: &str, tags: &[(&str, &str)]) -> [String; 3] {
        let expiration = self.now() + Duration::from_secs(3600);
        let session = Principal {
            secret: String::new(),
            token: None,
            arn: format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role_name}/eks-pod"),
            policies: vec![vec![allow_all()]],
            session: Some(SessionFacts {
                role_arn: role_arn(role_name),
                expiration,
                transitive_tags: tags
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
                source_identity: None,
            }),
        };
        match self.state().open(session, expiration) {
            Reply::Session {
                access_key_id,
                secret,
                token,
                ..
            } => [access_key_id, secret, token],
            other => unreachable!("{other:?}"),
        }
    }

    /// Ends a session before its time, as if all sessions of its role were revoked or its role made anew.
    pub fn end_session(&self, access_key_id: &str) {
        let now = self.now();
        let mut state = self.state();
        let principal = state.principals.get_mut(access_key_id);
        if let Some(session) = principal.and_then(|principal| principal.session.as_mut()) {
            session.expiration = now;
        }
    }

    /// Takes an access key away.
    pub fn remove_key(&self, access_key_id: &str) {
        self.state().principals.remove(access_key_id);
    }

    /// From now on an access key counts as expired.
    pub fn revoke_key(&self, access_key_id: &str) {
        self.state().revoked.insert(access_key_id.to_owned());
    }

    /// The endpoints of a Region answer, or do not.
    pub fn silence_region(&self, region: &str, silent: bool) {
        let regions = &mut self.state().silent;
        match silent {
            true => regions.insert(region.to_owned()),
            false => regions.remove(region),
        };
    }

    /// Throttles ECR for one account in one Region, or no more.
    pub fn throttle_registry(&self, account: &str, region: &str, limit: Option<(f64, f64)>) {
        let quota = Quota {
            service: "ECR",
            account: account.to_owned(),
            region: region.to_owned(),
        };
        let mut state = self.state();
        state.buckets.remove(&quota);
        match limit {
            Some(limit) => state.throttled.insert(quota, limit),
            None => state.throttled.remove(&quota),
        };
    }

    /// Switches STS off in a Region.
    pub fn switch_sts_off(&self, region: &str) {
        self.state().regions.without_sts.insert(region.to_owned());
    }

    /// Switches an opt-in Region on.
    pub fn switch_on(&self, region: &str) {
        self.state().regions.enabled.insert(region.to_owned());
    }

    /// Makes a role, or another one of it.
    pub fn add_role(&self, arn: &str, role: Role) {
        self.state().roles.insert(arn.to_owned(), role);
    }

    /// Makes an identity provider, or another one for the same issuer in the same account.
    pub fn add_oidc_provider(&self, provider: OidcProvider) {
        self.remove_oidc_provider(&provider);
        self.state().oidc_providers.push(provider);
    }

    /// Takes an identity provider away.
    pub fn remove_oidc_provider(&self, provider: &OidcProvider) {
        let providers = &mut self.state().oidc_providers;
        providers.retain(|known| (&known.account, &known.issuer) != (&provider.account, &provider.issuer));
    }

    /// Takes a role away.
    pub fn remove_role(&self, arn: &str) {
        self.state().roles.remove(arn);
    }

    /// Throttles every account in every Region to so many calls a second, after a burst.
    pub fn throttle(&self, rate: f64, burst: f64) {
        let mut state = self.state();
        state.throttle = Some((rate, burst));
        state.buckets.clear();
    }

    /// As many calls as anybody makes, again.
    pub fn throttle_no_more(&self) {
        let mut state = self.state();
        state.throttle = None;
        state.buckets.clear();
    }

    /// From now on no session lasts longer, whatever is asked for: AWS gives fifteen minutes at least, and a test has not the time.
    pub fn shorten_sessions(&self, longest: Duration) {
        self.state().longest_session = Some(longest);
    }

    /// Every answer over HTTP takes that long from now on, a refusal too. A call in this process brings a latency of its own.
    pub fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// How long an answer over HTTP takes.
    pub fn latency(&self) -> Duration {
        self.state().latency
    }

    /// From now on this says what goes wrong with each call.
    pub fn inject_faults(&self, injector: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.state().fault_injector = Some(Box::new(injector));
    }

    /// Only counts calls from now on, and forgets sessions that have ended: thirty days have many.
    pub fn forget_calls(&self) {
        self.state().remember = false;
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How many calls of each kind ended how: `AssumeRole`, `AssumeRole AccessDenied`, ...
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.state().counts.clone()
    }

    /// Counts the calls of each second from now on.
    pub fn count_seconds(&self) {
        self.state().by_second = Some(BTreeMap::new());
    }

    /// The calls of each second of the epoch since they are counted. Seconds without any are left out.
    pub fn calls_by_second(&self) -> BTreeMap<i64, u64> {
        self.state().by_second.clone().unwrap_or_default()
    }

    /// The calls for a session of a role, refused or not.
    pub fn assumed(&self, role_arn: &str) -> usize {
        let of_role = |call: &&Call| call.request.role_arn() == Some(role_arn);
        self.state().calls.iter().filter(of_role).count()
    }

    /// When the session of an access key ends, if there is such a session.
    pub fn session_end(&self, access_key_id: &str) -> Option<Timestamp> {
        let state = self.state();
        Some(state.principals.get(access_key_id)?.session.as_ref()?.expiration)
    }

    /// When a registry token ends, by the beginning of its password.
    pub fn token_end(&self, password: &str) -> Option<Timestamp> {
        Some(self.state().tokens.get(password)?.expiration)
    }

    /// The role that a registry token was given to, by the beginning of its password.
    pub fn token_role(&self, password: &str) -> Option<String> {
        self.state().tokens.get(password)?.role_arn.clone()
    }

    /// What goes wrong with this call.
    pub fn fault(&self, region: &str, request: &Request) -> Option<Fault> {
        let mut state = self.state();
        if state.silent.contains(region) {
            return Some(Fault::Hang);
        }
        state.fault_injector.as_mut().and_then(|injector| injector(request))
    }

    /// The principal of an access key, for the checking of a signature.
    pub fn principal(&self, access_key_id: &str) -> Option<Principal> {
        self.state().principals.get(access_key_id).cloned()
    }

    /// Answers a call whose signature is right.
    ///
    /// # Errors
    /// With what AWS would say.
    pub fn answer(
        &self,
        access_key_id: &str,
        token: Option<&str>,
        region: &str,
        request: &Request,
        fault: Option<&Fault>,
    ) -> Result<Reply, Refusal> {
        let now = self.now();
        let mut state = self.state();
        let answer = state.answer(now, access_key_id, token, region, request, fault);
        state.record(now, access_key_id, region, request, answer.as_ref().err());
        answer
    }

    /// Records a call that was answered before it came here.
    pub fn record(&self, access_key_id: &str, region: &str, request: &Request, refusal: Option<&Refusal>) {
        let now = self.now();
        self.state().record(now, access_key_id, region, request, refusal);
    }

    /// Whether a registry token opens a repository for an action, as a registry decides it.
    pub fn token_allows(&self, password: &str, action: &str, resource: &str) -> bool {
        let now = self.now();
        let state = self.state();
        state.tokens.get(password).is_some_and(|token| {
            token.expiration > now && policy::all_allow(&token.policies, action, resource, &BTreeMap::new())
        })
    }
}

/// A role that trusts everybody of the operator's account, for stories that are about something else.
pub fn open_role() -> Role {
    Role {
        trust: serde_json::json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
            "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
        }]}),
        policies: vec![allow_all()],
        max_session: 43_200,
    }
}

/// A policy that allows everything.
pub fn allow_all() -> Value {
    serde_json::json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
}
