//! A proxy as companies have them: `CONNECT` for TLS, absolute addresses for plain HTTP. Whatever is asked for, it leads to one place, so that
//! a name that nobody knows is reached through it and not without it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The proxy.
pub struct ForwardProxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl ForwardProxy {
    /// Starts one that leads to `target`.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let server = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(lead(client, target, heard.clone()));
            }
        });
        Self { url, asked, server }
    }

    /// Its address, for the variables.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The first lines of what it was asked, one per connection.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn lead(mut client: TcpStream, target: SocketAddr, asked: Arc<Mutex<Vec<String>>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let first = text.lines().next()?.to_owned();
    asked.lock().unwrap().push(first.clone());
    let mut onward = TcpStream::connect(target).await.ok()?;
    match first.starts_with("CONNECT ") {
        true => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
        // The server behind it takes absolute addresses too.
        false => onward.write_all(&head).await,
    }
    .ok()?;
    copy_bidirectional(&mut client, &mut onward).await.ok()?;
    Some(())
}
