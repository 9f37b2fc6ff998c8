//! A TCP proxy whose connections can die without a word, as behind a balancer or a NAT that forgets them, or be refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::free_port;

/// What becomes of the bytes. No connection is ever closed by it, unless they are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// They pass.
    Open,
    /// Those of connections that are there now pass no more, those of new ones do.
    Forgotten,
    /// Connections are accepted, and bytes taken, and no answer passes.
    Silent,
    /// Nobody listens any more, and the connections that are there now are closed.
    Refused,
}

/// The proxy. It ends when it is dropped, with all connections.
pub struct TcpProxy {
    port: u16,
    line: watch::Sender<(Line, usize)>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// Starts one on a free port before a port of the loopback address.
    pub async fn start(target: u16) -> Self {
        let port = free_port();
        let mut listener = Some(listen(port).await);
        let (line, mut receiver) = watch::channel((Line::Open, 0));
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let task = tokio::spawn(async move {
            loop {
                let accepting = match listener.take() {
                    Some(listener) => listener,
                    None => listen(port).await,
                };
                let is_refused = |(line, _): &(Line, usize)| *line == Line::Refused;
                let mut refusal = receiver.clone();
                tokio::select! {
                    () = accept(accepting, target, &counter, receiver.clone()) => {}
                    _ = refusal.wait_for(is_refused) => {}
                }
                let _ = receiver.wait_for(|line| !is_refused(line)).await;
            }
        });
        Self {
            port,
            line,
            connections,
            task,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Says what becomes of the bytes from now on.
    pub fn set(&self, line: Line) {
        self.line.send_replace((line, self.connections()));
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(port: u16) -> TcpListener {
    TcpListener::bind(("127.0.0.1", port)).await.unwrap()
}

/// Accepts connections and passes their bytes on, until it is dropped with all of them.
async fn accept(listener: TcpListener, target: u16, counter: &AtomicUsize, line: watch::Receiver<(Line, usize)>) {
    let mut tasks = JoinSet::new();
    loop {
        let (from, _) = listener.accept().await.unwrap();
        let number = counter.fetch_add(1, Ordering::SeqCst);
        // As an address without anybody behind it.
        let Ok(to) = TcpStream::connect(("127.0.0.1", target)).await else {
            continue;
        };
        let (from_read, from_write) = from.into_split();
        let (to_read, to_write) = to.into_split();
        let (line, back) = (line.clone(), line.clone());
        tasks.spawn(async move {
            tokio::join!(
                pass(from_read, to_write, line, number, false),
                pass(to_read, from_write, back, number, true),
            );
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// Passes bytes on while the line lets them, and takes them all the same when it does not. A dead line is not told of an end either.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut line: watch::Receiver<(Line, usize)>,
    number: usize,
    is_answer: bool,
) {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let dead = |&(line, before): &(Line, usize)| match line {
            Line::Open | Line::Refused => false,
            Line::Forgotten => number < before,
            Line::Silent => is_answer,
        };
        let is_dead = dead(&line.borrow_and_update());
        match (read, is_dead) {
            (0, false) => {
                let _ = to.shutdown().await;
                return;
            }
            // Only the client can end it now.
            (0, true) if is_answer => std::future::pending().await,
            (0, true) => return,
            (_, true) => {}
            (_, false) => {
                if to.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
        }
    }
}
