//! One life: a thousand resources, thirty days, and all that can happen to them.

mod day;
mod end;
mod faults;
mod gate;
mod hands;
mod hostile;
mod people;
mod policies;
mod replicas;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_assume_role::aws::gate::Limits;
use fastrand::Rng;

use crate::api_server::ApiServer;
use crate::checks::Checks;
use crate::figures::Figures;
use crate::place::{HOSTILE, NAMESPACES, Place};
use crate::time::Time;
use support::fixtures::{ACCESS_KEY_ID, ACCOUNT};
use support::strict_aws::StrictAws;
use support::strict_aws::issuer::provider;
use support::strict_aws::own_keys::OwnKeys;

use faults::AwsFaults;
use hostile::LASTING;
use people::OTHER_ACCOUNT;
use replicas::Replica;
use way::silence_planted_panics;

pub use day::{Day, DayFigures};

/// What a life follows from.
pub struct Setting {
    pub seed: u64,
    pub days: u64,
    pub resources: usize,
    /// The limits of the gate.
    pub limits: Limits,
    /// How long all credentials last, in seconds, where they are to last equally long.
    pub durations: Option<i32>,
}

impl Setting {
    pub fn new(seed: u64, days: u64, resources: usize) -> Self {
        Self {
            seed,
            days,
            resources,
            limits: Limits {
                rate: 50.0,
                concurrency: 32,
            },
            durations: None,
        }
    }
}

/// Lives it, and ends the process at the first broken promise.
pub fn live(setting: &Setting) -> Figures {
    in_virtual_time(async {
        let mut life = Life::begin(setting);
        life.lead(setting).await;
        life.come_to_rest().await;
        life.judge();
        life.checks.figures()
    })
}

/// A life in which nothing goes wrong but that AWS is slow at times, and the operator may make few calls at once.
pub fn wait_at_the_gate(setting: &Setting) -> Figures {
    in_virtual_time(async {
        let mut life = Life::begin(setting);
        life.wait_at_the_gate(setting).await;
        life.checks.figures()
    })
}

/// A day of equal resources, in which nothing goes wrong but what it says.
pub fn a_day(day: &Day) -> DayFigures {
    in_virtual_time(async {
        let mut life = Life::begin(&day.setting());
        life.live_the_day(day).await
    })
}

fn in_virtual_time<T>(life: impl Future<Output = T>) -> T {
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
    runtime.block_on(life)
}

struct Life {
    seed: u64,
    random: Rng,
    time: Time,
    aws: StrictAws,
    keys: OwnKeys,
    limits: Limits,
    api: ApiServer,
    checks: Checks,
    replicas: Vec<Replica>,
    /// How many there have been.
    processes: u64,
    owners: Arc<Mutex<BTreeMap<String, String>>>,
    aws_down: Arc<Mutex<bool>>,
    aws_faults: Arc<Mutex<bool>>,
    /// What goes on for a while, and ends by itself.
    going_on: Arc<Mutex<BTreeSet<&'static str>>>,
    foreign: BTreeSet<Place>,
    /// The namespaces with a policy that permits all of their roles.
    policies: Arc<Mutex<BTreeSet<&'static str>>>,
    /// How long all credentials last, where they are to last equally long.
    durations: Option<i32>,
    /// The most resources that the hostile tenant makes at once.
    mass_max: usize,
    number: u64,
}

impl Life {
    fn begin(setting: &Setting) -> Self {
        let random = Rng::with_seed(setting.seed);
        let time = Time::begin();
        let told = time.clone();
        let aws = StrictAws::new(move || told.now());
        aws.forget_calls();
        for account in [ACCOUNT, OTHER_ACCOUNT] {
            aws.add_oidc_provider(provider(account));
        }
        let checks = Checks::new(setting.seed, time.clone(), aws.clone());
        let (aws_down, aws_faults): (Arc<Mutex<bool>>, _) = (Arc::default(), Arc::new(Mutex::new(true)));
        let owners: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let mut faults = AwsFaults {
            random: Rng::with_seed(setting.seed ^ 0xA35),
            checks: checks.clone(),
            down: aws_down.clone(),
            on: aws_faults.clone(),
            time: time.clone(),
            owners: owners.clone(),
        };
        aws.inject_faults(move |request| faults.next(request));
        let keys = OwnKeys::new(ACCESS_KEY_ID);
        Self {
            api: ApiServer::new(setting.seed, checks.clone(), time.clone()),
            seed: setting.seed,
            random,
            time,
            aws,
            keys,
            limits: setting.limits,
            checks,
            replicas: Vec::new(),
            processes: 0,
            owners,
            aws_down,
            aws_faults,
            going_on: Arc::default(),
            foreign: BTreeSet::new(),
            policies: Arc::default(),
            durations: setting.durations,
            mass_max: (setting.resources / 10).clamp(8, 60),
            number: 0,
        }
    }

    fn populate(&mut self, setting: &Setting) {
        for number in 0..setting.resources {
            // The same names everywhere.
            let namespace = NAMESPACES[number % NAMESPACES.len()];
            let name = format!("r{}", number / NAMESPACES.len());
            self.create(&Place::new(namespace, &name));
        }
        for number in 0..setting.resources.div_ceil(100) {
            self.create(&Place::new(HOSTILE, &format!("{LASTING}{number}")));
        }
    }

    async fn lead(&mut self, setting: &Setting) {
        self.populate(setting);
        self.set_policies();
        self.start_replicas().await;
        let (api, checks, end) = (self.api.clone(), self.checks.clone(), setting.days * 86_400);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                checks.check_secrets();
                checks.check_skew();
                api.check_spoilt();
            }
        });
        while self.time.seconds() < end {
            let pause = self.random.u64(60..3500);
            tokio::time::sleep(Duration::from_secs(pause)).await;
            self.something_happens().await;
        }
    }

    async fn something_happens(&mut self) {
        let place = self.some_place();
        match self.random.u32(0..135) {
            0..6 => self.create_another(),
            6..11 => self.delete(&place),
            11..15 => {
                self.checks.count("resource: made again under its name");
                self.delete(&place);
                self.create(&place);
            }
            15..30 => self.change(&place),
            30..35 => self.request(&place),
            35..39 => self.suspend_for_a_while(&place),
            39..59 => self.edit_secret(&place),
            59..62 => self.label_secret(&place),
            62..67 => self.take_role_away_for_a_while(&place),
            67..73 => self.aws_goes_away(),
            73..78 => self.api_server_goes_away(),
            78..83 => self.watches_break(),
            83..88 => self.watch_falls_silent(),
            88..96 => self.replicas_suffer().await,
            96..102 => self.clock_lies(),
            102..105 => self.aws_throttles(),
            105..107 => self.registry_throttles(),
            107..111 => self.identity_is_revoked(),
            111..126 => self.hostility(),
            126..131 => self.policies_change(),
            _ => self.plant_foreign(),
        }
    }

    /// A resource of somebody who means well.
    fn some_place(&mut self) -> Place {
        let places: Vec<Place> = NAMESPACES.iter().flat_map(|name| self.api.places(name)).collect();
        places[self.random.usize(0..places.len())].clone()
    }
}
