//! A stand-in for STS and ECR that refuses what AWS refuses, with AWS's codes and in its words.
//!
//! One core with two fronts: [`in_process`] for the simulation, [`http`] for the operator as a process. Each rule names the page that it
//! comes from. Every call is recorded; a plan can make any call fail, in any of the ways in which networks and services fail.

// Three test programs share this; none uses all of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::large_enum_variant)]

pub mod http;
pub mod in_process;
pub mod policy;
mod rules;
pub mod signature;
pub mod throttle;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use throttle::Bucket;

/// The account of the operator.
pub const ACCOUNT: &str = "123456789012";

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
struct Token {
    policies: Vec<Vec<Value>>,
    expiration: Timestamp,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `sts:GetCallerIdentity`.
    GetCallerIdentity,
    /// `sts:AssumeRole`.
    AssumeRole(AssumeRole),
    /// `ecr:GetAuthorizationToken`.
    GetAuthorizationToken,
}

/// The parameters of `AssumeRole`, as they came: a list may hold anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssumeRole {
    pub role_arn: String,
    pub session_name: String,
    pub duration: Option<i64>,
    pub policy: Option<String>,
    pub policy_arns: Vec<String>,
    pub tags: Vec<(String, String)>,
    pub transitive_tag_keys: Vec<String>,
    pub external_id: Option<String>,
    pub source_identity: Option<String>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Identity {
        account: String,
        arn: String,
    },
    Session {
        access_key_id: String,
        secret: String,
        token: String,
        expiration: Timestamp,
    },
    Token {
        password: String,
        expiration: Timestamp,
    },
}

/// What is answered instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            retry_after: None,
        }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with an error.
    Refuse(Refusal),
    /// The connection ends without an answer.
    Reset,
    /// No answer ever comes.
    Hang,
    /// The answer takes its time.
    Slow(Duration),
    /// The answer is not one.
    Garbage,
    /// The answer is cut off in the middle.
    Truncated,
    /// The session ends before it began.
    PastEnd,
    /// The session ends in ten seconds.
    ShortEnd,
}

/// One call, as it is remembered.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Timestamp,
    pub access_key_id: String,
    pub region: String,
    pub request: Request,
    /// The code of the refusal, if it was refused.
    pub refused: Option<String>,
}

type Plan = Box<dyn FnMut(&Request) -> Option<Fault> + Send>;
type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

struct State {
    principals: HashMap<String, Principal>,
    roles: HashMap<String, Role>,
    tokens: HashMap<String, Token>,
    buckets: HashMap<String, Bucket>,
    throttle: Option<(f64, f64)>,
    plan: Option<Plan>,
    calls: Vec<Call>,
    remember: bool,
    counts: BTreeMap<String, u64>,
    number: u64,
}

/// The stand-in.
#[derive(Clone)]
pub struct StrictAws {
    now: Now,
    state: Arc<Mutex<State>>,
}

impl StrictAws {
    /// An AWS without anybody in it, that lives by a clock.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            now: Arc::new(now),
            state: Arc::new(Mutex::new(State {
                principals: HashMap::new(),
                roles: HashMap::new(),
                tokens: HashMap::new(),
                buckets: HashMap::new(),
                throttle: None,
                plan: None,
                calls: Vec::new(),
                remember: true,
                counts: BTreeMap::new(),
                number: 0,
            })),
        }
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

    /// Makes a role, or another one of it.
    pub fn add_role(&self, arn: &str, role: Role) {
        self.state().roles.insert(arn.to_owned(), role);
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

    /// From now on the plan says what goes wrong with each call.
    pub fn plan(&self, plan: impl FnMut(&Request) -> Option<Fault> + Send + 'static) {
        self.state().plan = Some(Box::new(plan));
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

    /// The calls of `AssumeRole` for a role, refused or not.
    pub fn assumed(&self, role_arn: &str) -> usize {
        let of_role =
            |call: &&Call| matches!(&call.request, Request::AssumeRole(request) if request.role_arn == role_arn);
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

    /// What goes wrong with this call.
    pub fn fault(&self, request: &Request) -> Option<Fault> {
        self.state().plan.as_mut().and_then(|plan| plan(request))
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

    /// Writes a call down that the front answered by itself.
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

impl State {
    fn record(
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
            Request::GetAuthorizationToken => "GetAuthorizationToken",
        };
        let name = refusal.map_or_else(|| kind.to_owned(), |refusal| format!("{kind} {}", refusal.code));
        *self.counts.entry(name).or_default() += 1;
        if self.remember {
            self.calls.push(Call {
                at: now,
                access_key_id: access_key_id.to_owned(),
                region: region.to_owned(),
                request: request.clone(),
                refused: refusal.map(|refusal| refusal.code.clone()),
            });
        } else if self.principals.len() > 20_000 {
            let alive = |principal: &Principal| {
                principal
                    .session
                    .as_ref()
                    .is_none_or(|session| session.expiration > now)
            };
            self.principals.retain(|_, principal| alive(principal));
            self.tokens.retain(|_, token| token.expiration > now);
        }
    }

    fn answer(
        &mut self,
        now: Timestamp,
        access_key_id: &str,
        token: Option<&str>,
        region: &str,
        request: &Request,
        fault: Option<&Fault>,
    ) -> Result<Reply, Refusal> {
        if let Some(Fault::Refuse(refusal)) = fault {
            return Err(refusal.clone());
        }
        let caller = self.caller(now, access_key_id, token)?;
        self.pass_throttle(now, region)?;
        match request {
            Request::GetCallerIdentity => Ok(Reply::Identity {
                account: ACCOUNT.to_owned(),
                arn: caller.arn,
            }),
            Request::AssumeRole(request) => {
                let mut session = rules::assume_role(&caller, self.roles.get(&request.role_arn), request, now)?;
                match fault {
                    Some(Fault::PastEnd) => session.1 = Timestamp::UNIX_EPOCH,
                    Some(Fault::ShortEnd) => session.1 = now + Duration::from_secs(10),
                    _ => {}
                }
                Ok(self.open(session.0, session.1))
            }
            Request::GetAuthorizationToken => {
                let resource = "*";
                if !policy::all_allow(
                    &caller.policies,
                    "ecr:GetAuthorizationToken",
                    resource,
                    &BTreeMap::new(),
                ) {
                    return Err(rules::not_authorized(
                        &caller.arn,
                        "ecr:GetAuthorizationToken",
                        resource,
                        " because no identity-based policy allows the ecr:GetAuthorizationToken action",
                    ));
                }
                // Twelve hours, or the end of the session.
                // <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
                let twelve_hours = now + Duration::from_secs(12 * 3600);
                let session_end = caller
                    .session
                    .as_ref()
                    .map_or(twelve_hours, |session| session.expiration);
                let expiration = twelve_hours.min(session_end);
                self.number += 1;
                let password = format!("ecr-token-{:08}-{}", self.number, "t".repeat(64));
                let token = Token {
                    policies: caller.policies,
                    expiration,
                };
                self.tokens.insert(password.clone(), token);
                Ok(Reply::Token { password, expiration })
            }
        }
    }

    /// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
    fn caller(&self, now: Timestamp, access_key_id: &str, token: Option<&str>) -> Result<Principal, Refusal> {
        let invalid = || {
            Refusal::new(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )
        };
        let principal = self.principals.get(access_key_id).ok_or_else(invalid)?;
        if principal.token.as_deref() != token {
            return Err(invalid());
        }
        if principal
            .session
            .as_ref()
            .is_some_and(|session| session.expiration <= now)
        {
            return Err(Refusal::new(
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            ));
        }
        Ok(principal.clone())
    }

    /// A token bucket per account and Region.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
    fn pass_throttle(&mut self, now: Timestamp, region: &str) -> Result<(), Refusal> {
        let Some((rate, burst)) = self.throttle else {
            return Ok(());
        };
        let bucket = self
            .buckets
            .entry(region.to_owned())
            .or_insert_with(|| Bucket::new(rate, burst, now));
        match bucket.take(now) {
            true => Ok(()),
            false => Err(Refusal::new(400, "Throttling", "Rate exceeded")),
        }
    }

    fn open(&mut self, mut session: Principal, told_end: Timestamp) -> Reply {
        self.number += 1;
        let access_key_id = format!("ASIA{:016}", self.number);
        let token = format!("session-token-{:08}-{}", self.number, "s".repeat(100));
        session.secret = format!("secret-key-{:029}", self.number);
        session.token = Some(token.clone());
        let secret = session.secret.clone();
        self.principals.insert(access_key_id.clone(), session);
        Reply::Session {
            access_key_id,
            secret,
            token,
            expiration: told_end,
        }
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
