//! etcd, kube-apiserver and kube-controller-manager on free ports, with RBAC and an audit log, and the chart installed into them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::etcd::Etcd;
use super::process::Process;
use super::{free_port, part, root, wait_for};

/// Where the chart is installed.
pub const OPERATOR_NAMESPACE: &str = "aws-assume-role";

/// The chart's ServiceAccount.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "aws-assume-role-controller";

const API_SERVER: &str = "kube-apiserver";

/// Metadata of every request of the operator, when it is answered. The rest of the control plane is not of interest.
const AUDIT_POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:aws-assume-role:aws-assume-role-controller"]
  - level: None
"#;

/// A running control plane.
pub struct ControlPlane {
    folder: PathBuf,
    admin: PathBuf,
    client: Client,
    // The order is that of the stopping.
    controller_manager: Option<Process>,
    api_server: Option<Process>,
    api_server_command: Command,
    /// How many requests were denied by an API server that was just starting, since it does not know its roles then, or were to be denied.
    expected_denials: usize,
    etcd: Etcd,
}

impl ControlPlane {
    /// Starts one with all its files in `folder`, and installs the chart.
    pub async fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let etcd = Etcd::start(folder);
        let port = free_port();
        let api_server_command = api_server_command(folder, etcd.url(), port);
        let mut api_server = Process::start(API_SERVER, folder, &api_server_command);
        let admin = write_kubeconfig(folder, "kubeconfig", port, &json!({"token": "admin-token"}));
        let client = ready(&mut api_server, &admin).await;
        install_chart(folder, &admin, &[]);
        // After the custom resource definition: its garbage collector learns of kinds at its start, or half a minute later.
        let controller_manager = start_controller_manager(folder, &admin);
        Self {
            folder: folder.to_owned(),
            admin,
            client,
            controller_manager: Some(controller_manager),
            api_server: Some(api_server),
            api_server_command,
            expected_denials: 0,
            etcd,
        }
    }

    /// A client that may do everything.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The same, whatever certificate the API server shows.
    pub async fn unverified_client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(&self.admin).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.accept_invalid_certs = true;
        Client::try_from(config).unwrap()
    }

    /// The kubeconfig of that client.
    pub fn kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// Installs the chart anew, with other values.
    pub fn upgrade_chart(&self, arguments: &[&str]) {
        install_chart(&self.folder, &self.admin, arguments);
    }

    /// A client with a token of the chart's own ServiceAccount.
    pub async fn operator_client(&self) -> Client {
        let kubeconfig = self.write_operator_kubeconfig("operator-client.kubeconfig", self.port());
        client(&kubeconfig).await.expect("a client for the API server")
    }

    /// A kubeconfig with a token of the chart's own ServiceAccount, so that the chart's RBAC is what the operator lives by.
    pub fn operator_kubeconfig(&self) -> PathBuf {
        self.write_operator_kubeconfig("operator.kubeconfig", self.port())
    }

    /// The same for one of several replicas, with a token of its own. Gives what the audit log knows that token by, too.
    pub fn replica_kubeconfig(&self, replica: &str) -> (PathBuf, String) {
        let kubeconfig = self.write_operator_kubeconfig(&format!("{replica}.kubeconfig"), self.port());
        let config: Value = serde_json::from_str(&fs::read_to_string(&kubeconfig).unwrap()).unwrap();
        let token = config["users"][0]["user"]["token"].as_str().unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        (kubeconfig, format!("JTI={}", claims["jti"].as_str().unwrap()))
    }

    /// The same, through another port of the loopback address.
    pub fn operator_kubeconfig_through(&self, port: u16) -> PathBuf {
        self.write_operator_kubeconfig(&format!("operator-{port}.kubeconfig"), port)
    }

    fn write_operator_kubeconfig(&self, name: &str, port: u16) -> PathBuf {
        let token = self.kubectl_ok(&[
            "create",
            "token",
            OPERATOR_SERVICE_ACCOUNT,
            "--namespace",
            OPERATOR_NAMESPACE,
            "--duration=24h",
        ]);
        write_kubeconfig(&self.folder, name, port, &json!({"token": token.trim()}))
    }

    /// A kubeconfig whose token is in a file that is read again and again, as the one of a pod is, through a port of the loopback address.
    pub fn kubeconfig_with_token_file(&self, name: &str, port: u16, token_file: &Path) -> PathBuf {
        write_kubeconfig(&self.folder, name, port, &json!({"tokenFile": token_file}))
    }

    /// The port of the API server.
    pub fn port(&self) -> u16 {
        let config = fs::read_to_string(&self.admin).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
        server.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap()
    }

    /// Starts the controller manager anew. Where several lead by turns, as is usual, one ends when it has not reached the API server for a while,
    /// and the garbage collector of the next looks at everything again.
    /// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/>
    pub fn restart_controller_manager(&mut self) {
        self.controller_manager = None;
        self.controller_manager = Some(start_controller_manager(&self.folder, &self.admin));
    }

    /// Ends the controller manager, and with it the garbage collector.
    pub fn stop_controller_manager(&mut self) {
        self.controller_manager = None;
    }

    /// Ends the API server from one moment to the next.
    pub fn kill_api_server(&mut self) {
        let mut api_server = self.api_server.take().expect("an API server that runs");
        api_server.signal("KILL");
        api_server.wait();
    }

    /// Starts it again and waits until it is ready.
    pub async fn restart_api_server(&mut self) {
        let mut api_server = Process::start(API_SERVER, &self.folder, &self.api_server_command);
        ready(&mut api_server, &self.admin).await;
        self.api_server = Some(api_server);
        self.expected_denials = self.all_denied().count();
    }

    /// Starts an API server that was ended again, with a certificate of another authority than before. Its file takes the place of the earlier
    /// one's. Whoever has read that one does not trust the API server any more: [`Self::client`] too.
    pub async fn restart_with_another_authority(&mut self) {
        for name in ["apiserver.crt", "apiserver.key"] {
            fs::remove_file(self.folder.join("certificates").join(name)).unwrap();
        }
        self.restart_api_server().await;
        self.restart_controller_manager();
    }

    /// What the API server keeps its objects in.
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// Ends etcd from one moment to the next.
    pub fn kill_etcd(&mut self) {
        self.etcd.kill();
    }

    /// Starts it again with its data, and waits until the API server has found it.
    pub async fn restart_etcd(&mut self) {
        self.etcd.restart();
        let api_server = self.api_server.as_mut().expect("an API server that runs");
        ready(api_server, &self.admin).await;
    }

    /// Runs kubectl with something on its standard input.
    pub fn kubectl_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(part("kubectl"))
            .args(arguments)
            .env("KUBECONFIG", &self.admin)
            // Its cache of the API is kept per server, not in anybody's home.
            .env("KUBECACHEDIR", self.folder.join("kubectl-cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs kubectl, which must succeed, and gives what it printed.
    pub fn kubectl_ok(&self, arguments: &[&str]) -> String {
        let output = self.kubectl_with(arguments, "");
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The operator's requests that the API server wrote down.
    pub fn audit(&self) -> Vec<Value> {
        fs::read_to_string(self.folder.join("audit.log"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The operator's requests that were not allowed.
    pub fn denied(&self) -> Vec<String> {
        self.all_denied().skip(self.expected_denials).collect()
    }

    /// Gives them, and takes them for expected from now on.
    pub fn forgive_denied(&mut self) -> Vec<String> {
        let denied = self.denied();
        self.expected_denials += denied.len();
        denied
    }

    fn all_denied(&self) -> impl Iterator<Item = String> {
        let events = self.audit().into_iter();
        events
            .filter(|event| event["annotations"]["authorization.k8s.io/decision"] == "forbid")
            .map(|event| format!("{} {}", event["verb"], event["requestURI"]))
    }
}

/// A client for an API server as soon as it is ready.
async fn ready(api_server: &mut Process, admin: &Path) -> Client {
    wait_for("the API server", Duration::from_secs(60), async || {
        api_server.must_run();
        let client = client(admin).await?;
        let request = http::Request::get("/readyz").body(Vec::new()).ok()?;
        let ready = client.request_text(request).await.ok()? == "ok";
        ready.then_some(client)
    })
    .await
}

async fn client(kubeconfig: &Path) -> Option<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).ok()?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .ok()?;
    Client::try_from(config).ok()
}

/// Its keys are made here, so that the same command starts one that knows the tokens of the one before.
fn api_server_command(folder: &Path, etcd_url: &str, port: u16) -> Command {
    let file = |name: &str| folder.join(name).display().to_string();
    let (private, public) = key_pair();
    fs::write(folder.join("service-accounts.key"), private).unwrap();
    fs::write(folder.join("service-accounts.pub"), public).unwrap();
    fs::write(folder.join("tokens.csv"), "admin-token,admin,admin,system:masters\n").unwrap();
    fs::write(folder.join("audit-policy.yaml"), AUDIT_POLICY).unwrap();
    let mut command = Command::new(part("kube-apiserver"));
    command
        .arg(format!("--etcd-servers={etcd_url}"))
        .arg(format!("--secure-port={port}"))
        .arg(format!("--cert-dir={}", file("certificates")))
        .arg(format!("--service-account-key-file={}", file("service-accounts.pub")))
        .arg(format!(
            "--service-account-signing-key-file={}",
            file("service-accounts.key")
        ))
        .arg(format!("--token-auth-file={}", file("tokens.csv")))
        .arg(format!("--audit-policy-file={}", file("audit-policy.yaml")))
        .arg(format!("--audit-log-path={}", file("audit.log")))
        .args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            // The name of a node is known nowhere here.
            "--kubelet-preferred-address-types=InternalIP",
            "--watch-cache=true",
        ]);
    command
}

fn start_controller_manager(folder: &Path, kubeconfig: &Path) -> Process {
    let file = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(part("kube-controller-manager"));
    command
        .arg(format!("--kubeconfig={}", kubeconfig.display()))
        .arg(format!(
            "--service-account-private-key-file={}",
            file("service-accounts.key")
        ))
        .arg(format!("--root-ca-file={}", file("certificates/apiserver.crt")))
        .arg(format!("--secure-port={}", free_port()))
        .arg(format!("--cert-dir={}", file("certificates")))
        .args(["--bind-address=127.0.0.1", "--controllers=*", "--leader-elect=false"]);
    Process::start("kube-controller-manager", folder, &command)
}

fn install_chart(folder: &Path, kubeconfig: &Path, arguments: &[&str]) {
    let output = helm(folder)
        .args(["upgrade", "--install", "aws-assume-role"])
        .arg(root().join("charts/aws-assume-role"))
        .args(["--namespace", OPERATOR_NAMESPACE, "--create-namespace"])
        .args(arguments)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "helm: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Helm with its files in `folder`.
pub fn helm(folder: &Path) -> Command {
    let mut command = Command::new(part("helm"));
    for (variable, name) in [
        ("HELM_CACHE_HOME", "helm-cache"),
        ("HELM_CONFIG_HOME", "helm-config"),
        ("HELM_DATA_HOME", "helm-data"),
    ] {
        command.env(variable, folder.join(name));
    }
    command
}

/// The objects of the chart, as `helm template` makes them in the namespace `somewhere`.
pub fn rendered(arguments: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let output = helm(folder.path())
        .args(["template", "aws-assume-role"])
        .arg(root().join("charts/aws-assume-role"))
        .args(["--namespace", "somewhere"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.split("\n---")
        .filter_map(|part| serde_saphyr::from_str(part.trim_start_matches("---")).ok())
        .filter(Value::is_object)
        .collect()
}

/// Writes a kubeconfig, as JSON, which is YAML too.
fn write_kubeconfig(folder: &Path, name: &str, port: u16, user: &Value) -> PathBuf {
    let path = folder.join(name);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": folder.join("certificates/apiserver.crt"),
        }}],
        "users": [{"name": "local", "user": user}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "local", "namespace": "default"}}],
    });
    fs::write(&path, serde_json::to_string_pretty(&config).unwrap()).unwrap();
    path
}

/// A pair of keys for the tokens of ServiceAccounts, in PEM: the private one and the public one. RSA, as it is at EKS, and as AWS asks of an
/// issuer.
fn key_pair() -> (String, String) {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
