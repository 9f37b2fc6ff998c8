//! The floor: what nobody who does the job can do without, done by hand. One call to STS, one write of a Secret, one of a status.
//!
//! The resources of the floor are of a kind of their own, equal to the real one but for its group, so that no operator sees them.

use std::ops::Range;
use std::time::{Duration, Instant};

use aws_assume_role::api;
use aws_sdk_sts::Client as Sts;
use aws_sdk_sts::types::Credentials;
use futures::{StreamExt, stream};
use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Request;
use serde_json::{Value, json};

use support::control_plane::ControlPlane;
use support::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, role_arn};
use support::world::aws_configuration;

use crate::ground::{CONCURRENCY, Ground, create_request, name, named_resource, namespace};

/// The group of the resources of the floor.
const GROUP: &str = "floor.example.com";

/// The names of what the floor makes begin with it.
pub const PREFIX: &str = "floor";

/// Installs the kind.
pub fn install(cluster: &ControlPlane) {
    let mut definition = api::definition();
    definition.metadata.name = Some(format!("{}.{GROUP}", definition.spec.names.plural));
    definition.spec.group = GROUP.to_owned();
    let text = serde_json::to_string(&definition).unwrap();
    let output = cluster.kubectl_with(&["create", "-f", "-"], &text);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crd = format!("crd/{}", definition.metadata.name.unwrap_or_default());
    cluster.kubectl_ok(&["wait", "--for=condition=Established", &crd]);
}

/// Somebody who does it by hand.
pub struct Hand {
    client: Client,
    sts: Sts,
}

impl Hand {
    pub fn new(ground: &Ground) -> Self {
        let configuration = aws_configuration(ground.aws_url(), ACCESS_KEY_ID, SECRET_ACCESS_KEY, None);
        Self {
            client: ground.client.clone(),
            sts: Sts::new(&configuration),
        }
    }

    /// Does it for one resource that is there: how long the call to STS and the two writes take.
    pub async fn refresh(&self, number: usize) -> Duration {
        self.create(number).await;
        let started = Instant::now();
        let request = self.sts.assume_role().role_arn(role_arn(&name(PREFIX, number)));
        let request = request.role_session_name("by-hand").duration_seconds(43_200);
        let answer = request.send().await.unwrap();
        self.write(number, answer.credentials.as_ref()).await;
        started.elapsed()
    }

    /// Makes resources and does the two writes for each, many at the same time: how long all of it takes.
    pub async fn write_all(&self, numbers: Range<usize>) -> Duration {
        let started = Instant::now();
        stream::iter(numbers)
            .for_each_concurrent(CONCURRENCY, async |number| {
                self.create(number).await;
                self.write(number, None).await;
            })
            .await;
        started.elapsed()
    }

    async fn create(&self, number: usize) {
        let mut resource = named_resource(PREFIX, number);
        resource["apiVersion"] = json!(format!("{GROUP}/v1"));
        self.send(create_request(GROUP, &resource)).await;
    }

    async fn write(&self, number: usize, credentials: Option<&Credentials>) {
        let (namespace, name) = (namespace(number), name(PREFIX, number));
        let body = serde_json::to_vec(&secret(&namespace, &name, credentials)).unwrap();
        let secrets = Request::new(format!("/api/v1/namespaces/{namespace}/secrets"));
        self.send(secrets.create(&PostParams::default(), body).unwrap()).await;
        let resources = Request::new(format!("/apis/{GROUP}/v1/namespaces/{namespace}/awsassumeroles"));
        let patch = Patch::Merge(json!({"status": status(&name)}));
        let request = resources.patch_subresource("status", &name, &PatchParams::default(), &patch);
        self.send(request.unwrap()).await;
    }

    async fn send(&self, request: http::Request<Vec<u8>>) {
        self.client.request::<serde::de::IgnoredAny>(request).await.unwrap();
    }
}

/// A Secret of the size of those that the operator writes.
fn secret(namespace: &str, name: &str, credentials: Option<&Credentials>) -> Value {
    let filler = "s".repeat(122);
    let (id, secret, token) = match credentials {
        Some(credentials) => (
            credentials.access_key_id(),
            credentials.secret_access_key(),
            credentials.session_token(),
        ),
        None => ("ASIA0000000000000000", &filler[..40], filler.as_str()),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"app.kubernetes.io/managed-by": "by-hand", "aws-assume-role": "false"},
            "annotations": {
                "example.com/expiration": "2030-01-01T12:00:00Z",
                "example.com/spec-hash": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            },
        },
        "type": "Opaque",
        "stringData": {"awsAccessKeyId": id, "awsSecretAccessKey": secret, "awsSessionToken": token},
    })
}

/// A status of the size of those that the operator writes.
fn status(name: &str) -> Value {
    let time = "2030-01-01T00:00:00Z";
    let condition = |type_: &str| {
        json!({
            "type": type_, "status": "True", "reason": "Issued", "observedGeneration": 1, "lastTransitionTime": time,
            "message": "The Secret holds credentials until 2030-01-01T12:00:00Z.",
        })
    };
    json!({
        "observedGeneration": 1,
        "conditions": [condition("Ready"), condition("Refreshed")],
        "roleArn": role_arn(name),
        "secretName": name,
        "expiration": "2030-01-01T12:00:00Z",
        "lastRefreshTime": time,
        "nextRefreshTime": time,
        "phase": "Ready",
        "health": {"status": "Healthy"},
    })
}
