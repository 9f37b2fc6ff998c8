//! The operator at work: the supervisor ([`supervisor`]) with a role actor per resource ([`role`]), and what such an actor does each time
//! ([`cycle`]). Above the supervisor stands the [`leader`], which lets it act while this replica holds the Lease. Templates are rendered apart ([`renderer`]). What all of them share is the [`context`].

pub mod boundary;
pub mod context;
pub mod cycle;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod leader;
pub mod renderer;
pub mod role;
pub mod supervisor;
