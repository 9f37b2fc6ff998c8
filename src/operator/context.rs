//! What all actors share: the two outside worlds, the time, the boundary between tenants, the gate before AWS, the renderer of templates, what is counted, and the
//! signs of life.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use ractor::SpawnErr;

use super::boundary::Boundary;
use super::renderer::Renderer;
use crate::aws::Aws;
use crate::aws::gate::{Gate, Limits};
use crate::clock::{Clock, Skew};
use crate::cluster::Cluster;
use crate::refresh::schedule::shifted;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// What all actors share. Nothing in it is the state of a resource.
#[derive(Clone)]
pub struct Context {
    /// AWS.
    pub aws: Arc<dyn Aws>,
    /// The cluster.
    pub cluster: Arc<dyn Cluster>,
    /// The operator's clock.
    pub clock: Arc<dyn Clock>,
    /// How far AWS's clock is from the operator's.
    pub skew: Skew,
    /// Who may have which role, as far as the supervisor knows it.
    pub boundary: Boundary,
    /// The gate before AWS. The supervisor ends it.
    pub gate: Gate,
    /// Where templates are checked and rendered. The supervisor ends it too.
    pub renderer: Renderer,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the supervisor gives its signs of life.
    pub health: Health,
}

impl Context {
    /// Puts it together, with a gate of its own.
    ///
    /// # Errors
    /// When the gate cannot be started.
    pub async fn open(
        aws: Arc<dyn Aws>,
        cluster: Arc<dyn Cluster>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        renderer: Renderer,
        metrics: Metrics,
    ) -> Result<Self, SpawnErr> {
        Ok(Self {
            aws,
            cluster,
            clock,
            skew: Skew::default(),
            boundary: Boundary::default(),
            gate: Gate::open(limits).await?,
            renderer,
            metrics,
            health: Health::default(),
        })
    }

    /// The present, by AWS's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        shifted(self.clock.now(), self.skew.get())
    }
}
