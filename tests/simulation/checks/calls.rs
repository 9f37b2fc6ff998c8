//! What is promised of the calls to AWS: none for nothing, and none for what is deleted.

use super::Checks;

/// The least time between two calls for one resource that nothing set off, in seconds.
const LEAST_PAUSE: i64 = 4;

/// The calls for one resource.
#[derive(Default)]
pub(super) struct Calls {
    last: Option<i64>,
    /// How many more may come without a pause, for reasons that have not been used up.
    allowed: u32,
}

impl Checks {
    /// Something happened for which a resource may ask AWS at once.
    pub fn allow_call(&self, uid: &str) {
        self.note(&format!("{uid} has a reason for a call"));
        self.state().calls.entry(uid.to_owned()).or_default().allowed += 1;
    }

    pub fn allow_calls_of_all(&self) {
        for calls in self.state().calls.values_mut() {
            calls.allowed += 1;
        }
    }

    pub fn resource_deleted(&self, uid: &str) {
        self.state().deleted.insert(uid.to_owned());
    }

    /// A call is made for a resource.
    pub fn called(&self, uid: &str) {
        self.note(&format!("a call to AWS for {uid}"));
        let now = self.seconds();
        let mut state = self.state();
        if state.deleted.contains(uid) {
            drop(state);
            self.fail(&format!(
                "AWS was asked for the credentials of {uid}, which was deleted"
            ));
        }
        let calls = state.calls.entry(uid.to_owned()).or_default();
        let too_soon = calls.last.is_some_and(|last| now - last < LEAST_PAUSE);
        calls.last = Some(now);
        if too_soon {
            if calls.allowed == 0 {
                drop(state);
                self.fail(&format!(
                    "AWS was asked for {uid} twice within {LEAST_PAUSE} s for no reason"
                ));
            }
            calls.allowed -= 1;
        }
    }
}
