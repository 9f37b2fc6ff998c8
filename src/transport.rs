//! The HTTP client for the API server and for the collector of traces: how its connections are opened, directly or through a proxy.
//!
//! Whatever the way, a connection has one type, and so has the body of a request. The compiler makes a client of its own for each pair of
//! them, with HTTP/1 and HTTP/2 and a pool, and each is a quarter of a megabyte.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::HttpsConnector;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::legacy::{self, Builder};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::{BoxError, Service};

/// The client. Its connections are bounded in time by the [`TimeoutConnector`], if that is told to.
pub type Client = legacy::Client<TimeoutConnector<HttpsConnector<Way>>, Body>;

/// The body of a request.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A client that keeps a connection for the next request for so long.
#[must_use]
pub fn client(connector: TimeoutConnector<HttpsConnector<Way>>, idle_timeout: Duration) -> Client {
    Builder::new(TokioExecutor::new())
        .pool_idle_timeout(idle_timeout)
        .pool_timer(TokioTimer::new())
        .build(connector)
}

/// What opens connections without TLS, for addresses with TLS too: that is spoken on top of them.
#[must_use]
pub fn plain() -> HttpConnector {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http
}

/// The way to a server. TLS with it is spoken on top.
#[derive(Clone)]
pub struct Way {
    direct: HttpConnector,
    proxies: Option<Proxies>,
}

#[derive(Clone)]
struct Proxies {
    matcher: Arc<Matcher>,
    /// What opens the connections to a proxy, some of which speak TLS themselves.
    connector: HttpsConnector<HttpConnector>,
    /// Whether plain HTTP goes through a tunnel as well.
    tunnel_all: bool,
}

impl Way {
    /// Without a proxy.
    #[must_use]
    pub fn direct(direct: HttpConnector) -> Self {
        let proxies = None;
        Self { direct, proxies }
    }

    /// Through one proxy, by a tunnel whatever is asked for. Its address may hold a name and a password.
    #[must_use]
    pub fn tunnel(proxy: &Uri, connector: HttpsConnector<HttpConnector>) -> Self {
        let matcher = Matcher::builder().all(proxy.to_string()).build();
        Self::through(matcher, connector, true)
    }

    /// Through the proxies of `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`, with the exceptions of `NO_PROXY`.
    #[must_use]
    pub fn from_environment(connector: HttpsConnector<HttpConnector>) -> Self {
        Self::through(Matcher::from_env(), connector, false)
    }

    fn through(matcher: Matcher, connector: HttpsConnector<HttpConnector>, tunnel_all: bool) -> Self {
        let proxies = Proxies {
            matcher: Arc::new(matcher),
            connector,
            tunnel_all,
        };
        Self {
            direct: plain(),
            proxies: Some(proxies),
        }
    }

    /// What the proxy wants to read in the head of a request to that address (`Proxy-Authorization`), if it sees the head.
    #[must_use]
    pub fn authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        let (proxies, proxy) = self.proxy(uri)?;
        let is_seen = !proxies.tunnels(uri);
        proxy.basic_auth().filter(|_| is_seen).cloned()
    }

    fn proxy(&self, uri: &Uri) -> Option<(&Proxies, Intercept)> {
        let proxies = self.proxies.as_ref()?;
        Some((proxies, proxies.matcher.intercept(uri)?))
    }
}

impl Proxies {
    fn tunnels(&self, uri: &Uri) -> bool {
        self.tunnel_all || uri.scheme() != Some(&Scheme::HTTP)
    }
}

impl Service<Uri> for Way {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Some((proxies, proxy)) = self.proxy(&uri) else {
            let connecting = self.direct.call(uri);
            return async { Ok(Stream::new(connecting.await?, false)) }.boxed();
        };
        let mut connector = proxies.connector.clone();
        if !proxies.tunnels(&uri) {
            let connecting = connector.call(proxy.uri().clone());
            return async { Ok(Stream::new(connecting.await?, true)) }.boxed();
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        let connecting = tunnel.call(uri);
        async { Ok(Stream::new(connecting.await?, false)) }.boxed()
    }
}

/// A connection to a server, or to a proxy that is asked for one.
pub struct Stream {
    stream: Pin<Box<dyn ReadWrite>>,
    /// Whether a request must name the whole address, since the other side is a proxy.
    is_proxied: bool,
}

trait ReadWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadWrite for T {}

impl Stream {
    fn new(stream: impl Read + Write + Send + 'static, is_proxied: bool) -> Self {
        let stream = Box::pin(stream);
        Self { stream, is_proxied }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.as_mut().poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http::header::PROXY_AUTHORIZATION;
    use http_body_util::{BodyExt, Empty};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn over_tls<C>(connector: C) -> HttpsConnector<C> {
        let tls = ClientConfig::builder().with_root_certificates(RootCertStore::empty());
        HttpsConnector::from((connector, tls.with_no_client_auth()))
    }

    /// What a proxy with a name and a password reads when it is asked for an address. It answers nothing else than that it is there.
    async fn heard(uri: &str, way: impl FnOnce(Uri) -> Way) -> String {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://me:p%40ss@{}", proxy.local_addr().unwrap());
        let listening = tokio::spawn(async move {
            let (mut connection, _) = proxy.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let length = connection.read(&mut head).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            connection.write_all(answer).await.unwrap();
            String::from_utf8(head[..length].to_vec()).unwrap()
        });
        let way = way(address.parse().unwrap());
        let mut request = Request::get(uri);
        if let Some(authorization) = way.authorization(&uri.parse().unwrap()) {
            request = request.header(PROXY_AUTHORIZATION, authorization);
        }
        let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let client = client(TimeoutConnector::new(over_tls(way)), Duration::from_secs(1));
        // TLS comes to nothing with such a proxy.
        let _ = client.request(request.body(nothing).unwrap()).await;
        listening.await.unwrap().to_ascii_lowercase()
    }

    fn by_environment(proxy: Uri) -> Way {
        let matcher = Matcher::builder().all(proxy.to_string()).no("example.org").build();
        Way::through(matcher, over_tls(plain()), false)
    }

    #[tokio::test]
    async fn a_proxy_is_told_the_address_and_who_asks() {
        let authorization = "proxy-authorization: basic bwu6cebzcw==\r\n";
        let tunnel = |proxy| Way::tunnel(&proxy, over_tls(plain()));
        for (asked, first, way) in [
            (
                "https://server/",
                "connect server:443 http/1.1\r\n",
                by_environment as fn(_) -> _,
            ),
            ("https://server:1/", "connect server:1 http/1.1\r\n", tunnel),
            ("http://server:1/", "connect server:1 http/1.1\r\n", tunnel),
            (
                "http://server/path",
                "get http://server/path http/1.1\r\n",
                by_environment,
            ),
        ] {
            let heard = heard(asked, way).await;
            assert!(heard.starts_with(first), "{heard}");
            assert_eq!(heard.matches(authorization).count(), 1, "{heard}");
        }
    }

    #[tokio::test]
    async fn an_exception_is_reached_without_it() {
        let way = by_environment("http://me:word@proxy".parse().unwrap());
        for uri in ["http://example.org/", "https://www.example.org/"] {
            let uri = uri.parse().unwrap();
            assert!(way.proxy(&uri).is_none() && way.authorization(&uri).is_none());
        }
        assert!(way.proxy(&"https://example.com/".parse().unwrap()).is_some());
    }
}
