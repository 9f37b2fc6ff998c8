//! Short-lived AWS credentials in Kubernetes Secrets, always fresh, never leaked.
//!
//! The way of the data: a watch event ([`cluster::watch`]) reaches the supervisor ([`operator::supervisor`]), which hands the resource,
//! narrowed to its [`spec`], to its role actor ([`operator::role`]). The actor runs a cycle ([`operator::cycle`]): it looks at the Secret,
//! decides what to do ([`refresh::plan`]), asks AWS for a session ([`aws`]), writes the [`secret`], decides what the status says
//! ([`refresh::status`]) and writes it. Then it sleeps until the next cycle is due ([`refresh::schedule`]).
//!
//! The rooms, from top to bottom. A room knows only rooms below it.
//!
//! - [`cli`]: the command line, and the wiring.
//! - [`doctor`]: why a role does not work. It looks, and changes nothing.
//! - [`operator`]: the actors and their cycles. The doing, between the decisions.
//! - [`telemetry`]: logs, traces, metrics and the HTTP server. It watches by wrapping, or is fed.
//! - [`refresh`]: what to do, when, and what came of it. Pure.
//! - [`cluster`], [`aws`]: the two outside worlds, each behind a trait. They do not know each other.
//! - [`secret`]: the Secret as it is to be and as it was seen. Pure.
//! - [`spec`]: what a resource asks for, parsed and checked. Pure.
//! - [`api`]: `AWSAssumeRole` as people write it.
//! - [`fence`]: the leave to make calls, which ends when the lease does.
//! - [`clock`], [`credentials`], [`errors`], [`digest`], [`transport`]: the time, types that cannot be printed, words for errors, hashes, the
//!   way to a server.

pub mod api;
pub mod aws;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod credentials;
pub mod digest;
pub mod doctor;
pub mod errors;
pub mod fence;
pub mod operator;
pub mod refresh;
pub mod secret;
pub mod spec;
pub mod telemetry;
pub mod transport;
