//! A world for a story: a control plane of its own, moto behind a proxy, and the operator when the story wants it.

use std::path::Path;
use std::time::Duration;

use aws_assume_role::api::{AWSAssumeRole, Condition};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_async::time::SystemTimeSource;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;
use tempfile::TempDir;

use super::aws_proxy::AwsProxy;
use super::control_plane::{ControlPlane, OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use super::fixtures::{ACCESS_KEY_ID, NAMESPACE, SECRET_ACCESS_KEY, list, map_spec, resource, role_arn};
use super::moto::Moto;
use super::operator::OperatorCommand;
use super::process::Process;
use super::{http, wait_for};

/// How long a story waits for what should take a second or two, on a machine that is busy with other stories.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The world.
pub struct World {
    /// The operator, if it runs.
    pub operator: Option<Process>,
    /// The proxy before moto.
    pub aws: AwsProxy,
    /// AWS.
    pub moto: Moto,
    /// The cluster.
    pub cluster: ControlPlane,
    operator_address: Option<String>,
    folder: TempDir,
}

impl World {
    /// Everything but the operator.
    pub async fn without_operator() -> Self {
        let folder = tempfile::Builder::new().prefix("aws-assume-role-").tempdir().unwrap();
        let (cluster, moto) = tokio::join!(ControlPlane::start(folder.path()), Moto::start(folder.path()));
        let aws = AwsProxy::start(moto.url()).await;
        Self {
            operator: None,
            aws,
            moto,
            cluster,
            operator_address: None,
            folder,
        }
    }

    /// Everything, the operator with a plain access key.
    pub async fn start() -> Self {
        let mut world = Self::without_operator().await;
        world.start_operator();
        world
    }

    /// The folder of all files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How the operator is started in this world, without an AWS identity.
    pub fn operator_command(&self) -> OperatorCommand {
        OperatorCommand::new(&self.cluster.operator_kubeconfig(), self.aws.url())
    }

    /// How the operator is started with a plain access key, to ask the AWS of an endpoint.
    pub fn operator_command_for(&self, aws_endpoint: &str) -> OperatorCommand {
        OperatorCommand::new(&self.cluster.operator_kubeconfig(), aws_endpoint)
            .with_access_key(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
    }

    /// Starts the operator with a plain access key.
    pub fn start_operator(&mut self) {
        self.start_operator_with(|command| command);
    }

    /// Starts the operator with a plain access key, and with what is changed in its command.
    pub fn start_operator_with(&mut self, change: impl FnOnce(OperatorCommand) -> OperatorCommand) {
        let command = self.operator_command_for(self.aws.url());
        self.run_operator(&change(command));
    }

    /// Starts the operator by a command of any kind.
    pub fn run_operator(&mut self, command: &OperatorCommand) {
        self.operator_address = Some(command.http_address().to_owned());
        self.operator = Some(command.start(self.folder()));
    }

    /// The address of the operator's HTTP server. The operator was started by one of the functions above.
    pub fn operator_url(&self) -> String {
        let address = self.operator_address.as_ref();
        format!("http://{}", address.expect("an operator that this world started"))
    }

    /// The operator's metrics, as soon as it gives them.
    pub async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.operator_url());
        wait_for("the operator's metrics", PATIENCE, async || {
            let (status, text) = http::get(&url).await?;
            status.is_success().then_some(text)
        })
        .await
    }

    /// Waits until the operator knows all resources and their Secrets.
    pub async fn operator_ready(&self) {
        let url = format!("{}/readyz", self.operator_url());
        wait_for("the operator to be ready", PATIENCE, async || {
            let (status, _) = http::get(&url).await?;
            status.is_success().then_some(())
        })
        .await;
    }

    /// All that the operator printed.
    pub fn operator_log(&self) -> String {
        self.operator.as_ref().map(Process::log).unwrap_or_default()
    }

    /// A configuration of the AWS SDK for calls through the proxy, with an access key or a session.
    pub fn aws_configuration(&self, id: &str, secret: &str, token: Option<&str>) -> SdkConfig {
        aws_configuration(self.aws.url(), id, secret, token)
    }

    /// Uses credentials: the ARN that AWS knows their holder by.
    pub async fn caller(&self, id: &str, secret: &str, token: &str) -> String {
        let client = aws_sdk_sts::Client::new(&self.aws_configuration(id, secret, Some(token)));
        let identity = client.get_caller_identity().send().await.unwrap();
        identity.arn.unwrap()
    }

    /// A session of a role.
    pub async fn assume(&self, role: &str) -> aws_sdk_sts::types::Credentials {
        let client = aws_sdk_sts::Client::new(&self.aws_configuration("AKIASOMEBODY00000000", "secret", None));
        let request = client.assume_role().role_arn(role_arn(role)).role_session_name("test");
        request.send().await.unwrap().credentials.unwrap()
    }

    /// `kubectl create` of Maps whose roles and Secrets have those names, all at once.
    pub fn create_maps(&self, names: &[String]) {
        let resources: Vec<_> = names.iter().map(|name| resource(name, &map_spec(name))).collect();
        let output = self
            .cluster
            .kubectl_with(&["create", "-f", "-"], &list(&resources).to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// `kubectl apply` of one resource of that name and spec, in the namespace of the stories. Gives kubectl's complaint, if it has one.
    pub fn apply(&self, name: &str, spec: &Value) -> Result<(), String> {
        let resource = resource(name, spec);
        let output = self.cluster.kubectl_with(&["apply", "-f", "-"], &resource.to_string());
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// `kubectl patch` of an object: a merge patch.
    pub fn patch(&self, kind: &str, name: &str, change: &Value) {
        self.cluster
            .kubectl_ok(&["patch", kind, name, "--type=merge", "--patch", &change.to_string()]);
    }

    /// Lets the operator ask for the tokens of all ServiceAccounts, and makes some in the namespace of the stories.
    pub async fn grant_tokens(&self, service_accounts: &[&str]) {
        let operator = format!("{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
        for arguments in [
            [
                "clusterrole",
                "tokens",
                "--verb=create",
                "--resource=serviceaccounts/token",
            ],
            [
                "clusterrolebinding",
                "tokens",
                "--clusterrole=tokens",
                &format!("--serviceaccount={operator}"),
            ],
        ] {
            self.cluster.kubectl_ok(&[&["create"][..], &arguments].concat());
        }
        for name in service_accounts {
            self.cluster.kubectl_ok(&["create", "serviceaccount", name]);
        }
        let impersonated = format!("--as=system:serviceaccount:{operator}");
        let question = ["auth", "can-i", "create", "serviceaccounts", "--subresource=token"];
        wait_for("the right to ask for tokens", PATIENCE, async || {
            let answer = self
                .cluster
                .kubectl_with(&[&question[..], &["--all-namespaces", &impersonated]].concat(), "");
            answer.status.success().then_some(())
        })
        .await;
    }

    /// Asks for a refresh of the resource of that name, or of `--all`. Another value is another request.
    pub fn request_refresh(&self, name: &str, value: &str) {
        let request = format!("pincette.net/refresh={value}");
        self.cluster
            .kubectl_ok(&["annotate", "awsassumerole", name, "--overwrite", &request]);
    }

    /// `kubectl delete` of one resource.
    pub fn delete(&self, name: &str) {
        self.cluster
            .kubectl_ok(&["delete", "awsassumerole", name, "--wait=true", "--timeout=30s"]);
    }

    /// The resource of that name, if it is there.
    pub async fn resource(&self, name: &str) -> Option<AWSAssumeRole> {
        let api: Api<AWSAssumeRole> = Api::namespaced(self.cluster.client(), NAMESPACE);
        api.get_opt(name).await.unwrap()
    }

    /// The Secret of that name, if it is there.
    pub async fn secret(&self, name: &str) -> Option<Secret> {
        let api: Api<Secret> = Api::namespaced(self.cluster.client(), NAMESPACE);
        api.get_opt(name).await.unwrap()
    }

    /// Waits until a condition of a resource is as wanted, and gives it.
    pub async fn condition(&self, name: &str, type_: &str, status: &str, reason: &str) -> Condition {
        let what = format!("{type_}={status} ({reason}) of {name}");
        wait_for(&what, PATIENCE, async || {
            let resource = self.resource(name).await?;
            let condition = condition(&resource, type_)?;
            (condition.status == status && condition.reason == reason).then_some(condition)
        })
        .await
    }

    /// Waits until so many calls to AWS are held up at the same time.
    pub async fn hanging_calls(&self, number: usize) {
        wait_for(&format!("{number} hanging calls"), PATIENCE, async || {
            (self.aws.hanging() == number).then_some(())
        })
        .await;
    }

    /// Waits until the Secret of a resource holds valid credentials.
    pub async fn ready(&self, name: &str) -> AWSAssumeRole {
        self.condition(name, "Ready", "True", "Issued").await;
        self.resource(name).await.unwrap()
    }

    /// Waits until a Secret is gone.
    pub async fn secret_gone(&self, name: &str) {
        wait_for(&format!("the end of Secret {name}"), PATIENCE, async || {
            self.secret(name).await.is_none().then_some(())
        })
        .await;
    }
}

impl Drop for World {
    /// In every story the operator must have got along with the rights that the chart gives it.
    fn drop(&mut self) {
        let denied = self.cluster.denied();
        let asked = self.cluster.audit().len();
        let ran = self.operator.take().is_some();
        if std::thread::panicking() {
            return;
        }
        assert!(denied.is_empty(), "the API server denied: {denied:?}");
        assert!(asked > 0 || !ran, "the audit log holds no request of the operator");
    }
}

/// A configuration of the AWS SDK for calls to an endpoint, with an access key or a session.
pub fn aws_configuration(endpoint: &str, id: &str, secret: &str, token: Option<&str>) -> SdkConfig {
    let credentials = Credentials::new(id, secret, token.map(str::to_owned), None, "test");
    let http_client = aws_smithy_http_client::Builder::new().build_http();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .http_client(http_client)
        .sleep_impl(default_async_sleep().unwrap())
        .time_source(SystemTimeSource::new())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// A condition of a resource.
pub fn condition(resource: &AWSAssumeRole, type_: &str) -> Option<Condition> {
    let conditions = &resource.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == type_).cloned()
}

/// The value of a key of a Secret.
pub fn value(secret: &Secret, key: &str) -> String {
    let data = secret.data.as_ref().and_then(|data| data.get(key));
    String::from_utf8(data.unwrap_or_else(|| panic!("no key {key}")).0.clone()).unwrap()
}

/// The keys of a Secret.
pub fn keys(secret: &Secret) -> Vec<String> {
    secret.data.clone().unwrap_or_default().into_keys().collect()
}
