//! The client for OTLP over HTTP.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::{HeaderValue, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response, ResponseBodyTooLarge};
use percent_encoding::percent_decode_str;
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::errors::chain_of;
use crate::transport::{self, Way};

/// How long a connection is kept for the next batch.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an answer may be, in bytes. OpenTelemetry's limit.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// A client that keeps why its last request failed. The exporter says no more of it than that the network is at fault.
///
/// It goes through the proxies of the environment and follows no redirect: another server would be handed the headers too, and with them
/// the token.
pub(super) struct Client {
    client: transport::Client,
    way: Way,
    timeout: Duration,
    /// Where its connections live. The exporter has a thread of its own, without a runtime.
    runtime: Handle,
    causes: watch::Sender<Option<String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// The client, and where the cause of the last failure is found. There is none after a success. It needs a Tokio runtime around it.
    pub(super) fn new(tls: ClientConfig, timeout: Duration) -> (Self, watch::Receiver<Option<String>>) {
        let (causes, receiver) = watch::channel(None);
        let way = Way::from_environment(HttpsConnector::from((transport::plain(), tls.clone())));
        let connector = TimeoutConnector::new(HttpsConnector::from((way.clone(), tls)));
        let client = Self {
            client: transport::client(connector, IDLE_TIMEOUT),
            way,
            timeout,
            runtime: Handle::current(),
            causes,
        };
        (client, receiver)
    }

    /// A request as it goes out.
    fn outgoing(&self, request: Request<Bytes>) -> Result<Request<transport::Body>, http::Error> {
        let (mut head, body) = request.into_parts();
        if let Some((uri, authorization)) = without_password(&head.uri)? {
            head.uri = uri;
            head.headers.entry(AUTHORIZATION).or_insert(authorization);
        }
        if let Some(authorization) = self.way.authorization(&head.uri) {
            head.headers.insert(PROXY_AUTHORIZATION, authorization);
        }
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        Ok(Request::from_parts(head, body))
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
        async {
            let exchange = exchange(self.client.clone(), self.outgoing(request)?);
            let timeout = self.timeout;
            let task = self
                .runtime
                .spawn(async move { tokio::time::timeout(timeout, exchange).await });
            match AbortOnDropHandle::new(task).await? {
                Ok(result) => result,
                Err(_) => Err(format!("there was no answer within {timeout:?}").into()),
            }
        }
        .inspect(|result| {
            let failed = result.as_ref().err();
            self.causes.send_replace(failed.map(|error| chain_of(error.as_ref())));
        })
        .boxed()
    }
}

async fn exchange(client: transport::Client, request: Request<transport::Body>) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = client.request(request).await?.into_parts();
    match Limited::new(body, ANSWER_MAX).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(Box::new(ResponseBodyTooLarge::new())),
        Err(error) => Err(error),
    }
}

/// An address without the name and the password in it, and what they are in a header. A client of HTTP leaves them out itself, but does not
/// send them.
fn without_password(uri: &Uri) -> Result<Option<(Uri, HeaderValue)>, http::Error> {
    let Some((user, host)) = uri
        .authority()
        .and_then(|authority| authority.as_str().rsplit_once('@'))
    else {
        return Ok(None);
    };
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let plain = [name, password].map(|part| percent_decode_str(part).collect::<Vec<u8>>());
    let encoded = BASE64_STANDARD.encode(plain.join(&b':'));
    let mut authorization = HeaderValue::try_from(format!("Basic {encoded}"))?;
    authorization.set_sensitive(true);
    let mut parts = uri.clone().into_parts();
    parts.authority = Some(host.parse()?);
    Ok(Some((Uri::from_parts(parts)?, authorization)))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::telemetry::exporter::tls::Tls;

    fn client(timeout: Duration) -> (Client, watch::Receiver<Option<String>>) {
        Client::new(Tls::read(&|_| None).unwrap().config().unwrap(), timeout)
    }

    fn request(url: &str) -> Request<Bytes> {
        let request = Request::post(url).header("x-token", "secret");
        request.body(Bytes::from("spans")).unwrap()
    }

    /// Answers one request, and gives its head.
    async fn answer(collector: TcpListener, answer: String) -> String {
        let (mut connection, _) = collector.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = connection.read(&mut request).await.unwrap();
        connection.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    }

    /// A token that goes along must reach nobody but the collector that was named.
    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = elsewhere.local_addr().unwrap();
        for status in [
            "301 Moved",
            "302 Found",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        ] {
            let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
            let redirection = format!("HTTP/1.1 {status}\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n");
            let redirecting = tokio::spawn(answer(collector, redirection));
            let (client, _) = client(Duration::from_secs(5));
            let answer = client.send_bytes(request(&url)).await.unwrap();
            // It is no success, so the exporter says that the spans were not taken.
            assert!(answer.status().is_redirection(), "{}", answer.status());
            redirecting.await.unwrap();
            let followed = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await;
            assert!(followed.is_err(), "{status} was followed");
        }
    }

    #[tokio::test]
    async fn a_password_in_the_address_is_sent_as_a_header() {
        let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = collector.local_addr().unwrap();
        let taken = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned();
        let asked = tokio::spawn(answer(collector, taken));
        let (client, causes) = client(Duration::from_secs(5));
        let url = format!("http://me:p%40ss:word@{host}/v1/traces");
        let answer = client.send_bytes(request(&url)).await.unwrap();
        assert_eq!(answer.into_body(), "ok");
        let asked = asked.await.unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("post /v1/traces http/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {host}\r\n")), "{asked}");
        let authorization = format!("authorization: basic {}\r\n", BASE64_STANDARD.encode("me:p@ss:word"));
        assert!(asked.contains(&authorization.to_ascii_lowercase()), "{asked}");
        assert_eq!(*causes.borrow(), None);
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_given_up_with_its_cause() {
        let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
        let silent = tokio::spawn(async move {
            let _connection = collector.accept().await.unwrap();
            pending::<()>().await;
        });
        let (client, causes) = client(Duration::from_millis(50));
        assert!(client.send_bytes(request(&url)).await.is_err());
        assert_eq!(causes.borrow().as_deref(), Some("there was no answer within 50ms"));
        silent.abort();

        assert!(client.send_bytes(request("http://127.0.0.1:1/")).await.is_err());
        let cause = causes.borrow().clone().unwrap();
        assert!(cause.contains("Connection refused"), "{cause}");
    }
}
