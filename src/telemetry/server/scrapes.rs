//! The metrics for whoever asks: written once for all who ask within a second.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Ask;
use super::connections::BUFFER;
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

    pub(super) async fn answer(&self) -> Response {
        let place = tokio::time::timeout(PLACE_TIMEOUT, self.0.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            let retry = [(header::RETRY_AFTER, "5")];
            return (StatusCode::SERVICE_UNAVAILABLE, retry, "too many ask for the metrics\n").into_response();
        };
        match self.text().await {
            Ok(text) => {
                let headers = [
                    (header::CONTENT_TYPE, metrics::TEXT.to_owned()),
                    (header::CONTENT_LENGTH, text.0.len().to_string()),
                ];
                (headers, in_pieces(text, place)).into_response()
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
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
        let piece: Result<_, std::convert::Infallible> = Ok(Bytes::copy_from_slice(&rest[..length]));
        Some((piece, (text, sent + length, place)))
    });
    Body::from_stream(pieces)
}
