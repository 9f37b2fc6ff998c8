//! What a refresh is, decided: what is to be done and why ([`plan`]), when it is due ([`schedule`]), how long AWS and the Secret are left
//! alone ([`pace`]), what came of it ([`outcome`]), what the status says then ([`status`], [`advice`]), which event it is worth ([`events`]),
//! how a resource stands ([`standing`]), what is in order when it is found ([`in_order`]), and what the policies permit ([`policy`]). Pure: plain values in, plain values out. It has no client and no actor.

pub mod advice;
pub mod events;
pub mod in_order;
pub mod outcome;
pub mod pace;
pub mod plan;
pub mod policy;
pub mod schedule;
pub mod standing;
pub mod status;

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
