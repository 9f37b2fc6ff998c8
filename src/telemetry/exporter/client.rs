//! The client for OTLP over HTTP.

use std::error::Error;

use futures::FutureExt;
use futures::future::BoxFuture;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::sync::watch;

use crate::errors::chain_of;

/// A client that keeps why its last request failed. The exporter says no more of it than that the network is at fault.
#[derive(Debug)]
pub(super) struct Client {
    client: reqwest::blocking::Client,
    causes: watch::Sender<Option<String>>,
}

impl Client {
    /// The client, and where the cause of the last failure is found. There is none after a success.
    pub(super) fn new(client: reqwest::blocking::Client) -> (Self, watch::Receiver<Option<String>>) {
        let (causes, receiver) = watch::channel(None);
        (Self { client, causes }, receiver)
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'call>(
        &'client self,
        request: Request<Bytes>,
    ) -> BoxFuture<'call, Result<Response<Bytes>, HttpError>>
    where
        'client: 'call,
        Self: 'call,
    {
        self.client
            .send_bytes(request)
            .inspect(|result| {
                let failed = result.as_ref().err();
                self.causes.send_replace(failed.map(|error| cause_of(error.as_ref())));
            })
            .boxed()
    }
}

/// Why a request failed. The URL, which may hold a password, is left out: the first message names it, and the causes do not.
fn cause_of(error: &(dyn Error + Send + Sync + 'static)) -> String {
    match error.source() {
        Some(cause) => chain_of(cause),
        None => "the request could not be made".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use futures::executor::block_on;

    use super::*;
    use crate::telemetry::exporter::tls::Tls;

    /// A token that goes along must reach nobody but the collector that was named.
    #[test]
    fn a_redirect_is_not_followed() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        elsewhere.set_nonblocking(true).unwrap();
        let target = elsewhere.local_addr().unwrap();
        for status in [
            "301 Moved",
            "302 Found",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        ] {
            let collector = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
            let redirecting = std::thread::spawn(move || {
                let (mut connection, _) = collector.accept().unwrap();
                let mut request = [0; 4096];
                let _ = connection.read(&mut request).unwrap();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nLocation: http://{target}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                connection.write_all(answer.as_bytes()).unwrap();
            });
            let client = Tls::read(&|_| None).unwrap().client(Duration::from_secs(5)).unwrap();
            let (client, _) = Client::new(client);
            let request = Request::post(url)
                .header("x-token", "secret")
                .body(Bytes::from("spans"));
            let answer = block_on(client.send_bytes(request.unwrap())).unwrap();
            // It is no success, so the exporter says that the spans were not taken.
            assert!(answer.status().is_redirection(), "{}", answer.status());
            redirecting.join().unwrap();
            assert!(elsewhere.accept().is_err(), "{status} was followed");
        }
    }
}
