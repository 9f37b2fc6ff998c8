//! Short-lived AWS credentials in Kubernetes Secrets, always fresh, never leaked.
//!
//! The way of the data: a watch event ([`cluster::watch`]) reaches the [`supervisor`], which hands the resource, narrowed to
//! what is [`wanted`], to its [`role`] actor. The actor runs a [`cycle`]: it looks at the Secret, decides what to do
//! ([`refresh::plan`]), asks AWS for a session ([`aws`]), writes the [`secret`], decides what came of it
//! ([`refresh::outcome`]) and writes the status. Then it sleeps until the next is due ([`refresh::schedule`]).
//!
//! - [`resource`]: the API, `AWSAssumeRole`.
//! - [`wanted`]: a resource narrowed to the parts that are acted on.
//! - [`supervisor`], [`role`]: the actors.
//! - [`cycle`]: the doing, between the decisions.
//! - [`refresh`], [`secret`]: the deciding, pure. They know neither actors nor clients.
//! - [`aws`], [`cluster`]: the two outside worlds, each behind a trait.
//! - [`credentials`]: types that cannot be printed.
//! - [`clock`], [`task`]: the time, and tasks that end with their owner.
//! - [`telemetry`], [`configuration`]: logs; flags.

pub mod aws;
pub mod clock;
pub mod cluster;
pub mod configuration;
pub mod credentials;
pub mod cycle;
pub mod refresh;
pub mod resource;
pub mod role;
pub mod secret;
pub mod supervisor;
pub mod task;
pub mod telemetry;
pub mod wanted;
