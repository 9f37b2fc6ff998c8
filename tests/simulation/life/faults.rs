//! What goes wrong around the operator: single calls of AWS, and for a while AWS, the API server, the watches and the clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::Life;
use crate::checks::Checks;
use support::strict_aws::{Fault, Refusal, Request};

/// What fails at AWS by itself.
pub(super) struct AwsFaults {
    pub(super) random: Rng,
    pub(super) checks: Checks,
    pub(super) down: Arc<Mutex<bool>>,
    pub(super) on: Arc<Mutex<bool>>,
}

impl AwsFaults {
    pub(super) fn next(&mut self, _: &Request) -> Option<Fault> {
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
            _ => return None,
        };
        self.checks.count(kind);
        Some(fault)
    }
}

impl Life {
    pub(super) fn is_going_on(&self, what: &'static str) -> bool {
        self.going_on.lock().unwrap().contains(what)
    }

    /// Begins something that ends after a while; nothing if it goes on already.
    fn for_a_while(&mut self, what: &'static str, seconds: u64, end: impl FnOnce() + Send + 'static) -> bool {
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

    pub(super) async fn aws_goes_away(&mut self) {
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
            self.checks.count("watch: lost and listed again");
            self.api.break_watches();
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
            time.lie_by(0);
        }) {
            self.checks.note(&format!("* clock is ahead by {by} s"));
            self.checks.count("clock: stepped");
            self.checks.allow_calls_of_all();
            self.time.lie_by(by);
        }
    }
}
