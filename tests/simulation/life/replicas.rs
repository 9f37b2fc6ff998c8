//! The replicas of the operator in a life: their start, and what becomes of them and of their Lease.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_assume_role::aws::identity::KnownIdentity;
use aws_assume_role::operator::context::Context;
use aws_assume_role::operator::leader::{Leader, LeaderArguments, LeaderMessage};
use aws_assume_role::operator::renderer::Renderer;
use aws_assume_role::operator::supervisor::{Supervisor, SupervisorMessage};
use aws_assume_role::telemetry::health::Health;
use aws_assume_role::telemetry::metrics::Metrics;
use fastrand::Rng;
use futures::FutureExt;
use ractor::{Actor, ActorRef};
use support::strict_aws::in_process::InProcess;
use tokio::task::JoinHandle;

use super::Life;
use super::way::WatchedAws;
use crate::process::Process;

/// How many replicas there are.
const REPLICAS: usize = 2;

/// How long a call to AWS takes.
const LATENCY: Duration = Duration::from_millis(80);

/// A replica that runs, or is stopped for a while.
pub(super) struct Replica {
    process: Process,
    health: Health,
    leader: ActorRef<LeaderMessage>,
    ended: JoinHandle<()>,
}

impl Replica {
    /// Whether it knows the resources, so that it can lead.
    fn knows_the_resources(&self) -> bool {
        self.health.resources_listed().now_or_never().is_some()
    }
}

impl Life {
    /// Everything of a process but what lets it act.
    async fn context(&self, process: &Process) -> Context {
        let way = WatchedAws {
            aws: InProcess {
                aws: self.aws.clone(),
                keys: self.keys.clone(),
                latency: LATENCY,
            },
            process: process.clone(),
            checks: self.checks.clone(),
            owners: self.owners.clone(),
            faults: self.aws_faults.clone(),
            random: Mutex::new(Rng::with_seed(self.seed ^ 0xACE ^ process.number)),
        };
        let context = Context::open(
            Arc::new(KnownIdentity::new(Arc::new(way))),
            Arc::new(self.api.connect(process)),
            process.clock(),
            self.limits,
            Renderer::inline(),
            Metrics::default(),
        );
        let context = context.await.unwrap();
        process.has_skew(context.skew.clone());
        context
    }

    /// Starts the one operator of a life without replicas.
    pub(super) async fn start_alone(&mut self) {
        let process = Process::alone(&self.time);
        let context = self.context(&process).await;
        let (supervisor, _) = Supervisor::spawn(None, Supervisor, context).await.unwrap();
        supervisor.cast(SupervisorMessage::Lead).unwrap();
    }

    /// Starts the replicas that are missing.
    pub(super) async fn start_replicas(&mut self) {
        while self.replicas.len() < REPLICAS {
            self.processes += 1;
            let process = Process::new(self.processes, &self.time);
            let context = self.context(&process).await;
            let health = context.health.clone();
            let (supervisor, _) = Supervisor::spawn(None, Supervisor, context).await.unwrap();
            let leases = self.api.connect(&process);
            let arguments = LeaderArguments {
                supervisor,
                identity: leases.identity(),
                leases: Arc::new(leases),
                fence: process.fence(),
                clock: process.clock(),
                health: health.clone(),
            };
            let (leader, ended) = Leader::spawn(None, Leader, arguments).await.unwrap();
            self.replicas.push(Replica {
                process,
                health,
                leader,
                ended,
            });
        }
    }

    /// Something happens to the replicas, or to the Lease.
    pub(super) async fn replicas_suffer(&mut self) {
        if self.is_going_on("clock") || self.is_going_on("watch") {
            return;
        }
        let leader = self.api.holder();
        let leader = self
            .replicas
            .iter()
            .position(|replica| Some(replica.process.number) == leader);
        let Some(leader) = leader else {
            return;
        };
        // A change that comes when the API server is away proves nothing, and takes longer. So does one to a replica that has only just
        // started, and one for which a call must be waited for.
        let all_stand_by = self.replicas.iter().all(Replica::knows_the_resources);
        let limited = !self.is_going_on("api server") && !self.api.lease_hangs() && all_stand_by;
        match self.random.u8(0..10) {
            0 | 1 => {
                self.checks.leader_goes(false, false);
                for _ in 0..REPLICAS {
                    self.end_replica(0).await;
                }
                // The last of them may have got the lease from the one before.
                self.checks.leader_goes(false, false);
            }
            2 | 3 => {
                self.checks.count("replica: leader killed");
                self.checks.leader_goes(false, limited);
                self.kill_replica(leader).await;
            }
            4 | 5 => {
                self.checks.count("replica: leader told to stop");
                self.checks.leader_goes(true, limited);
                self.stop_replica(leader).await;
            }
            6 => {
                self.checks.count("replica: standby killed");
                self.kill_replica((leader + 1) % REPLICAS).await;
            }
            7 | 8 => return self.suspend(leader, limited).await,
            _ => return self.touch_the_lease(limited),
        }
        let pause = self.random.u64(1..400);
        tokio::time::sleep(Duration::from_secs(pause)).await;
        self.start_replicas().await;
    }

    async fn end_replica(&mut self, number: usize) {
        match self.random.bool() {
            true => {
                self.checks.count("operator: killed");
                self.kill_replica(number).await;
            }
            false => {
                self.checks.count("operator: stopped");
                self.stop_replica(number).await;
            }
        }
    }

    async fn kill_replica(&mut self, number: usize) {
        let replica = self.replicas.remove(number);
        // Nothing of it goes on, whatever its tasks are about to do.
        replica.process.stop();
        replica.leader.kill();
        replica.ended.await.unwrap();
        self.api.drop_watches(replica.process.number);
    }

    async fn stop_replica(&mut self, number: usize) {
        let replica = self.replicas.remove(number);
        replica.leader.stop(None);
        replica.ended.await.unwrap();
        self.api.drop_watches(replica.process.number);
    }

    /// The process that leads is stopped, and goes on as if nothing had happened.
    async fn suspend(&mut self, leader: usize, limited: bool) {
        let process = self.replicas[leader].process.clone();
        let beyond = self.random.bool();
        let seconds = match beyond {
            true => self.random.u64(20..400),
            false => self.random.u64(1..8),
        };
        self.checks
            .note(&format!("* replica {} is stopped for {seconds} s", process.number));
        if beyond {
            self.checks.count("replica: leader suspended beyond its lease");
            self.checks.leader_goes(false, limited);
        } else {
            self.checks.count("replica: leader suspended for a moment");
        }
        process.stop();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.checks.note(&format!("* replica {} goes on", process.number));
        process.go_on();
    }

    /// Somebody has his hands in the Lease.
    fn touch_the_lease(&mut self, limited: bool) {
        match self.random.u8(0..4) {
            0 => {
                self.checks.count("lease: deleted");
                self.checks.leader_goes(false, limited);
                self.api.delete_lease();
            }
            1 => {
                self.checks.count("lease: given to somebody");
                self.checks.leader_goes(false, limited);
                self.api.edit_lease(|mut record| {
                    record.holder = Some("somebody".to_owned());
                    record
                });
            }
            2 => {
                self.checks.count("lease: holder taken out");
                self.checks.leader_goes(false, limited);
                self.api.edit_lease(|mut record| {
                    record.holder = None;
                    record
                });
            }
            _ => {
                self.checks.count("lease: label put on");
                self.api.edit_lease(|record| record);
            }
        }
    }
}
