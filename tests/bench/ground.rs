//! Where an operator is measured: a control plane of its own, the strict AWS over HTTP with a latency and a rate limit, and the operator as a
//! process. What is measured next gets a new one, so that nothing is left over from before.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::jiff::SignedDuration;
use kube::Client;
use kube::api::PostParams;
use kube::core::Request;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::control_plane::{ControlPlane, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, map_spec, resource, role_arn, with};
use support::http;
use support::operator::OperatorCommand;
use support::process::Process;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::wait_for;

use crate::by_hand;
use crate::processes;

/// How long AWS takes for an answer.
pub const LATENCY: Duration = Duration::from_millis(10);

/// How many calls a second STS takes by default, per account and Region; as many may come at once.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
pub const STS_RATE: f64 = 600.0;

/// Over how many namespaces the resources are spread.
const NAMESPACES: usize = 10;

/// How many requests of the bench are under way at the same time.
pub const CONCURRENCY: usize = 64;

/// How long an operator may take to answer its first probe.
const PROBES_TIMEOUT: Duration = Duration::from_secs(5);

/// An operator that is measured.
pub struct Subject {
    /// What the table calls it.
    pub name: &'static str,
    pub binary: PathBuf,
    /// The definition that it is installed with, if not with that of the chart.
    pub definition: Option<PathBuf>,
    pub arguments: Vec<String>,
    /// Whether it may do everything in the cluster. What another operator needs is not known, and both are to have the same.
    pub any_right: bool,
    /// Its own limit, in calls to AWS per second.
    pub call_rate: String,
}

/// The ground. The operator ends before what it stands on.
pub struct Ground {
    operator: Option<Process>,
    command: OperatorCommand,
    pub aws: StrictAws,
    aws_server: HttpServer,
    pub cluster: ControlPlane,
    pub client: Client,
    folder: TempDir,
}

impl Ground {
    /// Everything but the operator, which is not started yet.
    pub async fn lay(subject: &Subject) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("aws-assume-role-bench-")
            .tempdir()
            .unwrap();
        let cluster = ControlPlane::start(folder.path()).await;
        if let Some(definition) = &subject.definition {
            cluster.kubectl_ok(&["replace", "-f", definition.to_str().unwrap()]);
        }
        if subject.any_right {
            let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
            cluster.kubectl_ok(&[
                "create",
                "clusterrolebinding",
                "any-right",
                "--clusterrole=cluster-admin",
                &account,
            ]);
        }
        for number in 0..NAMESPACES {
            cluster.kubectl_ok(&["create", "namespace", &namespace(number)]);
        }
        by_hand::install(&cluster);
        let aws = StrictAws::new(clock(SignedDuration::ZERO));
        aws.forget_calls();
        aws.set_latency(LATENCY);
        aws.throttle(STS_RATE, STS_RATE);
        let aws_server = HttpServer::start(aws.clone()).await;
        let command = OperatorCommand::of(&subject.binary, &cluster.operator_kubeconfig(), aws_server.url())
            .with_access_key(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
            .env("AWS_CALL_RATE", &subject.call_rate)
            .env("RUST_LOG", "warn")
            .arguments(&subject.arguments);
        Self {
            operator: None,
            command,
            aws,
            aws_server,
            client: cluster.client(),
            cluster,
            folder,
        }
    }

    /// Starts the operator and waits until it knows everything and has nothing to do.
    pub async fn start_operator(&mut self) {
        self.launch_operator();
        if self.answers_probes().await {
            let what = "the operator that knows all resources and Secrets";
            wait_for(what, Duration::from_secs(300), async || {
                let (status, _) = http::get(&self.url("/readyz")).await?;
                status.is_success().then_some(())
            })
            .await;
        }
        self.at_rest().await;
    }

    /// Whether the operator is one that tells when it is ready. Another one may not be.
    async fn answers_probes(&self) -> bool {
        let answer = async {
            while http::get(&self.url("/readyz")).await.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PROBES_TIMEOUT, answer).await.is_ok()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.command.http_address())
    }

    /// Starts the operator.
    pub fn launch_operator(&mut self) {
        self.operator = Some(self.command.start(self.folder.path()));
    }

    /// Asks the operator to stop and waits for its end.
    pub fn stop_operator(&mut self) {
        if let Some(operator) = self.operator.take() {
            operator.stop();
        }
    }

    /// Waits until the operator has nothing to do.
    pub async fn at_rest(&self) {
        processes::at_rest("the operator", self.pid()).await;
    }

    pub fn pid(&self) -> u32 {
        self.operator.as_ref().expect("an operator that runs").pid()
    }

    /// The endpoint of AWS.
    pub fn aws_url(&self) -> &str {
        self.aws_server.url()
    }

    /// The operator's metrics, if it has any.
    pub async fn metrics(&self) -> Option<String> {
        let (status, text) = http::get(&self.url("/metrics")).await?;
        status.is_success().then_some(text)
    }

    /// How much of a processor everything but the operator has used so far: the API server with etcd, and the bench itself with its AWS.
    pub fn others(&self) -> [Duration; 2] {
        let part = |name| processes::processor(processes::named(self.folder.path(), name));
        [
            part("kube-apiserver") + part("etcd"),
            processes::processor(std::process::id()),
        ]
    }

    /// How often AWS was asked for a session, and how many of these calls it threw out.
    pub fn assumed(&self) -> (u64, u64) {
        let counts = self.aws.counts();
        let all = counts.iter().filter(|(name, _)| name.starts_with("AssumeRole"));
        let throttled = counts.get("AssumeRole Throttling").copied().unwrap_or_default();
        (all.map(|(_, number)| number).sum(), throttled)
    }

    /// Makes roles, so that only the resources are left to be made.
    pub fn add_roles(&self, prefix: &str, numbers: Range<usize>) {
        for number in numbers {
            self.aws.add_role(&role_arn(&name(prefix, number)), open_role());
        }
    }

    /// Makes resources, many at the same time.
    pub async fn create_all(&self, prefix: &str, numbers: Range<usize>) {
        stream::iter(numbers)
            .for_each_concurrent(CONCURRENCY, |number| self.create(prefix, number))
            .await;
    }

    /// Makes one resource. Its role and its Secret have its name.
    pub async fn create(&self, prefix: &str, number: usize) {
        let request = create_request("pincette.net", &named_resource(prefix, number));
        self.client.request::<Value>(request).await.unwrap();
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(operator) = &self.operator
        {
            let log = operator.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the operator's last words:\n{}",
                lines[lines.len().saturating_sub(10)..].join("\n")
            );
        }
    }
}

/// The name of a resource.
pub fn name(prefix: &str, number: usize) -> String {
    format!("{prefix}-{number}")
}

/// The namespace of the resource of that number.
pub fn namespace(number: usize) -> String {
    format!("bench-{}", number % NAMESPACES)
}

/// A resource whose credentials are due in hours.
pub fn named_resource(prefix: &str, number: usize) -> Value {
    let name = name(prefix, number);
    let spec = with(map_spec(&name), &json!({"durationSeconds": 43_200}));
    let mut resource = resource(&name, &spec);
    resource["metadata"]["namespace"] = json!(namespace(number));
    resource
}

/// The request that makes a resource, in that API group.
pub fn create_request(group: &str, resource: &Value) -> ::http::Request<Vec<u8>> {
    let namespace = resource["metadata"]["namespace"].as_str().unwrap();
    let path = format!("/apis/{group}/v1/namespaces/{namespace}/awsassumeroles");
    let body = serde_json::to_vec(resource).unwrap();
    Request::new(path).create(&PostParams::default(), body).unwrap()
}
