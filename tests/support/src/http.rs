//! Plain HTTP on the loopback address, as a client.

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A client that keeps its connections.
pub type HttpClient = Client<HttpConnector, Body>;

/// A new one.
pub fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Sends a request and reads the whole answer, or tells that there was none.
pub async fn send(client: &HttpClient, request: Request<Body>) -> Option<Response<Bytes>> {
    let (parts, body) = client.request(request).await.ok()?.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    Some(Response::from_parts(parts, body))
}

/// Posts a text with headers and gives status and body.
pub async fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Option<(StatusCode, String)> {
    let mut request = Request::post(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = send(&client(), request.body(Body::from(body.to_owned())).ok()?).await?;
    let status = response.status();
    Some((status, String::from_utf8_lossy(response.body()).into_owned()))
}

/// Gets a text.
pub async fn get(url: &str) -> Option<(StatusCode, String)> {
    let request = Request::get(url).body(Body::empty()).ok()?;
    let response = send(&client(), request).await?;
    let status = response.status();
    Some((status, String::from_utf8_lossy(response.body()).into_owned()))
}
