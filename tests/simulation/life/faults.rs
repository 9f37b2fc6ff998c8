//! What goes wrong around the operator: single calls of AWS, and for a while AWS, a registry, the operator's identity, the API server, the
//! watches and the clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::Life;
use super::people::{OTHER_ACCOUNT, SHARED_REGISTRY, request};
use crate::api_server::Watches;
use crate::checks::Checks;
use crate::time::Time;
use support::fixtures::SECRET_ACCESS_KEY;
use support::strict_aws::{Fault, Refusal, Request, allow_all};

/// The Region of the registries.
const REGISTRY_REGION: &str = "eu-west-1";

/// What fails at AWS by itself.
pub(super) struct AwsFaults {
    pub(super) random: Rng,
    pub(super) checks: Checks,
    pub(super) down: Arc<Mutex<bool>>,
    pub(super) on: Arc<Mutex<bool>>,
    pub(super) time: Time,
    /// The resources by the ARNs of their roles.
    pub(super) owners: Arc<Mutex<BTreeMap<String, String>>>,
}

impl AwsFaults {
    pub(super) fn next(&mut self, asked: &Request) -> Option<Fault> {
        if *self.down.lock().unwrap() {
            return Some(match self.random.u8(0..3) {
                0 => Fault::Reset,
                1 => Fault::Hang,
                _ => Fault::Refuse(Refusal::new(503, "ServiceUnavailable", "away")),
            });
        }
        if !*self.on.lock().unwrap() {
            return None;
        }
        let refuse = |status, code: &str| Fault::Refuse(Refusal::new(status, code, "planted"));
        let (kind, fault) = match self.random.u32(0..1000) {
            0..8 => ("aws: throttling", refuse(400, "Throttling")),
            8..14 => ("aws: internal failure", refuse(500, "InternalFailure")),
            14..20 => ("aws: reset", Fault::Reset),
            20..22 => ("aws: hang", Fault::Hang),
            22..30 => ("aws: slow", Fault::Slow(Duration::from_secs(self.random.u64(1..25)))),
            30..34 => ("aws: garbage", Fault::Garbage),
            34..37 => ("aws: truncated", Fault::Truncated),
            37..40 => ("aws: end in the past", Fault::PastEnd),
            40..43 => ("aws: end in ten seconds", Fault::ShortEnd),
            43..45 => ("aws: expired token", refuse(403, "ExpiredToken")),
            45..48 => ("aws: end in the year 9999", Fault::FarEnd),
            // While the clock is wrong by hours as well, nothing tells which of the two is.
            48..51 if !self.time.lies() => {
                let by = self.random.i64(3600..300_000);
                (
                    "aws: wrong date",
                    Fault::WrongDate(if self.random.bool() { by } else { -by }),
                )
            }
            _ => return None,
        };
        if let Some(role_arn) = asked.role_arn()
            && let Some(uid) = self.owners.lock().unwrap().get(role_arn)
        {
            self.checks.note(&format!("{uid}: {kind}"));
            if fault == Fault::ShortEnd {
                self.checks.has_reason(uid);
            }
        }
        self.checks.count(kind);
        Some(fault)
    }
}

impl Life {
    pub(super) fn is_going_on(&self, what: &'static str) -> bool {
        self.going_on.lock().unwrap().contains(what)
    }

    /// Begins something that ends after a while; nothing if it goes on already.
    pub(super) fn for_a_while(
        &mut self,
        what: &'static str,
        seconds: u64,
        end: impl FnOnce() + Send + 'static,
    ) -> bool {
        if !self.going_on.lock().unwrap().insert(what) {
            return false;
        }
        let going_on = self.going_on.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            end();
            going_on.lock().unwrap().remove(what);
        });
        true
    }

    pub(super) fn aws_goes_away(&mut self) {
        let seconds = self.random.u64(20..3600);
        let (down, checks) = (self.aws_down.clone(), self.checks.clone());
        if self.for_a_while("aws", seconds, move || {
            *down.lock().unwrap() = false;
            checks.end_outage("aws");
        }) {
            self.checks.count("aws: away");
            self.checks.begin_outage("aws");
            *self.aws_down.lock().unwrap() = true;
        }
    }

    pub(super) fn api_server_goes_away(&mut self) {
        let seconds = self.random.u64(5..900);
        let (api, checks) = (self.api.clone(), self.checks.clone());
        if self.for_a_while("api server", seconds, move || {
            api.set_down(false);
            checks.end_outage("api server");
        }) {
            self.checks.count("api server: away");
            self.checks.begin_outage("api server");
            self.api.set_down(true);
        }
    }

    pub(super) fn watches_break(&mut self) {
        let seconds = self.random.u64(1..300);
        let api = self.api.clone();
        if self.for_a_while("watch", seconds, move || api.mend_watches()) {
            self.checks.note("* watches are lost");
            self.checks.count("watch: lost and listed again");
            self.api.silence(Watches::Both);
        }
    }

    /// A connection that died without a word is noticed within a minute.
    pub(super) fn watch_falls_silent(&mut self) {
        let watches = match self.random.u8(0..3) {
            0 => Watches::Resources,
            1 => Watches::Secrets,
            _ => Watches::Both,
        };
        let seconds = self.random.u64(20..60);
        let (api, checks) = (self.api.clone(), self.checks.clone());
        if self.for_a_while("watch", seconds, move || {
            checks.note("* watches are heard again");
            api.mend_watches();
        }) {
            self.checks.note(&format!("* {watches:?} are silent"));
            self.checks.count("watch: silent");
            self.api.silence(watches);
        }
    }

    /// Somebody else's account and Region are throttled. All other calls are as ever.
    pub(super) fn registry_throttles(&mut self) {
        let seconds = self.random.u64(1800..20_000);
        let (aws, checks) = (self.aws.clone(), self.checks.clone());
        if self.for_a_while("registry", seconds, move || {
            aws.throttle_registry(OTHER_ACCOUNT, REGISTRY_REGION, None);
            checks.end_outage_for_sharers(SHARED_REGISTRY);
        }) {
            self.checks.count("aws: one registry throttles");
            self.checks.begin_outage_for_sharers(SHARED_REGISTRY);
            self.aws
                .throttle_registry(OTHER_ACCOUNT, REGISTRY_REGION, Some((0.005, 1.0)));
        }
    }

    /// The operator's access key is refused from now on. Its provider has another one a while later.
    pub(super) fn identity_is_revoked(&mut self) {
        let seconds = self.random.u64(20..1800);
        let key = format!("AKIAOPERATOR1{:07}", self.number);
        let (aws, keys, checks) = (self.aws.clone(), self.keys.clone(), self.checks.clone());
        self.number += 1;
        if self.for_a_while("identity", seconds, move || {
            aws.add_user("operator", &key, SECRET_ACCESS_KEY, allow_all());
            keys.offer(&key);
            checks.end_outage("identity");
            checks.identity_is_to_be_had();
        }) {
            self.checks.count("aws: identity revoked");
            self.checks.begin_outage("identity");
            self.aws.revoke_key(&self.keys.current());
        }
    }

    pub(super) fn aws_throttles(&mut self) {
        let seconds = self.random.u64(300..3600);
        let aws = self.aws.clone();
        let checks = self.checks.clone();
        if self.for_a_while("throttle", seconds, move || {
            checks.note("* aws throttles no more");
            aws.throttle(1000.0, 1000.0);
        }) {
            self.checks.note("* aws throttles");
            self.checks.count("aws: a small bucket");
            self.aws.throttle(2.0, 4.0);
        }
    }

    pub(super) fn clock_lies(&mut self) {
        let by = self.random.i64(60..7200) * if self.random.bool() { 1 } else { -1 };
        let seconds = self.random.u64(300..20_000);
        let (time, checks) = (self.time.clone(), self.checks.clone());
        if self.for_a_while("clock", seconds, move || {
            checks.note("* clock is right again");
            checks.allow_calls_of_all();
            time.lie_by(0);
        }) {
            self.checks.note(&format!("* clock is ahead by {by} s"));
            self.checks.count("clock: stepped");
            self.checks.allow_calls_of_all();
            self.time.lie_by(by);
            self.aws_answers_before_it_is_noticed();
        }
    }

    /// The operator compares its clocks every ten seconds. Until then it takes AWS's answers with the clock as it is.
    fn aws_answers_before_it_is_noticed(&mut self) {
        for _ in 0..self.random.u8(0..4) {
            self.number += 1;
            let (place, number) = (self.some_place(), self.number);
            let pause = Duration::from_millis(self.random.u64(0..10_000));
            let (api, checks) = (self.api.clone(), self.checks.clone());
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                checks.count("clock: refresh requested before the step is noticed");
                request(&api, &checks, &place, number);
            });
        }
    }
}
