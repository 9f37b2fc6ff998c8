use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use futures::future::pending;
use http::{Request, Response};
use kube::client::Body;
use tokio::time::timeout;
use tower::service_fn;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_api_server_that_comes_back_is_noticed_within_seconds() {
    let mut pauses = Pauses::default();
    let taken: Vec<_> = pauses.by_ref().take(50).collect();
    assert!(taken[0] <= FIRST_PAUSE, "{taken:?}");
    assert!(taken.iter().all(|pause| *pause <= LONGEST_PAUSE), "{taken:?}");
    // And it is not asked all the time while it is away, although each attempt begins with an event.
    pauses.reset();
    let pause = pauses.next().unwrap();
    assert!(pause >= LONGEST_PAUSE / 2, "{pause:?}");
    tokio::time::advance(FORGIVEN + Duration::from_secs(1)).await;
    assert!(pauses.next().unwrap() <= FIRST_PAUSE);
}

/// How often each path was asked for.
type Asked = Arc<Mutex<BTreeMap<String, usize>>>;

/// An API server without resources, whose watches have nothing to say. It does not permit those in the namespace `refused`.
fn server(asked: Asked) -> Client {
    let service = service_fn(move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let is_watch = request.uri().query().unwrap_or_default().contains("watch=true");
        *asked.lock().unwrap().entry(path.clone()).or_default() += 1;
        async move {
            let list = r#"{"apiVersion":"pincette.net/v1","kind":"AWSAssumeRoleList","metadata":{"resourceVersion":"7"},"items":[]}"#;
            let refusal = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}"#;
            let (status, text) = match path.contains("/refused/") {
                true => (403, refusal),
                false if is_watch => pending().await,
                false => (200, list),
            };
            let body = Body::from(text.as_bytes().to_vec());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        }
    });
    Client::new(service, "default")
}

/// What is watched in five minutes: the scopes whose list was complete, and how often each path was asked for.
async fn watched(scopes: &[Scope]) -> (Vec<Scope>, BTreeMap<String, usize>) {
    let asked = Asked::default();
    let mut stream = resources(&server(asked.clone()), scopes);
    let mut done = Vec::new();
    let reading = async {
        while let Some(event) = stream.next().await {
            if let WatchEvent::ListDone(scope) = event {
                done.push(scope);
            }
        }
    };
    let _ = timeout(Duration::from_secs(300), reading).await;
    done.sort();
    let asked = std::mem::take(&mut *asked.lock().unwrap());
    (done, asked)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_namespaces_are_watched_each_by_itself() {
    let scopes: Vec<_> = (100..200).map(|number| Scope::of(&format!("team-{number}"))).collect();
    let (done, asked) = watched(&scopes).await;
    assert_eq!(done, scopes);
    assert_eq!(asked.len(), 100);
    // A list, and a watch every quarter of a minute, since nobody answers.
    for (path, times) in asked {
        assert!(path.starts_with("/apis/pincette.net/v1/namespaces/team-1"), "{path}");
        assert!((17..=21).contains(&times), "{path}: {times}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_not_be_watched_is_asked_for_now_and_then_and_holds_up_no_other() {
    let scopes = [Scope::of("other"), Scope::of("refused")];
    let (done, asked) = watched(&scopes).await;
    assert_eq!(done, [Scope::of("other")]);
    let times = asked["/apis/pincette.net/v1/namespaces/refused/awsassumeroles"];
    assert!((25..=70).contains(&times), "{times}");
}
