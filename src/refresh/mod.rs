//! What a refresh is, decided: when it is due, what is to be done, what came of it. Pure: plain values in, plain values out.

pub mod advice;
pub mod event;
pub mod outcome;
pub mod plan;
pub mod schedule;

/// What set a cycle off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Trigger {
    /// The resource appeared, or the operator started, or its actor was started again.
    Created,
    /// The spec changed.
    SpecChanged,
    /// Somebody asked for it.
    Requested,
    /// The Secret was deleted or edited.
    SecretChanged,
    /// The credentials come to their end.
    Due,
    /// An earlier attempt failed.
    Retry,
}
