//! The operators: processes that live by a token of a pod of their own, and reach the API server by a line of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use support::control_plane::{ControlPlane, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
use support::operator::OperatorCommand;
use support::process::Process;
use support::tcp_proxy::TcpProxy;
use tokio::time::timeout;

use crate::record::Record;

/// How long a call to the API server may take here.
pub const CALL: Duration = Duration::from_secs(5);

/// How long an operator may take to stop when it is asked to. A pod has 30 s.
const GRACE: Duration = Duration::from_secs(28);

/// One operator, whether it runs or not.
pub struct Operator {
    /// The name of its pod.
    pub name: String,
    pub line: TcpProxy,
    client: Client,
    record: Record,
    folder: PathBuf,
    token_file: PathBuf,
    command: OperatorCommand,
    process: Option<Process>,
    /// Since when it has been asked to stop.
    stopping: Option<Instant>,
}

impl Operator {
    /// Starts one with its files in a folder below `folder`.
    pub async fn start(
        name: &str,
        (cluster, client): (&ControlPlane, &Client),
        aws_endpoint: &str,
        folder: &Path,
        record: &Record,
    ) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        let line = TcpProxy::start(cluster.port()).await;
        let token_file = folder.join("token");
        let kubeconfig = cluster.kubeconfig_with_token_file(&format!("{name}.kubeconfig"), line.port(), &token_file);
        let command = OperatorCommand::new(&kubeconfig, aws_endpoint)
            .with_access_key(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
            .env("POD_NAME", name)
            .env("POD_NAMESPACE", OPERATOR_NAMESPACE);
        let mut operator = Self {
            name: name.to_owned(),
            line,
            client: client.clone(),
            record: record.clone(),
            folder,
            token_file,
            command,
            process: None,
            stopping: None,
        };
        assert!(operator.give_token().await, "no token for {name}");
        operator.run();
        operator
    }

    /// Where its HTTP server is.
    pub fn url(&self) -> String {
        format!("http://{}", self.command.http_address())
    }

    /// Ends it and starts it again, if it runs and nobody else is about to.
    pub fn restart(&mut self) {
        if self.stopping.is_none() && self.kill() {
            self.run();
        }
    }

    /// Starts the process.
    pub fn run(&mut self) {
        let process = self.command.start(&self.folder);
        self.record.lives(&self.name, process.pid());
        self.process = Some(process);
    }

    /// Ends it from one moment to the next. Tells whether it ran.
    pub fn kill(&mut self) -> bool {
        let Some(mut process) = self.take_running() else {
            return false;
        };
        self.record.dies(&self.name, "killed");
        process.signal("KILL");
        process.wait();
        true
    }

    /// Asks it to stop. Tells whether it ran.
    pub fn terminate(&mut self) -> bool {
        self.mind();
        let Some(process) = &self.process else { return false };
        process.signal("TERM");
        self.stopping = Some(Instant::now());
        true
    }

    /// Whether it has stopped, as it was asked to.
    pub fn has_stopped(&mut self) -> bool {
        let Some(process) = self.process.as_mut() else {
            return true;
        };
        let late = self.stopping.is_some_and(|since| since.elapsed() > GRACE);
        if process.is_running() && !late {
            return false;
        }
        if process.is_running() {
            process.signal("KILL");
            self.record
                .fail(&self.name, &format!("{} did not stop when it was asked to", self.name));
        }
        let status = process.wait();
        self.record.dies(&self.name, "stopped");
        if !status.success() && !late {
            let what = format!("{} stopped with {status}: {}", self.name, self.last_words());
            self.record.fail(&self.name, &what);
        }
        self.process = None;
        self.stopping = None;
        true
    }

    /// Stops it in the middle of whatever it does, or lets it go on. Tells whether it ran.
    pub fn freeze(&mut self, frozen: bool) -> bool {
        self.mind();
        let Some(process) = &self.process else { return false };
        process.signal(if frozen { "STOP" } else { "CONT" });
        self.record.set_awake(&self.name, !frozen);
        true
    }

    /// Looks whether it ended by itself, which it must not, and starts it again, as the kubelet does.
    pub fn mind(&mut self) {
        let Some(process) = self.process.as_mut() else { return };
        if self.stopping.is_some() || process.is_running() {
            return;
        }
        let status = process.wait();
        self.record.dies(&self.name, "ended by itself");
        let what = format!("{} ended by itself with {status}: {}", self.name, self.last_words());
        self.record.fail(&self.name, &what);
        self.process = None;
        self.run();
    }

    fn take_running(&mut self) -> Option<Process> {
        self.mind();
        self.process.take()
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(self.folder.join("operator.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// The lines of its log that tell of a panic.
    pub fn panics(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.join("operator.log")).unwrap_or_default();
        let panicked = |line: &&str| line.contains("panicked") || line.contains("RUST_BACKTRACE");
        log.lines().filter(panicked).map(str::to_owned).collect()
    }

    /// Makes its pod, if there is none, and puts a token of it in its place, as the kubelet does.
    pub async fn give_token(&self) -> bool {
        let Some(Some(token)) = timeout(CALL, self.new_token()).await.ok() else {
            return false;
        };
        self.write_token(&token);
        true
    }

    /// In one step, as a projected volume changes.
    pub fn write_token(&self, token: &str) {
        let new = self.token_file.with_extension("new");
        fs::write(&new, token).unwrap();
        fs::rename(&new, &self.token_file).unwrap();
    }

    /// Its token counts no more from now on, since its pod is gone. Tells whether that could be done.
    pub async fn revoke_token(&self) -> bool {
        let deleted = self
            .pods()
            .delete(&self.name, &DeleteParams::default().grace_period(0))
            .await;
        deleted.is_ok()
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE)
    }

    async fn new_token(&self) -> Option<String> {
        // The audit log tells operators apart by the pods of their tokens. Nobody runs this pod.
        let pod = json!({
            "metadata": {"name": self.name},
            "spec": {
                "serviceAccountName": OPERATOR_SERVICE_ACCOUNT,
                "containers": [{"name": "operator", "image": "operator"}],
            },
        });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let pod = match self.pods().get_opt(&self.name).await.ok()? {
            Some(pod) => pod,
            None => self.pods().create(&PostParams::default(), &pod).await.ok()?,
        };
        let request = json!({"spec": {
            "audiences": [],
            "expirationSeconds": 3600,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": self.name, "uid": pod.uid()},
        }});
        let request: TokenRequest = serde_json::from_value(request).unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE);
        let given = accounts
            .create_token_request(OPERATOR_SERVICE_ACCOUNT, &PostParams::default(), &request)
            .await
            .ok()?;
        Some(given.status?.token)
    }
}
