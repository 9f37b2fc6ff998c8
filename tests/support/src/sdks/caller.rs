//! A program with an SDK, in a pod of sorts.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Clock, Mount, Sdk, Tally};
use crate::process::Process;
use crate::{root, wait_for};

/// Between two processes of the CLI, by the machine's clock.
const CLI_PAUSE: Duration = Duration::from_secs(5);

/// What the programs are given.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// Where their files are, in a folder for each.
    pub folder: &'a Path,
    /// The endpoint of AWS.
    pub aws: &'a str,
    /// Between two calls, by the clock.
    pub pause: Duration,
    /// The clock that those live by that can.
    pub clock: Clock,
}

/// A running program.
pub struct Caller {
    pub sdk: Sdk,
    process: Process,
    runs: PathBuf,
}

impl Caller {
    /// Starts one with a `File` or a `CredentialProcess`, whichever is mounted.
    pub fn start(sdk: Sdk, setting: Setting<'_>, mount: &Mount) -> Self {
        Self::start_with(sdk, setting, mount, true)
    }

    fn start_with(sdk: Sdk, setting: Setting<'_>, mount: &Mount, shell: bool) -> Self {
        let mounted = mount.folder().file_name().unwrap().to_str().unwrap();
        let name = format!("{}-{mounted}{}", sdk.word(), if shell { "" } else { "-without-shell" });
        let home = setting.folder.join(&name);
        fs::create_dir_all(&home).unwrap();
        let runs = home.join("runs");
        let mut command = pod(&home, mount);
        command
            .args(sdk.program())
            .env("HOME", &home)
            .env("AWS_REGION", "eu-west-1")
            // botocore knows only this one.
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .env("AWS_ENDPOINT_URL_STS", setting.aws)
            .env("AWS_ENDPOINT_URL_S3", setting.aws)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // What AWS refused is not to be hidden by another attempt.
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("NODE_PATH", root().join("target/parts/sdks/javascript/node_modules"))
            // JavaScript's SDK says on each start which versions of Node.js it will leave behind.
            .env("NODE_NO_WARNINGS", "1");
        match mount.folder().join("config").exists() {
            true => command.env("AWS_CONFIG_FILE", "/.aws/config"),
            false => command.env("AWS_SHARED_CREDENTIALS_FILE", "/.aws/credentials"),
        };
        match shell {
            true => command.env("PATH", counted(&home, &runs)),
            false => command.env("WITHOUT_SHELL", "yes"),
        };
        // A process of the CLI takes most of a second of a core, so they do not come as often. The program for it lives by the machine's clock, as the launcher has to that it starts each call with.
        let launcher = setting.clock.launcher().join(" ");
        match sdk {
            Sdk::Cli => command
                .env("LAUNCHER_OF_CALLS", launcher)
                .env("PAUSE", setting.pause.max(CLI_PAUSE).as_secs_f64().to_string()),
            _ => command
                .env("LAUNCHER", launcher)
                .env("PAUSE", setting.pause.as_secs_f64().to_string()),
        };
        Self {
            sdk,
            process: Process::start(&name, setting.folder, &command),
            runs,
        }
    }

    /// What came of its calls so far.
    pub fn tally(&self) -> Tally {
        Tally {
            runs: u64::try_from(fs::read_to_string(&self.runs).unwrap_or_default().lines().count()).unwrap(),
            ..Tally::read(&self.process.log())
        }
    }

    /// Gives up loudly if it does not run any more.
    pub fn must_run(&mut self) {
        self.process.must_run();
    }
}

fn pod(home: &Path, mount: &Mount) -> Command {
    let pod_root = home.join("root");
    fs::create_dir_all(&pod_root).unwrap();
    let mut command = Command::new(root().join("tests/sdks/pod"));
    command.arg(pod_root).arg(mount.folder());
    command
}

/// A search path with a `cat` before the real one that counts how often it is asked for the document. The Secret is as it is.
fn counted(home: &Path, runs: &Path) -> String {
    let bin = home.join("bin");
    fs::create_dir_all(&bin).unwrap();
    let cat = bin.join("cat");
    let script = format!(
        "#!/bin/sh\n[ \"$*\" != /.aws/credentials.json ] || echo >> '{}'\nexec /bin/cat \"$@\"\n",
        runs.display()
    );
    fs::write(&cat, script).unwrap();
    fs::set_permissions(&cat, Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

/// Whether a shell really cannot be run where there is to be none.
pub fn has_no_shell(folder: &Path, mount: &Mount) -> bool {
    let run = |program: &str| {
        let mut command = pod(&folder.join("probe"), mount);
        let output = command
            .args([program, "-c", "true"])
            .env("WITHOUT_SHELL", "yes")
            .output()
            .unwrap();
        output.status.success()
    };
    !run("sh") && !run("bash")
}

/// Whether the process of an SDK needs no shell: where there is none, does its first call go well?
pub async fn runs_without_shell(sdk: Sdk, setting: Setting<'_>, mount: &Mount) -> bool {
    let caller = Caller::start_with(sdk, setting, mount, false);
    let what = format!("a call of {} without a shell", sdk.name());
    wait_for(&what, Duration::from_secs(60), async || {
        let tally = caller.tally();
        (tally.calls > 0).then_some(tally.failed + tally.refused == 0)
    })
    .await
}
