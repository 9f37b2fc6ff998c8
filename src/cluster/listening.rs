//! A client for one watch: it waits for nothing for ever, asks at a walking pace, and tells when the API server was heard.
//!
//! kube's watcher swallows bookmarks, and the end of a watch as well. Both are signs of life, so they are looked for here, below it.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use http::{Request, Response};
use http_body_util::{BodyStream, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::{Body, ClientBuilder};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tower::{BoxError, service_fn};

use super::nesting::Shallow;

/// For how long a watch is asked for. The API server sends a bookmark just before it ends it, and the next one goes on from there, so it costs
/// one small request. It bounds how long a watch whose connection has died goes unnoticed.
pub(super) const WATCH_SECONDS: u32 = 25;

/// How much later its end may come before the connection counts as dead.
const WATCH_MARGIN: Duration = Duration::from_secs(3);

/// How long the API server may take to accept a watch. It does so at once, unless it is busy.
const WATCH_START_TIMEOUT: Duration = Duration::from_secs(15);

/// How long one page of a list may take, from the request to its last byte.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// The least time between the beginnings of two watches. A server that ends each at once is not asked without a pause.
const WATCH_PACE: Duration = Duration::from_secs(1);

/// How often it is told at most that the API server was heard.
const HEARD_PACE: Duration = Duration::from_secs(1);

/// The API server took a request and did not answer it whole.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the API server was silent: the answer was not complete after {} s", .0.as_secs())]
struct Silent(Duration);

type Frames = StreamBody<BoxStream<'static, Result<Frame<Bytes>, BoxError>>>;

/// A client over another one for one watch, and a stream that yields when the API server was heard.
pub(super) fn listening(client: Client) -> (Client, impl Stream<Item = ()> + Send + 'static) {
    let (heard, hears) = watch::channel(());
    let namespace = client.default_namespace().to_owned();
    let not_before = Arc::new(Mutex::new(Instant::now()));
    let service = service_fn(move |request: Request<Body>| {
        let (client, heard, not_before) = (client.clone(), heard.clone(), not_before.clone());
        async move {
            if !is_watch(&request) {
                return send(&client, request, LIST_TIMEOUT, LIST_TIMEOUT, heard).await;
            }
            let mut not_before = not_before.lock().await;
            sleep_until(*not_before).await;
            *not_before = Instant::now() + WATCH_PACE;
            let whole = Duration::from_secs(WATCH_SECONDS.into()) + WATCH_MARGIN;
            send(&client, request, WATCH_START_TIMEOUT, whole, heard).await
        }
    });
    let client = ClientBuilder::new(service, namespace).build();
    let hears = stream::unfold(hears, async |mut hears| {
        sleep(HEARD_PACE).await;
        hears.changed().await.ok()?;
        Some(((), hears))
    });
    (client, hears)
}

fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|parameter| parameter == "watch=true")
}

/// Sends a request whose answer has to begin and to be complete in time. A refusal is an answer but no news of what is watched, so it does
/// not count as heard.
async fn send(
    client: &Client,
    request: Request<Body>,
    start: Duration,
    whole: Duration,
    heard: watch::Sender<()>,
) -> Result<Response<Frames>, BoxError> {
    let deadline = Instant::now() + whole;
    let response = timeout(start, client.send(request))
        .await
        .map_err(|_| Silent(start))??;
    let heard = response.status().is_success().then_some(heard);
    if let Some(heard) = &heard {
        heard.send_replace(());
    }
    Ok(response.map(|body| {
        let frames = Box::pin(BodyStream::new(body));
        let state = Some((frames, Shallow::default(), heard));
        let bounded = stream::unfold(state, move |state| async move {
            let (mut frames, mut shallow, heard) = state?;
            match timeout_at(deadline, frames.next()).await {
                Ok(Some(Ok(frame))) => {
                    if let Some(heard) = &heard {
                        heard.send_replace(());
                    }
                    let frame = frame.map_data(|data| shallow.pass(data));
                    Some((Ok(frame), Some((frames, shallow, heard))))
                }
                Ok(Some(Err(error))) => Some((Err(error.into()), None)),
                Ok(None) => None,
                Err(_) => Some((Err(Silent(whole).into()), None)),
            }
        });
        StreamBody::new(bounded.boxed())
    }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::pending;

    use super::*;
    use crate::cluster::{Scope, WatchEvent, watch::resources};

    const EMPTY_LIST: &str =
        r#"{"apiVersion":"pincette.net/v1","kind":"AWSAssumeRoleList","metadata":{"resourceVersion":"7"},"items":[]}"#;

    /// What the API server makes of a request.
    #[derive(Clone, Copy, PartialEq)]
    enum Answer {
        /// None.
        Nothing,
        /// The head, and then no byte.
        Head,
        /// The whole answer. A watch ends at once with it.
        Whole,
    }

    /// What one watch made of an API server within five minutes.
    struct Seen {
        lists: usize,
        watches: usize,
        events: Vec<WatchEvent>,
    }

    async fn within_five_minutes(list: Answer, watch: Answer) -> Seen {
        let (lists, watches) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (list_counter, watch_counter) = (lists.clone(), watches.clone());
        let service = service_fn(move |request: Request<Body>| {
            let (answer, counter) = match is_watch(&request) {
                true => (watch, &watch_counter),
                false => (list, &list_counter),
            };
            counter.fetch_add(1, Ordering::SeqCst);
            let text = if is_watch(&request) { "" } else { EMPTY_LIST };
            async move {
                let whole: Result<Frame<Bytes>, Infallible> = Ok(Frame::data(Bytes::from(text)));
                let frames = match answer {
                    Answer::Nothing => pending().await,
                    Answer::Head => stream::pending().boxed(),
                    Answer::Whole => stream::iter([whole]).boxed(),
                };
                Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
            }
        });
        let mut stream = resources(&Client::new(service, "default"), &[Scope::all()]);
        let mut events = Vec::new();
        let reading = async {
            while let Some(event) = stream.next().await {
                events.push(event);
            }
        };
        let _ = timeout(Duration::from_secs(300), reading).await;
        Seen {
            lists: lists.load(Ordering::SeqCst),
            watches: watches.load(Ordering::SeqCst),
            events,
        }
    }

    impl Seen {
        fn heard(&self) -> usize {
            let heard = self.events.iter().filter(|event| matches!(event, WatchEvent::Heard(_)));
            heard.count()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_without_an_answer_is_asked_for_again() {
        let seen = within_five_minutes(Answer::Nothing, Answer::Nothing).await;
        assert!((8..=12).contains(&seen.lists), "{}", seen.lists);
        assert_eq!((seen.watches, seen.heard()), (0, 0));
        let seen = within_five_minutes(Answer::Head, Answer::Nothing).await;
        assert!((8..=12).contains(&seen.lists), "{}", seen.lists);
        assert!(!seen.events.contains(&WatchEvent::ListDone(Scope::all())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_without_an_answer_is_asked_for_again_and_not_heard() {
        let seen = within_five_minutes(Answer::Whole, Answer::Nothing).await;
        assert!((16..=20).contains(&seen.watches), "{}", seen.watches);
        // The list was heard, and nothing since. The list is not made anew for it.
        assert_eq!((seen.lists, seen.heard()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_falls_silent_is_renewed_in_time() {
        let seen = within_five_minutes(Answer::Whole, Answer::Head).await;
        assert!((9..=12).contains(&seen.watches), "{}", seen.watches);
        assert_eq!(seen.lists, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_ends_each_watch_at_once_is_not_asked_without_a_pause() {
        let seen = within_five_minutes(Answer::Whole, Answer::Whole).await;
        assert!((290..=301).contains(&seen.watches), "{}", seen.watches);
        assert_eq!(seen.lists, 1);
        assert!(seen.heard() > 200, "{}", seen.heard());
    }
}
