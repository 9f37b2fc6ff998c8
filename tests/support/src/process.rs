//! A process that ends with the one that started it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Starts a program and waits for it, while a second shell waits for the end of our pipe: it comes when we let go of it or die, even of
/// SIGKILL. Then the program is asked to stop, and after a while made to. A signal to the whole group, as Ctrl-C and `timeout` send it, does not
/// end that shell: an API server that it meets while starting, with its etcd gone, does not end by itself.
const KEEPER: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- & child=$!
echo $child > "$PID_FILE.new" && mv "$PID_FILE.new" "$PID_FILE"
( trap '' HUP INT TERM; read -r _ <&3; kill -TERM $child; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.5; kill -0 $child || exit; done; kill -KILL $child ) >/dev/null 2>&1 &
exec 3<&-
wait $child
"#;

/// A running program with a log and a pid file, `<name>.log` and `<name>.pid`.
pub struct Process {
    name: String,
    keeper: Child,
    pipe: Option<ChildStdin>,
    pid: u32,
    log: PathBuf,
    pid_file: PathBuf,
}

impl Process {
    /// Starts `command` under the name, with its files in `folder`.
    pub fn start(name: &str, folder: &Path, command: &Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let pid_file = folder.join(format!("{name}.pid"));
        let _ = fs::remove_file(&pid_file);
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, name])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        if let Some(directory) = command.get_current_dir() {
            keeper.current_dir(directory);
        }
        // What a person has in the environment must not reach the parts: proxies, profiles, other clusters.
        keeper
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (key, value) in command.get_envs() {
            if let Some(value) = value {
                keeper.env(key, value);
            }
        }
        keeper.env("PID_FILE", &pid_file);
        let mut keeper = keeper.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let pipe = keeper.stdin.take();
        let started = Instant::now();
        let pid = loop {
            if let Some(pid) = fs::read_to_string(&pid_file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
            {
                break pid;
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{name} did not start");
            std::thread::sleep(Duration::from_millis(5));
        };
        Self {
            name: name.to_owned(),
            keeper,
            pipe,
            pid,
            log,
            pid_file,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// All that it printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.keeper.try_wait(), Ok(None))
    }

    /// Gives up loudly, with the end of its log, if it does not run any more.
    pub fn must_run(&mut self) {
        if !self.is_running() {
            let log = self.log();
            let end: Vec<_> = log.lines().rev().take(5).collect();
            panic!("{} ended: {end:#?}", self.name);
        }
    }

    /// Sends it a signal by name.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid.to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "{} is gone", self.name);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.keeper.wait().unwrap()
    }

    /// Asks it to stop and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        drop(self.pipe.take());
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.keeper.wait();
        let _ = fs::remove_file(&self.pid_file);
    }
}
