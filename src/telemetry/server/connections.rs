//! The connections to the HTTP server, bounded in number and in time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tracing::warn;

use super::Pages;

/// How many connections there are at the same time. A newcomer takes the place of the one that has been idle longest: a probe that comes
/// behind many that only hold their connections open is answered.
pub(super) const CONNECTIONS: usize = 256;

/// How long a connection may take to send the head of a request, be it the first or another.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// After that time a connection takes no other request. What is under way is finished.
const LIFETIME: Duration = Duration::from_secs(10);

/// How long that may take: whoever does not read the answer is not waited for.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the head of a request may be, in bytes. It bounds what is buffered of an answer as well.
pub(super) const BUFFER: usize = 16 * 1024;

/// How many headers a request may have.
const HEADERS: usize = 64;

/// The pause after a connection could not be accepted, as when the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Accepts connections until it is dropped, and serves them. They end with it.
pub(super) async fn accept(listener: TcpListener, pages: Pages) {
    let mut connections = Connections::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.open(stream, pages.clone()),
                Err(error) => {
                    warn!(%error, "a connection to the HTTP server could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.tasks.join_next() => connections.forget_ended(),
        }
    }
}

#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// From the oldest to the newest.
    open: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Whether a request is being answered.
    busy: Arc<AtomicBool>,
}

impl Connections {
    fn open(&mut self, stream: TcpStream, pages: Pages) {
        self.forget_ended();
        if self.open.len() >= CONNECTIONS {
            self.close_one();
        }
        let busy = Arc::new(AtomicBool::new(false));
        let task = self.tasks.spawn(serve(stream, pages, busy.clone()));
        self.open.push_back(Connection { task, busy });
    }

    fn forget_ended(&mut self) {
        self.open.retain(|connection| !connection.task.is_finished());
    }

    /// Closes the oldest one that is idle, or the oldest if none is.
    fn close_one(&mut self) {
        let is_idle = |connection: &Connection| !connection.busy.load(Ordering::Relaxed);
        let at = self.open.iter().position(is_idle).unwrap_or(0);
        if let Some(connection) = self.open.remove(at) {
            connection.task.abort();
        }
    }
}

/// Serves a connection for as long as it may live.
async fn serve(stream: TcpStream, pages: Pages, busy: Arc<AtomicBool>) {
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        busy.store(true, Ordering::Relaxed);
        let (pages, busy) = (pages.clone(), busy.clone());
        async move {
            let response = pages.answer(request).await;
            busy.store(false, Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection);
    // How a connection ends is the client's affair.
    if tokio::time::timeout(LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(FINISH_TIMEOUT, connection).await;
    }
}
