//! The metrics for whoever asks: written once for all who ask within a second.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
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

#[derive(Clone)]
pub(super) struct Scrapes(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    ask: Ask,
    places: Arc<Semaphore>,
    /// Whoever finds it old makes it anew, while the others wait.
    text: Mutex<Option<(Instant, Bytes)>>,
}

impl Scrapes {
    pub(super) fn new(metrics: Metrics, ask: Ask) -> Self {
        Self(Arc::new(Shared {
            metrics,
            ask,
            places: Arc::new(Semaphore::new(AT_ONCE)),
            text: Mutex::new(None),
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
                let length = HeaderValue::from(text.len());
                let mut response = Response::new(in_pieces(text, place));
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(metrics::TEXT));
                headers.insert(CONTENT_LENGTH, length);
                response
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    async fn text(&self) -> Result<Bytes, prometheus::Error> {
        let mut text = self.0.text.lock().await;
        if let Some((made, text)) = text.as_ref()
            && made.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let snapshot = tokio::time::timeout(ASK_TIMEOUT, (self.0.ask)()).await;
        let written = self.0.metrics.text(snapshot.ok().flatten().as_ref())?;
        let written = Bytes::from(written);
        *text = Some((Instant::now(), written.clone()));
        Ok(written)
    }
}

/// The text as a body that keeps the place until almost all of it is sent. Pieces are copied, so that one that waits in a buffer does not
/// keep the whole text.
fn in_pieces(text: Bytes, place: OwnedSemaphorePermit) -> Body {
    let pieces = stream::unfold((text, place), |(mut text, place)| async move {
        if text.is_empty() {
            return None;
        }
        let piece = text.split_to(text.len().min(BUFFER));
        let piece: Result<_, Infallible> = Ok(Frame::data(Bytes::copy_from_slice(&piece)));
        Some((piece, (text, place)))
    });
    StreamBody::new(pieces).boxed_unsync()
}
