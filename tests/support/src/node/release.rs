//! The chart, installed for Pods on nodes.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::image::IMAGE;
use crate::control_plane::{ControlPlane, OPERATOR_NAMESPACE};
use crate::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};

/// Installs it with its defaults, but for the image, for where AWS is and for who asks it, and for what the arguments for Helm say. It waits
/// until every replica is available.
pub fn install(cluster: &ControlPlane, folder: &Path, aws: &str, arguments: &[&str]) {
    let identity = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "identity", "namespace": OPERATOR_NAMESPACE},
        "stringData": {"id": ACCESS_KEY_ID, "secret": SECRET_ACCESS_KEY},
    });
    let applied = cluster.kubectl_with(&["apply", "-f", "-"], &identity.to_string());
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    let (repository, tag) = IMAGE.rsplit_once(':').expect("a name with a tag");
    let from = |key: &str| json!({"secretKeyRef": {"name": "identity", "key": key}});
    let values = json!({
        "image": {"repository": repository, "tag": tag},
        "aws": {"region": "eu-west-1", "instanceMetadata": false},
        "extraEnv": [
            {"name": "AWS_ENDPOINT_URL", "value": aws},
            {"name": "AWS_ACCESS_KEY_ID", "valueFrom": from("id")},
            {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": from("secret")},
        ],
    });
    let path = folder.join("values.json");
    fs::write(&path, values.to_string()).unwrap();
    let path = path.to_str().expect("a path in UTF-8");
    cluster.upgrade_chart(&[&["--values", path, "--wait", "--timeout=150s"][..], arguments].concat());
}
