//! One life: a thousand resources, thirty days, and all that can happen to them.

mod faults;
mod operator;
mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_assume_role::operator::supervisor::SupervisorMessage;
use aws_assume_role::secret::SecretMetadata;
use aws_assume_role::spec::Resource;
use fastrand::Rng;
use ractor::ActorRef;
use tokio::task::JoinHandle;

use crate::api_server::ApiServer;
use crate::checks::Checks;
use crate::figures::Figures;
use crate::time::Time;
use support::fixtures::ACCESS_KEY_ID;
use support::strict_aws::StrictAws;
use support::strict_aws::in_process::InProcess;

use faults::AwsFaults;
use operator::{WatchedAws, silence_planted_panics};

/// What a life follows from.
pub struct Setting {
    pub seed: u64,
    pub days: u64,
    pub resources: usize,
}

/// Lives it, and ends the process at the first broken promise.
pub fn live(setting: &Setting) -> Figures {
    silence_planted_panics();
    // With RUST_LOG set, the operator tells what it does as it does in earnest.
    if std::env::var_os("RUST_LOG").is_some() {
        aws_assume_role::telemetry::start(aws_assume_role::telemetry::logs::LogFormat::Human, None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut life = Life::begin(setting);
        life.lead(setting).await;
        life.come_to_rest().await;
        life.judge();
        life.checks.figures()
    })
}

struct Life {
    random: Rng,
    time: Time,
    aws: StrictAws,
    api: ApiServer,
    checks: Checks,
    operator: Option<(ActorRef<SupervisorMessage>, JoinHandle<()>)>,
    way: Arc<WatchedAws>,
    owners: Arc<Mutex<BTreeMap<String, String>>>,
    aws_down: Arc<Mutex<bool>>,
    aws_faults: Arc<Mutex<bool>>,
    /// What goes on for a while, and ends by itself.
    going_on: Arc<Mutex<BTreeSet<&'static str>>>,
    foreign: BTreeSet<String>,
    number: u64,
}

impl Life {
    fn begin(setting: &Setting) -> Self {
        let random = Rng::with_seed(setting.seed);
        let time = Time::begin();
        let told = time.clone();
        let aws = StrictAws::new(move || told.now());
        aws.forget_calls();
        let checks = Checks::new(setting.seed, time.clone(), aws.clone());
        let (aws_down, aws_faults): (Arc<Mutex<bool>>, _) = (Arc::default(), Arc::new(Mutex::new(true)));
        let mut faults = AwsFaults {
            random: Rng::with_seed(setting.seed ^ 0xA35),
            checks: checks.clone(),
            down: aws_down.clone(),
            on: aws_faults.clone(),
        };
        aws.inject_faults(move |request| faults.next(request));
        let owners: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let way = Arc::new(WatchedAws {
            aws: InProcess {
                aws: aws.clone(),
                access_key_id: ACCESS_KEY_ID.to_owned(),
                latency: Duration::from_millis(80),
                identity: Arc::default(),
            },
            checks: checks.clone(),
            owners: owners.clone(),
            random: Mutex::new(Rng::with_seed(setting.seed ^ 0xACE)),
        });
        Self {
            api: ApiServer::new(setting.seed, checks.clone(), time.clone()),
            random,
            time,
            aws,
            checks,
            operator: None,
            way,
            owners,
            aws_down,
            aws_faults,
            going_on: Arc::default(),
            foreign: BTreeSet::new(),
            number: 0,
        }
    }

    async fn lead(&mut self, setting: &Setting) {
        for number in 0..setting.resources {
            self.create(&format!("r{number}"));
        }
        self.start_operator().await;
        let (checks, end) = (self.checks.clone(), setting.days * 86_400);
        let checking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                checks.check_secrets();
            }
        });
        while self.time.seconds() < end {
            let pause = self.random.u64(60..4500);
            tokio::time::sleep(Duration::from_secs(pause)).await;
            self.something_happens().await;
        }
        checking.abort();
    }

    async fn something_happens(&mut self) {
        let name = self.some_name();
        match self.random.u32(0..100) {
            0..6 => self.create_another(),
            6..11 => self.delete(&name),
            11..15 => {
                self.checks.count("resource: made again under its name");
                self.delete(&name);
                self.create(&name);
            }
            15..30 => self.change(&name),
            30..35 => self.request(&name),
            35..39 => self.suspend_for_a_while(&name),
            39..55 => self.edit_secret(&name),
            55..60 => self.take_role_away_for_a_while(&name),
            60..66 => self.aws_goes_away().await,
            66..71 => self.api_server_goes_away(),
            71..78 => self.watches_break(),
            78..86 => self.restart().await,
            86..92 => self.clock_lies(),
            92..95 => self.aws_throttles(),
            _ => self.plant_foreign(),
        }
    }

    fn some_name(&mut self) -> String {
        let names = self.api.names();
        names[self.random.usize(0..names.len())].clone()
    }

    // --- the end

    /// Everything works again, and there is time to put everything right.
    async fn come_to_rest(&mut self) {
        while !self.going_on.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        *self.aws_faults.lock().unwrap() = false;
        self.api.stop_faults();
        // The longest suspension and the longest pause after a refusal.
        tokio::time::sleep(Duration::from_secs(20_000 + 600)).await;
        self.checks.check_secrets();
    }

    fn judge(&self) {
        let secrets = self.api.secrets();
        let mut wanted_names = BTreeMap::new();
        for resource in self.api.resources() {
            let name = resource.metadata.name.clone().unwrap();
            let watched = Resource::from_resource(&resource);
            let wanted = watched.spec.as_ref().unwrap();
            let complain = |what: &str| {
                self.checks
                    .fail(&format!("at the end {name}: {what}: {:?}", resource.status))
            };
            let status = resource.status.clone().unwrap_or_default();
            if status.observed_generation != resource.metadata.generation {
                complain("the status does not speak of the spec");
            }
            let ready = &status.conditions[0];
            if self.foreign.contains(&name) && wanted.secret_name == format!("s-{name}") {
                if ready.reason != "SecretConflict" || secrets[&wanted.secret_name].content != "foreign" {
                    complain("it took what is not its own");
                }
                continue;
            }
            if (ready.status.as_str(), ready.reason.as_str()) != ("True", "Issued") {
                complain("it is not ready");
            }
            let Some(secret) = secrets.get(&wanted.secret_name) else {
                complain("it has no Secret");
                continue;
            };
            let good = !secret.spoilt
                && secret.owner() == Some(watched.key.uid.clone())
                && secret.seen.is_intact(&wanted.format)
                && secret.seen.foreign_keys(&wanted.format).is_empty()
                && SecretMetadata::of(wanted).is_on(&secret.seen)
                && secret.seen.is_made_from(&wanted.spec_hash)
                && watched
                    .refresh_request
                    .as_ref()
                    .is_none_or(|request| secret.seen.answers(request));
            if !good {
                complain(&format!("its Secret is not right: {secret:?}"));
            }
            wanted_names.insert(wanted.secret_name.clone(), watched.key.uid);
        }
        for (name, secret) in &secrets {
            if secret.content != "foreign" && wanted_names.get(name) != secret.owner().as_ref() {
                self.checks
                    .fail(&format!("at the end Secret {name} is there and nobody wants it"));
            }
        }
    }
}
