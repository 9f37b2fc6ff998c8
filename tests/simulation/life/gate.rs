//! A life in which AWS is so slow at times, and the operator may make so few calls at once, that credentials end while their replacement
//! waits at the gate.

use std::time::Duration;

use super::{Life, Setting};
use support::strict_aws::Fault;

/// How long a status may still call credentials good that have ended, in seconds.
const SHOWN_WITHIN: i64 = 60;

/// How long AWS is slow, and then is not, in seconds.
const PHASE: u64 = 3600;

/// How long a call takes then.
const SLOW: Duration = Duration::from_secs(20);

impl Life {
    pub(super) async fn wait_at_the_gate(&mut self, setting: &Setting) {
        let time = self.time.clone();
        self.aws
            .inject_faults(move |_| (time.seconds() / PHASE % 2 == 1).then_some(Fault::Slow(SLOW)));
        self.api.stop_faults();
        // Nobody can avoid it.
        self.checks.begin_outage("gate");
        self.populate(setting);
        self.start_alone().await;
        while self.time.seconds() < setting.days * 86_400 {
            tokio::time::sleep(Duration::from_secs(30)).await;
            self.check_ended();
        }
    }

    fn check_ended(&self) {
        for (secret, owner) in self.checks.ended_for(SHOWN_WITHIN) {
            let status = self.api.resource(&owner).and_then(|resource| resource.status);
            let ready = status.and_then(|status| status.conditions.first().cloned());
            if ready.as_ref().is_none_or(|ready| ready.status != "False") {
                self.checks.fail(&format!(
                    "Secret {secret} of {owner} holds credentials that ended {SHOWN_WITHIN} s ago, and the status says {ready:?}"
                ));
            }
        }
    }
}
