//! The strict AWS over HTTP: the query protocol of STS, the JSON protocol of ECR, a little of S3, Signature Version 4.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{Method, Request as HttpRequest, Response};
use axum::serve::ListenerExt;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinHandle;

use super::signature::{self, Scope};
use super::{AssumeRole, AssumeRoleWithWebIdentity, Fault, Refusal, Reply, Request, StrictAws};

/// The Region of whoever does not sign.
const REGION: &str = "eu-west-1";

/// The strict AWS at a port of the loopback address.
pub struct HttpServer {
    /// Where it listens.
    pub address: SocketAddr,
    url: String,
    server: JoinHandle<()>,
}

impl HttpServer {
    pub async fn start(aws: StrictAws) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        // An answer in two pieces would wait for the acknowledgement of the first.
        let listener = listener.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        let router = Router::new().fallback(handle).with_state(aws);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, url, server }
    }

    /// Its endpoint, for both services.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(aws): State<StrictAws>, request: HttpRequest<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let json = parts.headers.contains_key("x-amz-target");
    let Some(asked) = read(&parts, &body) else {
        return refuse(
            &aws,
            json,
            &Refusal::new(400, "InvalidAction", "Could not find operation"),
        );
    };
    let scope = Scope::of(&parts.headers);
    if scope.is_none() && !matches!(asked, Request::AssumeRoleWithWebIdentity(_)) {
        return refuse(
            &aws,
            json,
            &Refusal::new(
                403,
                "MissingAuthenticationToken",
                "Request is missing Authentication Token",
            ),
        );
    }
    // An endpoint of AWS is in a Region, and this one in that of the operator.
    let region = scope.as_ref().map_or(REGION, |scope| &scope.region);
    let access_key_id = scope.as_ref().map_or("", |scope| &scope.access_key_id);
    let fault = aws.fault(region, &asked);
    let latency = aws.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    match &fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Slow(pause)) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    let token = parts
        .headers
        .get("x-amz-security-token")
        .and_then(|token| token.to_str().ok());
    let signed = scope.as_ref().map(|scope| signature::check(&aws, scope, &parts, &body));
    let reply = match signed.unwrap_or(Ok(())) {
        Ok(()) => aws.answer(access_key_id, token, region, &asked, fault.as_ref()),
        Err(refusal) => {
            aws.record(access_key_id, region, &asked, Some(&refusal));
            Err(refusal)
        }
    };
    let wrong_by = match &fault {
        Some(Fault::WrongDate(seconds)) => *seconds,
        _ => 0,
    };
    let mut response = match (reply, fault) {
        (_, Some(Fault::Reset)) => cut(String::new(), 1),
        (Ok(_), Some(Fault::Garbage)) => respond(&aws, 200, json, "<html>It works!</html>".to_owned(), None),
        (Ok(reply), Some(Fault::Truncated)) => {
            let text = text(&asked, &reply);
            let half = text[..text.len() / 2].to_owned();
            cut(half, text.len())
        }
        (Ok(reply), _) => respond(&aws, 200, json, text(&asked, &reply), None),
        (Err(refusal), _) => refuse(&aws, json, &refusal),
    };
    if wrong_by != 0 {
        let date = http_date(aws.now() + SignedDuration::from_secs(wrong_by));
        response.headers_mut().insert("date", date.parse().unwrap());
    }
    response
}

fn read(parts: &Parts, body: &[u8]) -> Option<Request> {
    if parts.method == Method::HEAD {
        return Some(Request::HeadBucket);
    }
    if let Some(target) = parts.headers.get("x-amz-target") {
        let target = target.to_str().ok()?;
        return target
            .ends_with(".GetAuthorizationToken")
            .then_some(Request::GetAuthorizationToken);
    }
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body).ok()?;
    let one = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let each = |list: &str, field: &str| -> Vec<String> {
        (1..)
            .map_while(|number| one(&format!("{list}.member.{number}{field}")))
            .collect()
    };
    match one("Action")?.as_str() {
        "GetCallerIdentity" => Some(Request::GetCallerIdentity),
        "AssumeRole" => Some(Request::AssumeRole(AssumeRole {
            role_arn: one("RoleArn").unwrap_or_default(),
            session_name: one("RoleSessionName").unwrap_or_default(),
            duration: one("DurationSeconds").and_then(|text| text.parse().ok()),
            policy: one("Policy"),
            policy_arns: each("PolicyArns", ".arn"),
            tags: each("Tags", ".Key").into_iter().zip(each("Tags", ".Value")).collect(),
            transitive_tag_keys: each("TransitiveTagKeys", ""),
            external_id: one("ExternalId"),
            source_identity: one("SourceIdentity"),
        })),
        "AssumeRoleWithWebIdentity" => Some(Request::AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentity {
            role_arn: one("RoleArn").unwrap_or_default(),
            session_name: one("RoleSessionName").unwrap_or_default(),
            duration: one("DurationSeconds").and_then(|text| text.parse().ok()),
            policy: one("Policy"),
            policy_arns: each("PolicyArns", ".arn"),
            token: one("WebIdentityToken").unwrap_or_default(),
        })),
        _ => None,
    }
}

fn text(asked: &Request, reply: &Reply) -> String {
    let wrapped = |action: &str, inner: String| {
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{inner}</{action}Result>\
             <ResponseMetadata><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ResponseMetadata></{action}Response>"
        )
    };
    match reply {
        Reply::Identity { account, arn } => wrapped(
            "GetCallerIdentity",
            format!("<Arn>{arn}</Arn><UserId>AIDA</UserId><Account>{account}</Account>"),
        ),
        Reply::Session {
            access_key_id,
            secret,
            token,
            expiration,
        } => wrapped(
            match asked {
                Request::AssumeRoleWithWebIdentity(_) => "AssumeRoleWithWebIdentity",
                _ => "AssumeRole",
            },
            format!(
                "<Credentials><AccessKeyId>{access_key_id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>\
                 <SessionToken>{token}</SessionToken><Expiration>{expiration:.0}</Expiration></Credentials>"
            ),
        ),
        Reply::Token { password, expiration } => json!({"authorizationData": [{
            "authorizationToken": BASE64_STANDARD.encode(format!("AWS:{password}")),
            "expiresAt": expiration.as_second(),
            "proxyEndpoint": "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        }]})
        .to_string(),
        Reply::Bucket => String::new(),
    }
}

fn refuse(aws: &StrictAws, json: bool, refusal: &Refusal) -> Response<Body> {
    let body = match json {
        true => {
            let code = match refusal.code.as_str() {
                "ExpiredToken" | "AccessDenied" | "Throttling" => format!("{}Exception", refusal.code),
                "InvalidClientTokenId" => "UnrecognizedClientException".to_owned(),
                other => other.to_owned(),
            };
            json!({"__type": code, "message": refusal.message}).to_string()
        }
        false => format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{}</Code>\
             <Message>{}</Message></Error><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ErrorResponse>",
            refusal.code,
            refusal.message.replace('&', "&amp;").replace('<', "&lt;")
        ),
    };
    respond(aws, refusal.status, json, body, refusal.retry_after)
}

fn respond(aws: &StrictAws, status: u16, json: bool, body: String, retry_after: Option<u64>) -> Response<Body> {
    let mut response = Response::builder()
        .status(status)
        .header("date", http_date(aws.now()))
        .header(
            "content-type",
            if json { "application/x-amz-json-1.1" } else { "text/xml" },
        );
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Body::from(body)).unwrap()
}

/// An answer that promises more than comes.
fn cut(begin: String, promised: usize) -> Response<Body> {
    let begin = Ok::<_, std::io::Error>(begin);
    let end = Err(std::io::Error::other("cut"));
    Response::builder()
        .header("content-type", "text/xml")
        .header("content-length", promised)
        .body(Body::from_stream(futures::stream::iter([begin, end])))
        .unwrap()
}

fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A clock that is apart from the machine's.
pub fn clock(apart: SignedDuration) -> impl Fn() -> Timestamp + Send + Sync + 'static {
    move || Timestamp::now() + apart
}
