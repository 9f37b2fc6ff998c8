//! The operator of a life: its way to AWS, which panics now and then, its start and its restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use aws_assume_role::aws::identity::KnownIdentity;
use aws_assume_role::aws::{AssumeRole, Aws, AwsError, Identity, Region};
use aws_assume_role::credentials::{Credentials, RegistryLogin, Session};
use aws_assume_role::operator::context::Context;
use aws_assume_role::operator::renderer::Renderer;
use aws_assume_role::operator::supervisor::Supervisor;
use aws_assume_role::telemetry::metrics::Metrics;
use fastrand::Rng;
use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::Actor;

use super::Life;
use crate::checks::Checks;
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
            let answer = self.aws.identity().await;
            if !matches!(answer, Ok(_) | Err(AwsError::NoIdentity(_))) {
                self.checks.something_else_failed();
            }
            answer
        }
        .boxed()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        let uid = self.owners.lock().unwrap().get(&request.role_arn).cloned();
        if let Some(uid) = uid {
            let uid = uid.as_str();
            self.checks.called(uid);
            let panics = *self.faults.lock().unwrap() && self.random.lock().unwrap().u32(0..20_000) == 0;
            if panics {
                self.checks.count("actor: panic");
                self.checks.allow_call(uid);
                self.checks.status_unknown(uid);
                std::panic::panic_any("planted");
            }
        }
        async move {
            let answer = self.aws.assume_role(request).await;
            match &answer {
                Ok(session) => {
                    self.checks.identity_taken();
                    self.checks.told_time(session.answered);
                }
                Err(AwsError::NoIdentity(_)) => self.checks.identity_refused(),
                Err(_) => self.checks.something_else_failed(),
            }
            answer
        }
        .boxed()
    }

    fn registry_login<'a>(
        &'a self,
        region: &'a str,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        self.aws.registry_login(region, credentials)
    }
}

impl Life {
    pub(super) async fn start_operator(&mut self) {
        let context = Context::open(
            Arc::new(KnownIdentity::new(self.way.clone())),
            Arc::new(self.api.clone()),
            Arc::new(self.time.clone()),
            self.limits,
            Renderer::inline(),
            Metrics::default(),
        );
        let context = context.await.unwrap();
        self.checks.watch_skew(context.skew.clone());
        self.operator = Some(Supervisor::spawn(None, Supervisor, context).await.unwrap());
    }

    pub(super) async fn restart(&mut self) {
        if self.is_going_on("clock") || self.is_going_on("watch") {
            return;
        }
        let Some((supervisor, ended)) = self.operator.take() else {
            return;
        };
        self.checks.begin_outage("operator");
        match self.random.bool() {
            true => {
                self.checks.count("operator: killed");
                supervisor.kill();
            }
            false => {
                self.checks.count("operator: stopped");
                supervisor.stop(None);
            }
        }
        ended.await.unwrap();
        self.api.drop_watches();
        let pause = self.random.u64(1..400);
        tokio::time::sleep(Duration::from_secs(pause)).await;
        self.checks.pauses_forgotten();
        self.checks.all_statuses_unknown();
        self.start_operator().await;
        self.checks.end_outage("operator");
    }
}
