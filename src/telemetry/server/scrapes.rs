//! The metrics for whoever asks: written once for all who ask within a second.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connections::BUFFER;
use super::{Ask, Body, text};
use crate::telemetry::metrics::{self, Metrics};

/// How long the text is good for.
const FRESH: Duration = Duration::from_secs(1);

/// How long the supervisor may take to say how things stand. The text leaves it out otherwise.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);

/// How many are given the text at the same time. Each may hold on to a text of its own, which with many resources is large.
const AT_ONCE: usize = 8;

/// How long another one waits for a place.
const PLACE_TIMEOUT: Duration = Duration::from_secs(3);

/// The metrics, written down.
struct Text(String);

#[derive(Clone)]
pub(super) struct Scrapes(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    ask: Ask,
    places: Arc<Semaphore>,
    /// Whoever finds it old writes it anew, while the others wait.
    text: Mutex<Option<(Instant, Arc<Text>)>>,
    written: Notify,
}

impl Scrapes {
    pub(super) fn new(metrics: Metrics, ask: Ask) -> Self {
        Self(Arc::new(Shared {
            metrics,
            ask,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            text: Mutex::new(None),
            written: Notify::new(),
        }))
    }

    pub(super) async fn answer(&self) -> Response<Body> {
        let place = tokio::time::timeout(PLACE_TIMEOUT, self.0.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let mut busy = text(StatusCode::SERVICE_UNAVAILABLE, "too many ask for the metrics\n");
            busy.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return busy;
        };
        match self.text().await {
            Ok(text) => {
                let length = HeaderValue::from(text.0.len());
                let mut response = Response::new(in_pieces(text, place));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(metrics::TEXT));
                headers.insert(CONTENT_LENGTH, length);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    async fn text(&self) -> Result<Arc<Text>, prometheus::Error> {
        let mut text = self.0.text.lock().await;
        if let Some((written, text)) = text.as_ref()
            && written.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let snapshot = tokio::time::timeout(ASK_TIMEOUT, (self.0.ask)()).await;
        let written = Arc::new(Text(self.0.metrics.text(snapshot.ok().flatten().as_ref())?));
        *text = Some((Instant::now(), written.clone()));
        self.0.written.notify_one();
        Ok(written)
    }

    /// Lets go of the text when it is old: that of many resources is large. It never ends.
    pub(super) async fn let_go(self) {
        loop {
            self.0.written.notified().await;
            tokio::time::sleep(FRESH).await;
            self.0
                .text
                .lock()
                .await
                .take_if(|(written, _)| written.elapsed() >= FRESH);
        }
    }
}

/// The text as a body that keeps the place until almost all of it is sent. Pieces are copied, so that one that waits in a buffer does not
/// keep the whole text.
fn in_pieces(text: Arc<Text>, place: OwnedSemaphorePermit) -> Body {
    let pieces = stream::unfold((text, 0, place), |(text, sent, place)| async move {
        let rest = &text.0.as_bytes()[sent..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.len().min(BUFFER);
        let piece: Result<_, Infallible> = Ok(Frame::data(Bytes::copy_from_slice(&rest[..length])));
        Some((piece, (text, sent + length, place)))
    });
    StreamBody::new(pieces).boxed_unsync()
}
