//! What is promised of statuses: each write says something new, and they are true.

use aws_assume_role::api::AWSAssumeRoleStatus;
use k8s_openapi::jiff::Timestamp;

use super::Checks;

impl Checks {
    /// The answer to a write of the status was lost, or the actor that would know of it.
    pub fn status_unknown(&self, uid: &str) {
        self.state().unknown_statuses.insert(uid.to_owned());
    }

    pub fn all_statuses_unknown(&self) {
        let mut state = self.state();
        let all: Vec<String> = state.calls.keys().cloned().collect();
        state.unknown_statuses.extend(all);
    }

    pub fn status_written(
        &self,
        uid: &str,
        before: Option<&AWSAssumeRoleStatus>,
        after: &AWSAssumeRoleStatus,
        now: Timestamp,
    ) {
        let ready = after
            .conditions
            .first()
            .map(|ready| format!("{} {}", ready.status, ready.reason));
        self.note(&format!("{uid} status {ready:?} next {:?}", after.next_refresh_time));
        let mut state = self.state();
        if let Some(ready) = after.conditions.first() {
            *state.figures.statuses.entry(ready.reason.clone()).or_default() += 1;
        }
        let unknown = state.unknown_statuses.remove(uid);
        drop(state);
        if before == Some(after) && !unknown {
            self.fail(&format!(
                "a status of {uid} that said nothing new was written: {after:?}"
            ));
        }
        let types: Vec<_> = after
            .conditions
            .iter()
            .map(|condition| condition.type_.as_str())
            .collect();
        if types != ["Ready", "Refreshed"] {
            self.fail(&format!("a status has the conditions {types:?}"));
        }
        let ready = &after.conditions[0];
        let expired = after
            .expiration
            .as_ref()
            .is_none_or(|end| end.0.as_second() < now.as_second() - 60);
        if ready.status == "True" && expired && !self.time.lies() {
            self.fail(&format!(
                "a status says Ready of credentials that have expired: {after:?}"
            ));
        }
    }
}
