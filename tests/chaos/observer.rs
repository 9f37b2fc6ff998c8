//! The observer: it only reads. It lists all resources and Secrets every second, follows the audit log and the calls to AWS, asks the operators
//! how they are, and weighs them.

use std::fs;
use std::time::Duration;

use aws_assume_role::api::{AWSAssumeRole, SecretType};
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use support::fixtures::role_arn;
use support::http;
use support::strict_aws::StrictAws;
use tokio::time::{interval, timeout};

use crate::audit::Audit;
use crate::judge::Finding;
use crate::judge::conditions::Wrong;
use crate::judge::limits::Sample;
use crate::judge::secrets::{self, Held, SeenResource, SeenSecret, Snapshot};
use crate::operators::CALL;
use crate::record::Record;
use crate::weather::Weather;

/// What an intruder writes into a Secret.
pub const SPOILT: &str = "spoilt by somebody";

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);

/// How often it weighs the operators: every so many looks.
const WEIGHING: u32 = 5;

/// How long an operator may take to say how it is.
const PROBE: Duration = Duration::from_secs(2);

/// The observer.
pub struct Observer {
    pub client: Client,
    pub aws: StrictAws,
    pub weather: Weather,
    pub audit: Audit,
    pub record: Record,
    /// The names of the operators, and where they tell how they are.
    pub operators: Vec<(String, String)>,
}

impl Observer {
    /// Looks until it is told not to, and gives itself back.
    pub async fn watch(mut self, mut stop: tokio::sync::oneshot::Receiver<()>) -> Self {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = 0_u32;
        loop {
            tokio::select! {
                _ = &mut stop => return self,
                _ = ticks.tick() => {}
            }
            self.follow();
            self.look().await;
            looks += 1;
            if looks.is_multiple_of(WEIGHING) {
                self.weigh();
                self.probe().await;
            }
        }
    }

    /// Takes what AWS was asked, and what the API server wrote down.
    pub fn follow(&mut self) {
        let mut found = Vec::new();
        let asked = self.weather.take_asked();
        let writes = self.audit.writes(&self.record);
        {
            let mut state = self.record.state();
            let state = &mut *state;
            for call in asked {
                found.extend(state.calls.called(call.at, &call.role_arn, &state.reasons));
            }
            for write in &writes {
                found.extend(state.writers.see(write));
            }
        }
        for write in writes {
            self.record.note(&format!("{} wrote {:?}", write.pod, write.what));
        }
        self.tell(found);
    }

    async fn look(&self) {
        let Some(snapshot) = timeout(CALL, self.snapshot()).await.ok().flatten() else {
            return;
        };
        let at = self.record.now();
        let found = {
            let mut state = self.record.state();
            let state = &mut *state;
            if state.timeline.calm_since(at).is_some() {
                state.judged += PERIOD;
            }
            if state.reasons.calm_since(at).is_some() {
                state.judged_for_expired += PERIOD;
            }
            state.calls.see(at, &snapshot);
            let wrong = secrets::wrong(&snapshot);
            // What happens to an operator alone is no excuse for credentials that expire: another one leads within the overlap.
            let (expired, wrong) = wrong.into_iter().partition(|(wrong, _)| *wrong == Wrong::Expired);
            let conditions = &mut state.conditions;
            let expired = conditions.see(at, &[Wrong::Expired], expired, &state.reasons);
            let lasting = conditions.see(at, &secrets::OTHER_KINDS, wrong, &state.timeline);
            let touched = state.foreign.see(at, &snapshot);
            [expired, lasting, touched].concat()
        };
        self.tell(found);
    }

    fn tell(&self, found: Vec<Finding>) {
        found.into_iter().for_each(|finding| self.record.found(finding));
    }

    async fn snapshot(&self) -> Option<Snapshot> {
        let secrets: Api<Secret> = Api::all(self.client.clone());
        let resources: Api<AWSAssumeRole> = Api::all(self.client.clone());
        let secrets = secrets.list(&ListParams::default()).await.ok()?;
        let resources = resources.list(&ListParams::default()).await.ok()?;
        Some(Snapshot {
            aws_now: self.aws.now(),
            resources: resources.items.iter().map(seen_resource).collect(),
            secrets: secrets.items.iter().map(|secret| self.seen_secret(secret)).collect(),
        })
    }

    fn seen_secret(&self, secret: &Secret) -> SeenSecret {
        let mut owners = secret.owner_references().iter();
        let controller = owners.find(|owner| owner.controller == Some(true) && owner.kind == "AWSAssumeRole");
        SeenSecret {
            namespace: secret.namespace().unwrap_or_default(),
            name: secret.name_any(),
            uid: secret.uid().unwrap_or_default(),
            type_: secret.type_.clone().unwrap_or_default(),
            controller: controller.map(|owner| owner.uid.clone()),
            held: self.held(secret),
            text: serde_json::to_string(secret).unwrap(),
        }
    }

    /// The credentials that a Secret holds, if they are whole and AWS knows them.
    fn held(&self, secret: &Secret) -> Option<Held> {
        let values = secret.data.iter().flatten();
        let text: String = values
            .map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned() + "\n")
            .collect();
        if text.contains(SPOILT) {
            return None;
        }
        let word = |start: &str| {
            let begin = text.find(start)?;
            let word = text[begin..]
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                .next();
            word.map(str::to_owned)
        };
        if let Some(key) = word("ASIA") {
            let session = self.aws.principal(&key)?.session?;
            return Some(Held {
                role_arn: session.role_arn,
                expiration: session.expiration,
            });
        }
        let password = word("ecr-token-")?;
        Some(Held {
            role_arn: self.aws.token_role(&password)?,
            expiration: self.aws.token_end(&password)?,
        })
    }

    /// What each operator has of the machine.
    fn weigh(&self) {
        let at = self.record.now();
        let running: Vec<(usize, u32)> = {
            let state = self.record.state();
            let lives = state.lives.iter().enumerate();
            lives
                .filter(|(_, running)| running.life.end.is_none())
                .map(|(number, running)| (number, running.pid))
                .collect()
        };
        for (number, pid) in running {
            if let Some(sample) = sample(at, pid) {
                self.record.sample(number, sample);
            }
        }
    }

    /// Whether each operator that is awake says that it is alive, and ready.
    async fn probe(&self) {
        let mut wrong = Vec::new();
        for (name, url) in &self.operators {
            let awake = {
                let state = self.record.state();
                let life = state.lives.iter().rev().find(|running| running.life.replica == *name);
                life.is_some_and(|running| running.awake)
            };
            if !awake {
                continue;
            }
            for (path, kind) in [("livez", Wrong::NotAlive), ("readyz", Wrong::NotReady)] {
                let url = format!("{url}/{path}");
                let answer = timeout(PROBE, http::get(&url)).await.ok().flatten();
                if !answer.is_some_and(|(status, _)| status.is_success()) {
                    wrong.push((kind, name.clone()));
                }
            }
        }
        let at = self.record.now();
        let found = {
            let mut state = self.record.state();
            let state = &mut *state;
            state
                .conditions
                .see(at, &[Wrong::NotAlive, Wrong::NotReady], wrong, &state.timeline)
        };
        self.tell(found);
    }
}

fn seen_resource(resource: &AWSAssumeRole) -> SeenResource {
    let spec = &resource.spec;
    let status = resource.status.as_ref();
    let current = |status: &&aws_assume_role::api::AWSAssumeRoleStatus| {
        status.observed_generation == resource.metadata.generation
    };
    let conditions = status.filter(current).map(|status| &status.conditions);
    let ready = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == "Ready"));
    SeenResource {
        namespace: resource.namespace().unwrap_or_default(),
        name: resource.name_any(),
        uid: resource.uid().unwrap_or_default(),
        secret_name: spec.secret_name.clone(),
        secret_type: match spec.secret_type {
            SecretType::EcrDockerConfigJson => "kubernetes.io/dockerconfigjson",
            _ => "Opaque",
        }
        .to_owned(),
        role_arn: match (&spec.role_arn, &spec.role_name) {
            (Some(arn), _) => arn.clone(),
            (_, name) => role_arn(name.as_deref().unwrap_or_default()),
        },
        suspended: spec.suspend == Some(true),
        ready: ready.map(|ready| (ready.status == "True", ready.reason.clone())),
    }
}

fn sample(at: Duration, pid: u32) -> Option<Sample> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find(|line| line.starts_with("VmRSS"))?;
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let links: Vec<_> = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok()).collect();
    let is_socket = |link: &&std::path::PathBuf| link.to_string_lossy().starts_with("socket:");
    Some(Sample {
        at,
        resident_kib: resident.split_whitespace().nth(1)?.parse().ok()?,
        files: links.len(),
        sockets: links.iter().filter(is_socket).count(),
    })
}
