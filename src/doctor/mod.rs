//! Why a role does not work: the operator's surroundings and one resource, looked at as the operator does, without changing anything.
//!
//! [`examination`] asks: the API server, what anybody may ask and read; AWS, what the operator asks it before a Secret is written. The rest is
//! pure: each part turns what was found into [`report::Check`]s, with what to do about those that failed.

pub mod examination;
pub mod report;
mod resource;
mod rights;
mod session;
mod surroundings;
pub mod target;
