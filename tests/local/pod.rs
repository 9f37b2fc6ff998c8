//! The Pods of the demo: those of the operator, which Helm installs, and one that lives on a Secret.

use std::time::Duration;

use serde_json::json;

use support::control_plane::{OPERATOR_NAMESPACE, helm};
use support::node::BUSYBOX;
use support::root;

use crate::demo::{Result, good, kubectl, kubectl_with, say, show, step, until, variable};
use crate::environment::folder;

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

/// Installs the operator, as its users do.
pub fn install() -> Result<()> {
    step("Install the operator");
    say(
        "Helm has done so when the environment started, with the values of where AWS, the image and the traces are. Once more changes nothing.",
    );
    let arguments = [
        "upgrade",
        "--install",
        "aws-assume-role",
        "charts/aws-assume-role",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--create-namespace",
        "--reuse-values",
        "--wait",
    ];
    println!("   $ helm {}", arguments.join(" "));
    let mut command = helm(&folder());
    command.args(arguments).current_dir(root());
    let output = command.env("KUBECONFIG", variable("KUBECONFIG")?).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("helm: {}", String::from_utf8_lossy(&output.stderr)));
    }
    // The notes tell somebody who has nothing yet how to go on.
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in told.lines().take_while(|line| !line.starts_with("NOTES")) {
        println!("     {line}");
    }
    show(&[
        "wait",
        "--for=condition=Ready",
        "pods",
        "--all",
        "--namespace",
        OPERATOR_NAMESPACE,
        "--timeout=60s",
    ])?;
    show(&["get", "pods", "--namespace", OPERATOR_NAMESPACE, "-o", "wide"])
}

/// Starts it on the Secret of my-app.
pub fn start() -> Result<()> {
    step("A Pod mounts the Secret");
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
