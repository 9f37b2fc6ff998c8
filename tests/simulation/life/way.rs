//! The way of a process to AWS, which panics now and then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once};

use aws_assume_role::aws::{AssumeRole, AssumeRoleWithWebIdentity, Aws, AwsError, Identity, Region};
use aws_assume_role::credentials::{Credentials, RegistryLogin, ServiceAccountToken, Session};
use aws_assume_role::spec::ecr::EcrEndpoint;
use fastrand::Rng;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::checks::Checks;
use crate::process::Process;
use support::strict_aws::in_process::InProcess;

pub(super) fn silence_planted_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&"planted") {
                usual(panic);
            }
        }));
    });
}

/// The way to AWS: watched, and with a panic in it now and then.
pub(super) struct WatchedAws {
    pub(super) aws: InProcess,
    pub(super) process: Process,
    pub(super) checks: Checks,
    pub(super) owners: Arc<Mutex<BTreeMap<String, String>>>,
    /// Whether it panics at all.
    pub(super) faults: Arc<Mutex<bool>>,
    pub(super) random: Mutex<Rng>,
}

impl Aws for WatchedAws {
    fn region(&self) -> Region {
        self.aws.region()
    }

    fn credentials_generation(&self) -> u64 {
        self.aws.credentials_generation()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        async move {
            let answer = self.call(self.aws.identity()).await;
            if !matches!(answer, Ok(_) | Err(AwsError::NoIdentity(_))) {
                self.checks.something_else_failed();
            }
            answer
        }
        .boxed()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        let call = async move {
            let uid = self.owners.lock().unwrap().get(&request.role_arn).cloned();
            if let Some(uid) = uid {
                self.called(&uid);
            }
            self.aws.assume_role(request).await
        };
        async move {
            let answer = self.call(call).await;
            match &answer {
                Ok(session) => {
                    self.checks.identity_taken();
                    self.checks.told_time(&self.process, session.answered);
                }
                Err(AwsError::NoIdentity(_)) => self.checks.identity_refused(),
                Err(_) => self.checks.something_else_failed(),
            }
            answer
        }
        .boxed()
    }

    fn assume_role_with_web_identity<'a>(
        &'a self,
        request: &'a AssumeRoleWithWebIdentity,
        token: &'a ServiceAccountToken,
    ) -> BoxFuture<'a, Result<Session, AwsError>> {
        let call = async move {
            let uid = self.owners.lock().unwrap().get(&request.role_arn).cloned();
            if let Some(uid) = uid {
                self.checks.count("aws: web identity");
                self.called(&uid);
            }
            self.aws.assume_role_with_web_identity(request, token).await
        };
        async move {
            // It tells nothing of the operator's own identity.
            let answer = self.call(call).await;
            match &answer {
                Ok(session) => self.checks.told_time(&self.process, session.answered),
                Err(_) => self.checks.something_else_failed(),
            }
            answer
        }
        .boxed()
    }

    fn registry_login<'a>(
        &'a self,
        endpoint: &'a EcrEndpoint,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        self.call(self.aws.registry_login(endpoint, credentials)).boxed()
    }
}

impl WatchedAws {
    /// Makes a call. A process that is stopped meanwhile hears the answer when it goes on.
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.process.leave().await;
        self.checks.acts(self.process.number);
        let answer = call.await;
        self.process.runs().await;
        answer
    }

    /// A call for a resource begins, and may panic.
    fn called(&self, uid: &str) {
        self.checks.called(uid, &self.process);
        let panics = *self.faults.lock().unwrap() && self.random.lock().unwrap().u32(0..20_000) == 0;
        if panics {
            self.checks.count("actor: panic");
            self.checks.allow_call(uid);
            self.checks.status_unknown(uid);
            std::panic::panic_any("planted");
        }
    }
}
