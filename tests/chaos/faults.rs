//! Faults are made when the plan says so, and healed in time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use support::control_plane::{ControlPlane, OPERATOR_NAMESPACE};
use support::strict_aws::StrictAws;
use support::tcp_proxy::{Line, TcpProxy};
use tokio::time::{sleep, timeout};

use crate::fault::{Fault, LeaseEdit};
use crate::judge::Moment;
use crate::operators::{CALL, Operator};
use crate::plan::PlannedFault;
use crate::record::{Hindrance, Record};
use crate::weather::Weather;

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(200);

/// The world that faults are made in.
pub struct World {
    pub cluster: ControlPlane,
    pub client: Client,
    pub aws: StrictAws,
    pub weather: Weather,
    /// The way from the operators to AWS.
    pub aws_line: TcpProxy,
    /// By how many seconds AWS's clock is apart.
    pub clock: Arc<AtomicI64>,
    pub operators: Vec<Operator>,
    pub record: Record,
}

struct Going {
    fault: Fault,
    until: Moment,
    hindrance: Hindrance,
}

impl World {
    /// Makes all faults of a plan, and returns when the last one is healed and the time is over.
    pub async fn suffer(&mut self, faults: &[PlannedFault], length: Duration) {
        let mut faults: VecDeque<&PlannedFault> = faults.iter().collect();
        let mut going: Vec<Going> = Vec::new();
        while !faults.is_empty() || !going.is_empty() || self.record.now() < length {
            let now = self.record.now();
            let (due, still): (Vec<_>, Vec<_>) = going.into_iter().partition(|going| going.until <= now);
            going = still;
            for over in due {
                match self.heal(over.fault).await {
                    true => {
                        self.record.end(over.hindrance);
                        self.tell_of_end(over.fault);
                    }
                    // It could not be healed just now.
                    false => going.push(over),
                }
            }
            while let Some(planned) = faults.pop_front_if(|planned| planned.at <= now) {
                going.extend(self.start(planned).await);
            }
            self.rest().await;
        }
    }

    /// Lets a moment pass, and looks after the operators.
    pub async fn rest(&mut self) {
        self.operators.iter_mut().for_each(Operator::mind);
        sleep(TICK).await;
    }

    async fn start(&mut self, planned: &PlannedFault) -> Option<Going> {
        let fault = planned.fault;
        let hindrance = self.record.begin(fault);
        if !self.make(fault).await {
            self.record.end(hindrance);
            self.record.tell(&format!("{fault:?} could not be made"));
            self.record.count("faults that could not be made");
            return None;
        }
        self.record.count(&fault.name());
        self.record
            .tell(&format!("{fault:?}, for {:.1} s", planned.lasts.as_secs_f64()));
        if let Fault::Lease(_) = fault {
            let now = self.record.now();
            self.record.state().writers.lease_edited(now);
            self.record.end(hindrance);
            return None;
        }
        Some(Going {
            fault,
            until: self.record.now() + planned.lasts,
            hindrance,
        })
    }

    fn tell_of_end(&self, fault: Fault) {
        self.record.tell(&format!("{} is over", fault.name()));
    }

    async fn make(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Aws(fault) => self.weather.set(&self.aws, Some(fault)),
            Fault::AwsLine(line) => self.aws_line.set(line),
            Fault::Clock(by) => self.clock.store(by, Ordering::SeqCst),
            Fault::ApiServerRestarts | Fault::AuthorityRotates => self.cluster.kill_api_server(),
            Fault::EtcdRestarts => self.cluster.kill_etcd(),
            Fault::Compaction(number) => self.operators[number].line.set(Line::Silent),
            Fault::OperatorLine(number, line) => self.operators[number].line.set(line),
            Fault::Kill(number) => return self.operators[number].kill(),
            Fault::Terminate(number) => return self.operators[number].terminate(),
            Fault::Stop(number) => return self.operators[number].freeze(true),
            Fault::TokenRevoked(number) => {
                return timeout(CALL, self.operators[number].revoke_token())
                    .await
                    .unwrap_or(false);
            }
            Fault::TokenGarbled(number) => self.operators[number].write_token("this is no token"),
            Fault::Lease(edit) => return timeout(CALL, self.edit_lease(edit)).await.ok().flatten().is_some(),
        }
        true
    }

    async fn heal(&mut self, fault: Fault) -> bool {
        match fault {
            Fault::Aws(_) => self.weather.set(&self.aws, None),
            Fault::AwsLine(_) => self.aws_line.set(Line::Open),
            Fault::Clock(_) => self.clock.store(0, Ordering::SeqCst),
            Fault::ApiServerRestarts => {
                self.cluster.restart_api_server().await;
                self.cluster.restart_controller_manager();
            }
            Fault::EtcdRestarts => {
                self.cluster.restart_etcd().await;
                self.cluster.restart_controller_manager();
            }
            Fault::AuthorityRotates => {
                self.cluster.restart_with_another_authority().await;
                self.operators.iter_mut().for_each(Operator::restart);
            }
            Fault::Compaction(number) => {
                // An API server that has just started knows no history, and neither does etcd.
                let compacted = self.cluster.etcd().compact().await;
                self.record
                    .tell(&format!("etcd forgets all before revision {compacted:?}"));
                self.cluster.kill_api_server();
                self.cluster.restart_api_server().await;
                self.cluster.restart_controller_manager();
                self.operators[number].line.set(Line::Open);
            }
            Fault::OperatorLine(number, _) => self.operators[number].line.set(Line::Open),
            Fault::Kill(number) => self.operators[number].run(),
            Fault::Terminate(number) => {
                let operator = &mut self.operators[number];
                if !operator.has_stopped() {
                    return false;
                }
                operator.run();
            }
            Fault::Stop(number) => {
                self.operators[number].freeze(false);
            }
            Fault::TokenRevoked(number) | Fault::TokenGarbled(number) => {
                return self.operators[number].give_token().await;
            }
            Fault::Lease(_) => {}
        }
        true
    }

    /// Edits the lease of the operators, if they have one.
    async fn edit_lease(&self, edit: LeaseEdit) -> Option<()> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE);
        let all = leases.list(&ListParams::default()).await.ok()?;
        let name = all.items.first()?.name_any();
        let spec = match edit {
            LeaseEdit::Delete => {
                leases.delete(&name, &DeleteParams::default()).await.ok()?;
                return Some(());
            }
            LeaseEdit::GiveToNobody => json!({"holderIdentity": null}),
            LeaseEdit::GiveToAStranger => json!({"holderIdentity": "somebody-else", "renewTime": micro_time(0)}),
            LeaseEdit::Renewed(seconds) => json!({"renewTime": micro_time(seconds)}),
        };
        let patch = Patch::Merge(json!({"spec": spec}));
        leases.patch(&name, &PatchParams::default(), &patch).await.ok()?;
        Some(())
    }
}

/// A time as leases have it, so many seconds from now.
fn micro_time(seconds: i64) -> String {
    let time = Timestamp::now() + SignedDuration::from_secs(seconds);
    format!("{time:.6}")
}
