//! One life: a thousand resources, thirty days, and all that can happen to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use aws_assume_role::aws::gate::Limits;
use aws_assume_role::aws::{AssumeRole, Aws, AwsError, Identity};
use aws_assume_role::credentials::{Credentials, RegistryLogin, Session};
use aws_assume_role::resource::{AWSAssumeRoleSpec, SecretType, TemplateSpec};
use aws_assume_role::secret::Envelope;
use aws_assume_role::supervisor::{Supervisor, SupervisorMessage, World};
use aws_assume_role::telemetry::metrics::Metrics;
use aws_assume_role::wanted::Watched;
use fastrand::Rng;
use futures::future::BoxFuture;
use ractor::{Actor, ActorRef};
use tokio::task::JoinHandle;

use crate::api_server::{ApiServer, Stored};
use crate::checks::Checks;
use crate::figures::Figures;
use crate::strict_aws::in_process::InProcess;
use crate::strict_aws::{Fault, Refusal, Request, StrictAws, allow_all, open_role};
use crate::time::Time;

const KEY: &str = "AKIAOPERATOR00000000";

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

fn silence_planted_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload().downcast_ref::<&str>() != Some(&"planted") {
                usual(panic);
            }
        }));
    });
}

/// The way to AWS: watched, and with a panic in it now and then.
struct WatchedAws {
    aws: InProcess,
    checks: Checks,
    owners: Arc<Mutex<BTreeMap<String, String>>>,
    random: Mutex<Rng>,
}

impl Aws for WatchedAws {
    fn region(&self) -> &str {
        self.aws.region()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        self.aws.identity()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        let uid = self.owners.lock().unwrap().get(&request.role_arn).cloned();
        if let Some(uid) = uid {
            let uid = uid.as_str();
            self.checks.asked(uid);
            let panics = self.random.lock().unwrap().u32(0..20_000) == 0;
            if panics {
                self.checks.count("actor: panic");
                self.checks.reason(uid);
                self.checks.status_unsure(uid);
                std::panic::panic_any("planted");
            }
        }
        self.aws.assume_role(request)
    }

    fn registry_login<'a>(
        &'a self,
        region: &'a str,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        self.aws.registry_login(region, credentials)
    }
}

/// What fails at AWS by itself.
struct AwsFaults {
    random: Rng,
    checks: Checks,
    down: Arc<Mutex<bool>>,
    on: Arc<Mutex<bool>>,
}

impl AwsFaults {
    fn next(&mut self, _: &Request) -> Option<Fault> {
        if *self.down.lock().unwrap() {
            return Some(match self.random.u8(0..3) {
                0 => Fault::Reset,
                1 => Fault::Hang,
                _ => Fault::Refuse(Refusal::new(503, "ServiceUnavailable", "away")),
            });
        }
        if !*self.on.lock().unwrap() {
            return None;
        }
        let refuse = |status, code: &str| Fault::Refuse(Refusal::new(status, code, "planted"));
        let (kind, fault) = match self.random.u32(0..1000) {
            0..8 => ("aws: throttling", refuse(400, "Throttling")),
            8..14 => ("aws: internal failure", refuse(500, "InternalFailure")),
            14..20 => ("aws: reset", Fault::Reset),
            20..22 => ("aws: hang", Fault::Hang),
            22..30 => ("aws: slow", Fault::Slow(Duration::from_secs(self.random.u64(1..25)))),
            30..34 => ("aws: garbage", Fault::Garbage),
            34..37 => ("aws: truncated", Fault::Truncated),
            37..40 => ("aws: end in the past", Fault::PastEnd),
            40..43 => ("aws: end in ten seconds", Fault::ShortEnd),
            43..45 => ("aws: expired token", refuse(403, "ExpiredToken")),
            _ => return None,
        };
        self.checks.count(kind);
        Some(fault)
    }
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
        aws.add_user("operator", KEY, "secret", allow_all());
        let checks = Checks::new(setting.seed, time.clone(), aws.clone());
        let (aws_down, aws_faults): (Arc<Mutex<bool>>, _) = (Arc::default(), Arc::new(Mutex::new(true)));
        let mut faults = AwsFaults {
            random: Rng::with_seed(setting.seed ^ 0xA35),
            checks: checks.clone(),
            down: aws_down.clone(),
            on: aws_faults.clone(),
        };
        aws.plan(move |request| faults.next(request));
        let owners: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let way = Arc::new(WatchedAws {
            aws: InProcess {
                aws: aws.clone(),
                access_key_id: KEY.to_owned(),
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
        let looking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                checks.look();
            }
        });
        while self.time.seconds() < end {
            let pause = self.random.u64(60..4500);
            tokio::time::sleep(Duration::from_secs(pause)).await;
            self.something_happens().await;
        }
        looking.abort();
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

    // --- resources

    fn spec(&mut self, name: &str) -> AWSAssumeRoleSpec {
        let duration = match self.random.u32(0..100) {
            0..2 => 900,
            2..10 => 3600,
            10..35 => 14_400,
            _ => 43_200,
        };
        let mut spec = AWSAssumeRoleSpec {
            role_name: None,
            role_arn: None,
            secret_name: format!("s-{name}"),
            secret_type: SecretType::Map,
            ecr_repository_url: None,
            duration_seconds: Some(duration),
            refresh_before_seconds: self.random.bool().then(|| self.random.i32(duration / 3..duration / 2)),
            region: None,
            session: None,
            template: None,
            secret_template: None,
            suspend: None,
        };
        self.choose_type(&mut spec);
        spec
    }

    fn choose_type(&mut self, spec: &mut AWSAssumeRoleSpec) {
        spec.ecr_repository_url = None;
        spec.template = None;
        spec.secret_type = match self.random.u32(0..5) {
            0 => SecretType::Map,
            1 => SecretType::File,
            2 => SecretType::CredentialProcess,
            3 => {
                let data = [("key".to_owned(), "{{ accessKeyId }}/{{ sessionToken }}".to_owned())];
                spec.template = Some(TemplateSpec { data: data.into() });
                SecretType::Template
            }
            _ => {
                let url = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app";
                spec.ecr_repository_url = Some(url.to_owned());
                SecretType::EcrDockerConfigJson
            }
        };
    }

    /// A role that exists, for a resource that is known by it.
    fn role(&mut self, name: &str) -> String {
        self.number += 1;
        let arn = format!("arn:aws:iam::123456789012:role/{name}-{}", self.number);
        self.aws.add_role(&arn, open_role());
        arn
    }

    fn create(&mut self, name: &str) {
        let mut spec = self.spec(name);
        let arn = self.role(name);
        spec.role_arn = Some(arn.clone());
        let uid = self.api.create(name, spec);
        self.owners.lock().unwrap().insert(arn, uid);
    }

    fn create_another(&mut self) {
        self.checks.count("resource: created");
        self.number += 1;
        let name = format!("n{}", self.number);
        self.create(&name);
    }

    fn delete(&mut self, name: &str) {
        if let Some(uid) = self.api.delete(name) {
            self.checks.count("resource: deleted");
            let (api, checks) = (self.api.clone(), self.checks.clone());
            let broken = self.is_going_on("watch") || self.operator.is_none();
            tokio::spawn(async move {
                // The garbage collector takes a moment, and so does the word of the deletion.
                tokio::time::sleep(Duration::from_secs(3)).await;
                api.collect(&uid);
                if !broken {
                    checks.resource_deleted(&uid);
                }
                tokio::time::sleep(Duration::from_secs(120)).await;
                // What was written in the very moment of the deletion is collected as well.
                api.collect(&uid);
            });
        }
    }

    fn uid(&self, name: &str) -> Option<String> {
        self.api.resource(name)?.metadata.uid
    }

    fn change(&mut self, name: &str) {
        let Some(uid) = self.uid(name) else { return };
        self.checks.reason(&uid);
        match self.random.u32(0..5) {
            0 => {
                self.checks.count("spec: role");
                let arn = self.role(name);
                self.owners.lock().unwrap().insert(arn.clone(), uid);
                self.api.change(name, |spec| spec.role_arn = Some(arn));
            }
            1 => {
                self.checks.count("spec: type");
                let mut chosen = self.spec(name);
                self.choose_type(&mut chosen);
                self.api.change(name, |spec| {
                    spec.secret_type = chosen.secret_type;
                    spec.template = chosen.template;
                    spec.ecr_repository_url = chosen.ecr_repository_url;
                });
            }
            2 => {
                self.checks.count("spec: name of the Secret");
                self.number += 1;
                let secret = format!("s-{name}-{}", self.number);
                self.api.change(name, |spec| spec.secret_name = secret);
            }
            3 => {
                self.checks.count("spec: overlap");
                self.api.change(name, |spec| spec.refresh_before_seconds = None);
            }
            _ => {
                self.checks.count("spec: labels");
                let label = self.random.u32(0..10).to_string();
                let template = aws_assume_role::resource::SecretTemplate {
                    labels: [("team".to_owned(), label)].into(),
                    ..Default::default()
                };
                self.api.change(name, |spec| spec.secret_template = Some(template));
            }
        }
    }

    fn request(&mut self, name: &str) {
        let Some(uid) = self.uid(name) else { return };
        self.checks.count("resource: refresh requested");
        self.checks.reason(&uid);
        self.number += 1;
        self.api.request_refresh(name, &self.number.to_string());
    }

    fn suspend_for_a_while(&mut self, name: &str) {
        let Some(uid) = self.uid(name) else { return };
        self.checks.count("resource: suspended");
        self.checks.hinder_one(&uid);
        self.api.change(name, |spec| spec.suspend = Some(true));
        let (api, checks, name) = (self.api.clone(), self.checks.clone(), name.to_owned());
        let pause = self.random.u64(60..20_000);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            checks.reason(&uid);
            checks.release_one(&uid);
            api.change(&name, |spec| spec.suspend = None);
        });
    }

    fn take_role_away_for_a_while(&mut self, name: &str) {
        let Some(resource) = self.api.resource(name) else {
            return;
        };
        let (Some(uid), Some(arn)) = (resource.metadata.uid, resource.spec.role_arn) else {
            return;
        };
        self.checks.count("aws: role away");
        self.checks.hinder_one(&uid);
        self.aws.remove_role(&arn);
        let (aws, checks) = (self.aws.clone(), self.checks.clone());
        let pause = self.random.u64(60..7200);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            aws.add_role(&arn, open_role());
            // A refusal is tried again after five minutes at the latest.
            tokio::time::sleep(Duration::from_secs(300)).await;
            checks.release_one(&uid);
        });
    }

    // --- Secrets

    fn edit_secret(&mut self, name: &str) {
        let Some(resource) = self.api.resource(name) else {
            return;
        };
        let secret = resource.spec.secret_name.clone();
        let Some(uid) = resource.metadata.uid else { return };
        if self.api.secret(&secret).and_then(|stored| stored.owner()) != Some(uid.clone()) {
            return;
        }
        self.checks.reason(&uid);
        let spoil = |stored: &mut Stored| {
            stored.spoilt = true;
            let provenance = stored.seen.provenance.as_mut().unwrap();
            let key = provenance.ours.pop_first();
            provenance.others.extend(key);
        };
        match self.random.u32(0..4) {
            0 => {
                self.checks.count("secret: deleted by hand");
                self.api.delete_by_hand(&secret);
            }
            1 => {
                self.checks.count("secret: content edited");
                self.api.edit(&secret, spoil);
            }
            2 => {
                self.checks.count("secret: labels taken off");
                self.api.edit(&secret, |stored| stored.seen.metadata.labels = None);
            }
            _ => {
                self.checks.count("secret: key added");
                self.api.edit(&secret, |stored| {
                    let provenance = stored.seen.provenance.as_mut().unwrap();
                    provenance.others.insert("extra".to_owned());
                });
            }
        }
    }

    fn plant_foreign(&mut self) {
        self.checks.count("secret: of somebody else");
        self.number += 1;
        let name = format!("f{}", self.number);
        self.api.plant_foreign(&format!("s-{name}"));
        self.foreign.insert(name.clone());
        self.create(&name);
    }

    // --- outages

    fn is_going_on(&self, what: &'static str) -> bool {
        self.going_on.lock().unwrap().contains(what)
    }

    /// Begins something that ends after a while; nothing if it goes on already.
    fn for_a_while(&mut self, what: &'static str, seconds: u64, end: impl FnOnce() + Send + 'static) -> bool {
        if !self.going_on.lock().unwrap().insert(what) {
            return false;
        }
        let going_on = self.going_on.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            end();
            going_on.lock().unwrap().remove(what);
        });
        true
    }

    async fn aws_goes_away(&mut self) {
        let seconds = self.random.u64(20..3600);
        let (down, checks) = (self.aws_down.clone(), self.checks.clone());
        if self.for_a_while("aws", seconds, move || {
            *down.lock().unwrap() = false;
            checks.release("aws");
        }) {
            self.checks.count("aws: away");
            self.checks.hinder("aws");
            *self.aws_down.lock().unwrap() = true;
        }
    }

    fn api_server_goes_away(&mut self) {
        let seconds = self.random.u64(5..900);
        let (api, checks) = (self.api.clone(), self.checks.clone());
        if self.for_a_while("api server", seconds, move || {
            api.set_down(false);
            checks.release("api server");
        }) {
            self.checks.count("api server: away");
            self.checks.hinder("api server");
            self.api.set_down(true);
        }
    }

    fn watches_break(&mut self) {
        let seconds = self.random.u64(1..300);
        let api = self.api.clone();
        if self.for_a_while("watch", seconds, move || api.mend_watches()) {
            self.checks.count("watch: lost and listed again");
            self.api.break_watches();
        }
    }

    fn aws_throttles(&mut self) {
        let seconds = self.random.u64(300..3600);
        let aws = self.aws.clone();
        let checks = self.checks.clone();
        if self.for_a_while("throttle", seconds, move || {
            checks.note("* aws throttles no more");
            aws.throttle(1000.0, 1000.0);
        }) {
            self.checks.note("* aws throttles");
            self.checks.count("aws: a small bucket");
            self.aws.throttle(2.0, 4.0);
        }
    }

    fn clock_lies(&mut self) {
        let by = self.random.i64(60..7200) * if self.random.bool() { 1 } else { -1 };
        let seconds = self.random.u64(300..20_000);
        let (time, checks) = (self.time.clone(), self.checks.clone());
        if self.for_a_while("clock", seconds, move || {
            checks.note("* clock is right again");
            time.lie_by(0);
        }) {
            self.checks.note(&format!("* clock is ahead by {by} s"));
            self.checks.count("clock: stepped");
            self.checks.reason_for_all();
            self.time.lie_by(by);
        }
    }

    async fn start_operator(&mut self) {
        let world = World {
            aws: self.way.clone(),
            cluster: Arc::new(self.api.clone()),
            clock: Arc::new(self.time.clone()),
            limits: Limits {
                rate: 50.0,
                concurrency: 32,
            },
            metrics: Metrics::default(),
        };
        self.operator = Some(Supervisor::spawn(None, Supervisor, world).await.unwrap());
    }

    async fn restart(&mut self) {
        if self.is_going_on("clock") || self.is_going_on("watch") {
            return;
        }
        let Some((supervisor, ended)) = self.operator.take() else {
            return;
        };
        self.checks.hinder("operator");
        match self.random.bool() {
            true => {
                self.checks.count("operator: killed");
                supervisor.kill();
            }
            false => {
                self.checks.count("operator: stopped");
                supervisor.stop(None);
            }
        }
        ended.await.unwrap();
        self.api.drop_watches();
        let pause = self.random.u64(1..400);
        tokio::time::sleep(Duration::from_secs(pause)).await;
        self.checks.reason_for_all();
        self.checks.all_statuses_unsure();
        self.start_operator().await;
        self.checks.release("operator");
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
        self.checks.look();
    }

    fn judge(&self) {
        let secrets = self.api.secrets();
        let mut wanted_names = BTreeMap::new();
        for resource in self.api.resources() {
            let name = resource.metadata.name.clone().unwrap();
            let watched = Watched::from_resource(&resource);
            let wanted = watched.wanted.as_ref().unwrap();
            let complain = |what: &str| {
                self.checks
                    .broken(&format!("at the end {name}: {what}: {:?}", resource.status))
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
                && Envelope::of(wanted).is_on(&secret.seen)
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
                    .broken(&format!("at the end Secret {name} is there and nobody wants it"));
            }
        }
    }
}
