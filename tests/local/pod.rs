//! A Pod of the demo that lives on a Secret.

use std::time::Duration;

use serde_json::json;

use support::node::BUSYBOX;

use crate::demo::{Result, good, kubectl, kubectl_with, say, show, step, until};

/// How often the kubelet looks at what its Pods mount. It is a minute where nothing is said, which is long for somebody who watches.
pub const SYNC_FREQUENCY: Duration = Duration::from_secs(5);

/// Tells when the credentials in the file are others, and not what they are.
const TELLS: &str = r#"
while :; do
  now=$(md5sum < /credentials/awsAccessKeyId)
  [ "$now" = "$last" ] || echo "$(date -u +%H:%M:%S) the file has new credentials"
  last=$now
  sleep 1
done
"#;

/// Starts it on the Secret of my-app.
pub fn start() -> Result<()> {
    step("A Pod mounts the Secret");
    show(&["get", "pods", "--namespace", "aws-assume-role", "-o", "wide"])?;
    kubectl(&["delete", "pod", "my-app", "--ignore-not-found"])?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "my-app"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", TELLS],
                "volumeMounts": [{"name": "aws", "mountPath": "/credentials", "readOnly": true}],
            }],
            "volumes": [{"name": "aws", "secret": {"secretName": "my-app-credentials"}}],
        },
    });
    kubectl_with(&["create", "-f", "-"], &pod.to_string())?;
    show(&["wait", "--for=condition=Ready", "pod/my-app", "--timeout=60s"])
}

/// Sees that a refresh came to it.
pub async fn follow() -> Result<()> {
    let log = || kubectl(&["logs", "my-app"]);
    until("the Pod to see new credentials", Duration::from_secs(60), async || {
        Ok((log()?.lines().count() >= 2).then_some(()))
    })
    .await?;
    show(&["logs", "my-app"])?;
    good("The file in the Pod followed, without a restart.");
    say(&format!(
        "This kubelet looks every {} seconds. Most look once a minute.",
        SYNC_FREQUENCY.as_secs()
    ));
    Ok(())
}
