//! One run: an operator, its two Secrets, a kubelet that is late, and every SDK with both.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use support::fixtures::{role_arn, with};
use support::operator::{OperatorCommand, binary};
use support::sdks::{Caller, Clock, Lag, Mount, Sdk, Setting, Tally, Use, has_no_shell, runs_without_shell};
use support::strict_aws::http::HttpServer;
use support::strict_aws::{StrictAws, open_role};
use support::world::World;

/// What a run is like.
pub struct Plan {
    pub name: &'static str,
    pub sdks: Vec<Sdk>,
    /// What the spec says besides the names and the type.
    pub spec: Value,
    pub lifetime: Duration,
    pub lifetimes: u32,
    pub clock: Clock,
    /// Between two calls, by the clock.
    pub pause: Duration,
    /// Whether to try the SDKs without a shell.
    pub shells: bool,
}

/// What became of one SDK.
pub struct Row {
    pub sdk: Sdk,
    pub file: Tally,
    pub process: Tally,
    /// Whether its credential process needs a shell, where that was tried.
    pub shell: Option<bool>,
}

/// What became of all.
pub struct Outcome {
    pub rows: Vec<Row>,
    /// By the clock.
    pub minutes: f64,
    pub file: Use,
    pub process: Use,
}

const FILE: &str = "file";
const PROCESS: &str = "process";

impl Plan {
    /// How long the kubelet takes.
    fn lag(&self) -> Lag {
        Lag {
            least: Duration::from_secs(60),
            most: Duration::from_secs(120),
            clock: self.clock,
        }
    }

    fn operator(&self, world: &World, aws: &str) -> OperatorCommand {
        let launcher = self.clock.launcher();
        let Some((program, arguments)) = launcher.split_first() else {
            return world.operator_command_for(aws);
        };
        let operator = binary().to_str().unwrap().to_owned();
        world
            .operator_command_for(aws)
            .started_by(program.as_ref(), &[arguments, &[operator]].concat())
    }

    async fn mount(&self, world: &World, name: &str, secret_type: &str) -> Mount {
        let spec = json!({"roleName": name, "secretName": name, "secretType": secret_type});
        world.apply(name, &with(spec, &self.spec)).unwrap();
        world.ready(name).await;
        Mount::start(world.cluster.client(), name, &world.folder().join(name), self.lag()).await
    }

    /// Runs it.
    pub async fn run(&self) -> Outcome {
        let clock = self.clock;
        let aws = StrictAws::new(move || clock.now());
        for role in [FILE, PROCESS] {
            aws.add_role(&role_arn(role), open_role());
        }
        let server = HttpServer::start(aws.clone()).await;
        let mut world = World::without_operator().await;
        let operator = self.operator(&world, server.url());
        world.run_operator(&operator);
        let file = self.mount(&world, FILE, "File").await;
        let process = self.mount(&world, PROCESS, "CredentialProcess").await;
        let setting = Setting {
            folder: world.folder(),
            aws: server.url(),
            pause: self.pause,
            clock,
        };

        let mut shells = Vec::new();
        if self.shells {
            assert!(
                has_no_shell(world.folder(), &process),
                "a shell can be run where there is to be none"
            );
            for sdk in &self.sdks {
                shells.push(!runs_without_shell(*sdk, setting, &process).await);
            }
        }
        let all = |mount| {
            self.sdks
                .iter()
                .map(|sdk| Caller::start(*sdk, setting, mount))
                .collect()
        };
        let mut with_file: Vec<Caller> = all(&file);
        let mut with_process: Vec<Caller> = all(&process);
        let started = Instant::now();
        let length = clock.wait(self.lifetime * self.lifetimes + Duration::from_secs(120));
        while started.elapsed() < length {
            tokio::time::sleep(length.saturating_sub(started.elapsed()).min(Duration::from_secs(60))).await;
            file.must_follow();
            process.must_follow();
            for caller in with_file.iter_mut().chain(&mut with_process) {
                caller.must_run();
            }
            self.tell(started.elapsed(), length, &with_file, &with_process);
        }
        let minutes = started.elapsed().as_secs_f64()
            * (self.lifetime.as_secs_f64() / clock.wait(self.lifetime).as_secs_f64())
            / 60.0;
        let rows = with_file.iter().zip(&with_process).enumerate();
        let rows = rows.map(|(index, (file, process))| Row {
            sdk: file.sdk,
            file: file.tally(),
            process: process.tally(),
            shell: shells.get(index).copied(),
        });
        Outcome {
            rows: rows.collect(),
            minutes,
            file: Use::of(&aws, &role_arn(FILE)),
            process: Use::of(&aws, &role_arn(PROCESS)),
        }
    }

    fn tell(&self, elapsed: Duration, length: Duration, with_file: &[Caller], with_process: &[Caller]) {
        println!("{}: {} of {} s", self.name, elapsed.as_secs(), length.as_secs());
        for (file, process) in with_file.iter().zip(with_process) {
            let (name, file, process) = (file.sdk.name(), file.tally(), process.tally());
            println!(
                "  {name}: File {} calls, {} refused, {} failed; CredentialProcess {} calls, {} refused, {} failed, {} runs {}",
                file.calls,
                file.refused,
                file.failed,
                process.calls,
                process.refused,
                process.failed,
                process.runs,
                process.failure.or(file.failure).unwrap_or_default(),
            );
        }
    }
}
