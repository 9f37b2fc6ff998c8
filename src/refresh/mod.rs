//! What a refresh is, decided: what is to be done and why ([`plan`]), when it is due ([`schedule`]), how long AWS and the Secret are left
//! alone ([`pace`]), who may have which role ([`policy`]) and what becomes of credentials that were withdrawn ([`withdrawal`]), what came of it
//! ([`outcome`]), what the status says then ([`status`], [`advice`]), which event it is worth ([`events`]), how a resource stands ([`standing`]),
//! and what is in order when it is found ([`in_order`]). Pure: plain values in, plain values out. It has no client and no actor.

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
pub mod withdrawal;

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
    /// Another ruling of the policies holds for it.
    PolicyChanged,
    /// The credentials come to their end.
    Due,
    /// An earlier attempt failed.
    Retry,
}
