//! The watch on the resources, over what an API server may send.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_assume_role::cluster::kube::KubeCluster;
use aws_assume_role::cluster::{Cluster, WatchEvent};
use aws_assume_role::fence::Fence;
use aws_assume_role::spec::Resource;
use axum::body::{Body, Bytes};
use futures::{StreamExt, stream};
use http::{Request, Response};
use kube::Client;
use serde_json::{Value, json};

use super::choices::Choices;
use super::{Input, json, spec};
use crate::fixtures::{map_spec, resource};

/// How long what was sent may take to arrive. It comes at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent: a list, and what changes after it.
#[derive(Debug, Default)]
struct Sent {
    listed: Vec<Value>,
    changed: Vec<Value>,
}

/// Whether hostile resources keep the watch from seeing any other: the list tells each of them, and so does what follows.
pub fn holds(data: &[u8]) {
    let sent = Arc::new(match Input::of(data) {
        // The API server sends what is JSON, whatever it is.
        Input::Text(text) => match serde_json::from_str(&text) {
            Ok(spec) => of_a_spec(&spec),
            Err(_) => return,
        },
        Input::Choices(mut choices) => several(&mut choices),
    });
    let names = |sent: &[Value]| -> Vec<String> {
        let names = sent
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap_or_default());
        names.map(str::to_owned).collect()
    };
    let expected = (names(&sent.listed), names(&sent.changed));
    let arrived = runtime().block_on(async {
        let cluster = KubeCluster::new(server(sent), "test", Fence::open());
        let arriving = arriving(&cluster, expected.1.len());
        tokio::time::timeout(PATIENCE, arriving).await
    });
    let (listed, changed) = arrived.unwrap_or_else(|_| panic!("not all of this is seen: {expected:?}"));
    let names = |resources: &[Resource]| -> Vec<String> {
        resources.iter().map(|resource| resource.key.name.to_string()).collect()
    };
    assert_eq!((names(&listed), names(&changed)), expected);
    for healthy in listed
        .iter()
        .chain(&changed)
        .filter(|resource| resource.key.name.starts_with("healthy"))
    {
        assert!(healthy.spec.is_ok(), "{healthy:?}");
    }
}

fn of_a_spec(spec: &Value) -> Sent {
    Sent {
        listed: vec![resource("hostile", spec), healthy("healthy")],
        changed: vec![resource("hostile", spec), healthy("healthy-later")],
    }
}

fn several(choices: &mut Choices<'_>) -> Sent {
    let mut sent = Sent::default();
    for number in 0..=choices.below(3) {
        sent.listed.push(spec::resource(choices, &format!("listed-{number}")));
        sent.changed.push(spec::resource(choices, &format!("changed-{number}")));
    }
    let place = choices.below(sent.listed.len() + 1);
    sent.listed.insert(place, healthy("healthy"));
    sent.changed.push(healthy("healthy-later"));
    sent
}

fn healthy(name: &str) -> Value {
    resource(name, &map_spec(name))
}

/// What the watch makes of the list, and of so many changes after it.
async fn arriving(cluster: &KubeCluster, changes: usize) -> (Vec<Resource>, Vec<Resource>) {
    let mut events = cluster.watch();
    let (mut listed, mut changed) = (Vec::new(), Vec::new());
    while changed.len() < changes {
        match events.next().await {
            Some(WatchEvent::Listed(resource)) => listed.push(resource),
            Some(WatchEvent::Applied(resource)) => changed.push(resource),
            Some(WatchEvent::Heard(_) | WatchEvent::ListStarted(_) | WatchEvent::ListDone(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    (listed, changed)
}

/// An API server that sends it. A watch goes on after it in silence.
fn server(sent: Arc<Sent>) -> Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let query = request.uri().query().unwrap_or_default();
        let body = match query.contains("watch=true") {
            true => {
                let lines: String = sent.changed.iter().map(line).collect();
                let sent = stream::iter([Ok::<_, Infallible>(Bytes::from(lines))]);
                Body::from_stream(sent.chain(stream::pending()))
            }
            false => Body::from(list(&sent.listed)),
        };
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    Client::new(service, "default")
}

fn list(objects: &[Value]) -> String {
    let list = json!({
        "apiVersion": "pincette.net/v1",
        "kind": "AWSAssumeRoleList",
        "metadata": {"resourceVersion": "7"},
        "items": objects,
    });
    json::to_text(&list)
}

fn line(object: &Value) -> String {
    let mut object = object.clone();
    // Whatever the API server sends has one, and the watch goes on from it.
    object["metadata"]["resourceVersion"] = "8".into();
    let mut line = json::to_text(&json!({"type": "MODIFIED", "object": object}));
    line.push('\n');
    line
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    })
}
