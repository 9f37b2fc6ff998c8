//! How the operator stands when somebody asks: its resources one by one, its gate, its clocks.

use k8s_openapi::jiff::Timestamp;

use crate::aws::gate::GateStanding;
use crate::refresh::standing::Standing;
use crate::spec::ResourceKey;

/// How things stand. Made anew for everyone who asks: nothing of a resource outlives it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// How many resources have an actor, at work or at rest.
    pub actors: usize,
    /// The present, by AWS's clock.
    pub now: Timestamp,
    /// How far AWS's clock is ahead of the operator's, in seconds.
    pub skew_seconds: i64,
    /// The gate before AWS.
    pub gate: GateStanding,
    /// When each watch was last heard, or began, by AWS's clock; of several on the same kind the one that has been silent for longest. The
    /// names are those of the metric.
    pub watches: [(&'static str, Timestamp); 2],
    /// How many of the namespaces that are watched each by itself have not been listed yet, for want of rights or since they are not there.
    pub unwatched_scopes: usize,
    /// What the policies say of the resources, each word with how many it is said of.
    pub rulings: [(&'static str, usize); 4],
    /// The resources.
    pub resources: Vec<(ResourceKey, Standing)>,
}
