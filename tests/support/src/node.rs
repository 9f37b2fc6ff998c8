//! A node: a real kubelet with containerd, in namespaces of its own. The Pods that it runs end with it, and it ends with who started it.
//!
//! It needs root, and a few of Debian's packages: not every machine has that. A story that wants one looks at [`possible`] first.

pub mod door;
pub mod image;
pub mod installed;
pub mod release;

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node as Registered;
use kube::Api;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::process::Process;
use super::{free_port, part, root, wait_for};
use door::Door;

/// The image of the Pods that the tests make.
pub const BUSYBOX: &str = "node.test/busybox:1";

/// Where a Pod finds the API server.
const CLUSTER_ADDRESS: &str = "10.96.0.1:443";

/// Where a Pod finds what is outside of the cluster, on whichever node it is.
const OUTSIDE: &str = "198.51.100.1";

/// Where the agent of EKS Pod Identity is on each node. No SDK sends its token to another address without TLS.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
pub const AGENT: &str = "169.254.170.23";

/// How long a node may take to its start, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a node is like.
pub struct Settings {
    /// The image of its Pods has these static programs too.
    pub programs: Vec<PathBuf>,
    /// How often the kubelet looks at a Pod, and so at the Secrets that are mounted there.
    pub sync_frequency: Duration,
}

impl Default for Settings {
    /// The kubelet's own.
    fn default() -> Self {
        Self {
            programs: Vec::new(),
            sync_frequency: Duration::from_secs(60),
        }
    }
}

/// A running node.
pub struct Node {
    name: String,
    folder: PathBuf,
    address: String,
    init: u32,
    // They end in this order.
    process: Process,
    doors: Vec<Door>,
}

impl Node {
    /// Starts one in a folder of its name in `folder`, and waits until it is ready.
    pub async fn start(name: &str, folder: &Path, cluster: &ControlPlane, settings: &Settings) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        run(Command::new(root().join("tests/node/image"))
            .arg(folder.join("busybox.tar"))
            .args(&settings.programs));
        write_kubeconfig(&folder, cluster);
        let mut command = Command::new(root().join("tests/node/run"));
        command.arg(&folder).arg(name).arg(part("kubelet"));
        command.env("SYNC_FREQUENCY", format!("{}s", settings.sync_frequency.as_secs()));
        let mut process = Process::start("node", &folder, &command);

        let address = wait_for("the namespaces of the node", PATIENCE, async || {
            process.must_run();
            let address = fs::read_to_string(folder.join("address")).ok()?;
            Some(address.trim().to_owned())
        })
        .await;
        let init = fs::read_to_string(folder.join("init.pid")).unwrap();
        let mut node = Self {
            name: name.to_owned(),
            folder,
            address,
            init: init.trim().parse().unwrap(),
            process,
            doors: Vec::new(),
        };
        node.open_at(CLUSTER_ADDRESS.parse().unwrap(), cluster.port()).await;
        node.ready(cluster).await;
        node
    }

    /// Its IP address, where its kubelet is, and what Pods open on the node.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets its Pods reach a port of the machine's loopback address. Gives the address that they reach it at, the same on every node.
    pub async fn open(&mut self, port: u16) -> String {
        let inside = format!("{OUTSIDE}:{port}");
        self.open_at(inside.parse().unwrap(), port).await;
        inside
    }

    /// Lets its Pods reach the agent of EKS Pod Identity at a port of the machine's loopback address.
    pub async fn open_agent(&mut self, port: u16) {
        self.open_at(format!("{AGENT}:80").parse().unwrap(), port).await;
    }

    /// Lets it pull from a registry that has TLS at a port of the machine's loopback address, under a name that only the node knows.
    pub async fn open_registry(&mut self, host: &str, port: u16, authority: &Path) {
        self.open_at(format!("{OUTSIDE}:443").parse().unwrap(), port).await;
        let mut hosts = File::options().append(true).open(self.folder.join("hosts")).unwrap();
        writeln!(hosts, "{OUTSIDE} {host}").unwrap();
        let folder = self.folder.join("registries").join(host);
        fs::create_dir_all(&folder).unwrap();
        let settings = format!(
            "server = \"https://{host}\"\n[host.\"https://{host}\"]\nca = \"{}\"\n",
            authority.display()
        );
        fs::write(folder.join("hosts.toml"), settings).unwrap();
    }

    async fn open_at(&mut self, inside: SocketAddr, port: u16) {
        let init = self.init;
        let door = wait_for(&format!("a door at {inside}"), PATIENCE, async || {
            self.process.must_run();
            Door::open(init, inside, port).ok()
        })
        .await;
        self.doors.push(door);
    }

    /// Gives it an image, from an archive.
    pub fn load(&self, archive: &Path) {
        run(self.ctr().args(["images", "import"]).arg(archive));
    }

    /// Gives an image that it has another name.
    pub fn tag(&self, image: &str, name: &str) {
        run(self.ctr().args(["images", "tag", image, name]));
    }

    /// Puts an image that it has into a registry that asks for nothing.
    pub fn push(&self, image: &str, registry: SocketAddr, name: &str) {
        let target = format!("{registry}/{name}");
        self.tag(image, &target);
        run(self.ctr().args(["images", "push", "--plain-http", &target]));
        run(self.ctr().args(["images", "remove", &target]));
    }

    fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        command.args(["--namespace", "k8s.io", "--address"]);
        command.arg(self.folder.join("containerd.sock"));
        command
    }

    /// A program that is to run on the node, in all its namespaces.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args([
            "--target",
            &self.init.to_string(),
            "--mount",
            "--net",
            "--pid",
            "--ipc",
            "--uts",
            program,
        ]);
        command
    }

    /// All that its kubelet printed.
    pub fn kubelet_log(&self) -> String {
        fs::read_to_string(self.folder.join("kubelet.log")).unwrap_or_default()
    }

    /// Kills the one who runs it, who cannot clean up then, and waits until there is none of its processes any more, and no network interface.
    pub async fn kill(&mut self) {
        let runner = self.process.pid();
        let namespace = fs::read_link(format!("/proc/{}/ns/pid", self.init)).unwrap();
        let left = || {
            let group = format!("*/aws-assume-role-node-{runner}/*");
            let mut find = Command::new("find");
            find.args([
                "/sys/fs/cgroup",
                "-path",
                &group,
                "-name",
                "cgroup.procs",
                "-exec",
                "cat",
                "{}",
                "+",
            ]);
            let contained = String::from_utf8_lossy(&find.output().unwrap().stdout).lines().count();
            let processes = fs::read_dir("/proc").unwrap().flatten();
            let processes = processes
                .filter(|process| fs::read_link(process.path().join("ns/pid")).is_ok_and(|found| found == namespace))
                .count();
            let link = Path::new("/sys/class/net").join(format!("aarnode{runner}"));
            (contained, processes, link.exists())
        };
        let (contained, processes, link) = left();
        assert!(contained > 0 && processes > 0 && link, "{contained} {processes} {link}");
        // They are this process's, and would keep the network.
        self.doors.clear();
        self.process.signal("KILL");
        self.process.wait();
        wait_for("nothing to be left of a node", PATIENCE, async || {
            (left() == (0, 0, false)).then_some(())
        })
        .await;
    }

    async fn ready(&mut self, cluster: &ControlPlane) {
        let nodes: Api<Registered> = Api::all(cluster.client());
        wait_for(&format!("{} to be ready", self.name), PATIENCE, async || {
            self.process.must_run();
            let status = nodes.get_opt(&self.name).await.ok()??.status?;
            let conditions = status.conditions?;
            let mut conditions = conditions.iter();
            let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
            ready.then_some(())
        })
        .await;
    }
}

/// Starts what gives Pods their nodes.
pub fn start_scheduler(folder: &Path, cluster: &ControlPlane) -> Process {
    let kubeconfig = cluster.kubeconfig().display();
    let mut command = Command::new(part("kube-scheduler"));
    command
        .arg(format!("--kubeconfig={kubeconfig}"))
        .arg(format!("--authentication-kubeconfig={kubeconfig}"))
        .arg(format!("--authorization-kubeconfig={kubeconfig}"))
        .arg(format!("--secure-port={}", free_port()))
        .arg(format!("--cert-dir={}", folder.join("certificates").display()))
        .args(["--bind-address=127.0.0.1", "--leader-elect=false"]);
    Process::start("kube-scheduler", folder, &command)
}

/// Whether there can be a node on this machine. If not, it says so, so that nobody believes that what needs one was tested. It is an error
/// where one is asked for by `NODE=1`.
pub fn possible(what: &str) -> bool {
    let Some(reason) = missing() else {
        return true;
    };
    let message = format!("{what} is LEFT OUT, since there can be no node on this machine: {reason}");
    assert!(std::env::var("NODE").as_deref() != Ok("1"), "{message}");
    eprintln!("{message}");
    false
}

/// What keeps a node from running here.
fn missing() -> Option<String> {
    let able = Command::new(root().join("tests/node/able")).output().unwrap();
    if !able.status.success() {
        return Some(String::from_utf8_lossy(&able.stdout).trim().to_owned());
    }
    let parts = root().join("target/parts/bin");
    let built = ["kubelet", "kube-scheduler"]
        .iter()
        .all(|program| parts.join(program).exists());
    (!built).then(|| "NODE=1 tests/controlplane/build builds its kubelet".to_owned())
}

/// That of the cluster, as the kubelet reaches it.
fn write_kubeconfig(folder: &Path, cluster: &ControlPlane) {
    let config = fs::read_to_string(cluster.kubeconfig()).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{CLUSTER_ADDRESS}"));
    fs::write(folder.join("kubeconfig"), config.to_string()).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}
