//! The chart, installed for Pods on nodes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::AGENT;
use super::image::IMAGE;
use crate::control_plane::{ControlPlane, OPERATOR_NAMESPACE};
use crate::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

/// Where EKS mounts the tokens of a Pod.
const TOKENS: &str = "/var/run/secrets/tokens";

/// How the operator proves to AWS who it is.
pub enum Identity {
    /// By the access key of a user, in a Secret.
    AccessKey,
    /// By its ServiceAccount, for the role of that ARN (IRSA).
    ServiceAccount(String),
    /// By the agent of EKS Pod Identity.
    PodIdentity,
}

impl Identity {
    /// The values of the chart.
    fn values(&self) -> Value {
        match self {
            Self::AccessKey => {
                let from = |key: &str| json!({"secretKeyRef": {"name": "identity", "key": key}});
                json!({"extraEnv": [
                    {"name": "AWS_ACCESS_KEY_ID", "valueFrom": from("id")},
                    {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": from("secret")},
                ]})
            }
            // What EKS's webhook adds to the Pod.
            // <https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html>
            Self::ServiceAccount(role_arn) => with_token(
                "sts.amazonaws.com",
                &json!([
                    {"name": "AWS_ROLE_ARN", "value": role_arn},
                    {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": format!("{TOKENS}/token")},
                ]),
            ),
            // <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
            Self::PodIdentity => with_token(
                "pods.eks.amazonaws.com",
                &json!([
                    {"name": "AWS_CONTAINER_CREDENTIALS_FULL_URI", "value": format!("http://{AGENT}/v1/credentials")},
                    {"name": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "value": format!("{TOKENS}/token")},
                ]),
            ),
        }
    }
}

/// A token of the Pod's ServiceAccount, which the kubelet keeps fresh.
fn with_token(audience: &str, environment: &Value) -> Value {
    let token = json!({"serviceAccountToken": {"path": "token", "audience": audience, "expirationSeconds": 86400}});
    json!({
        "extraEnv": environment,
        "extraVolumes": [{"name": "tokens", "projected": {"sources": [token]}}],
        "extraVolumeMounts": [{"name": "tokens", "mountPath": TOKENS, "readOnly": true}],
    })
}

/// Installs it with its defaults, but for the image, for where AWS is and for who asks it, and for what the arguments for Helm say. It waits
/// until every replica is available.
pub fn install(cluster: &ControlPlane, folder: &Path, aws: &str, identity: &Identity, arguments: &[&str]) {
    if let Identity::AccessKey = identity {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "identity", "namespace": OPERATOR_NAMESPACE},
            "stringData": {"id": ACCESS_KEY_ID, "secret": SECRET_ACCESS_KEY},
        });
        let applied = cluster.kubectl_with(&["apply", "-f", "-"], &secret.to_string());
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    }

    let (repository, tag) = IMAGE.rsplit_once(':').expect("a name with a tag");
    let mut values = identity.values();
    values["image"] = json!({"repository": repository, "tag": tag});
    values["aws"] = json!({"region": "eu-west-1", "instanceMetadata": false});
    if let Some(environment) = values["extraEnv"].as_array_mut() {
        environment.push(json!({"name": "AWS_ENDPOINT_URL", "value": aws}));
    }
    let path = folder.join("values.json");
    fs::write(&path, values.to_string()).unwrap();
    let path = path.to_str().expect("a path in UTF-8");
    cluster.upgrade_chart(&[&["--values", path, "--wait", "--timeout=150s"][..], arguments].concat());
}
