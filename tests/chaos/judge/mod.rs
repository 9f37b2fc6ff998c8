//! What must hold, as plain functions over what was seen. Nothing here asks anybody, so that it can be shown to fail.

pub mod calls;
pub mod conditions;
pub mod foreign;
pub mod limits;
pub mod secrets;
pub mod timeline;
pub mod writers;

use std::time::Duration;

/// A moment, as the time since the start of the run.
pub type Moment = Duration;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub at: Moment,
    pub what: String,
    /// What it is about, as the log names it.
    pub subject: String,
}
