//! A proxy before moto: it records the calls, and can hold them up or refuse them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use tokio::task::JoinHandle;

use super::fixtures::role_arn;
use super::http::{self, HttpClient};

/// One call to AWS.
#[derive(Clone, Debug)]
pub struct Call {
    /// `AssumeRole`, `GetAuthorizationToken`, ...
    pub action: String,
    /// The id of the key that signed it.
    pub access_key_id: String,
    /// The Region that it is signed for.
    pub region: String,
    /// Its parameters by the query protocol, or its body.
    pub parameters: String,
    /// When.
    pub at: Instant,
}

impl Call {
    /// A parameter of the query protocol.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&self.parameters).ok()?;
        pairs.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// What is done with a call.
#[derive(Clone, Debug)]
pub enum Treatment {
    /// It is handed on to moto.
    Pass,
    /// It is never answered.
    Hang,
    /// It is answered at once.
    Answer(u16, String),
}

impl Treatment {
    /// A refusal in the form that STS gives it.
    pub fn refusal(status: u16, code: &str, message: &str) -> Self {
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>");
        let body = format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{error}<RequestId>the-request</RequestId></ErrorResponse>"
        );
        Self::Answer(status, body)
    }
}

type Rule = Box<dyn Fn(&Call) -> Treatment + Send>;

struct Shared {
    target: String,
    client: HttpClient,
    calls: Mutex<Vec<Call>>,
    answers: Mutex<Vec<String>>,
    rule: Mutex<Rule>,
    hanging: AtomicUsize,
}

/// A call that is held up, for as long as the caller waits for it.
struct HangingCall<'a>(&'a AtomicUsize);

impl<'a> HangingCall<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for HangingCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The proxy.
pub struct AwsProxy {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl AwsProxy {
    /// Starts one before the endpoint `target`.
    pub async fn start(target: &str) -> Self {
        Self::start_at(target, 0).await
    }

    /// Starts one at a port.
    pub async fn start_at(target: &str, port: u16) -> Self {
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            client: http::client(),
            calls: Mutex::default(),
            answers: Mutex::default(),
            rule: Mutex::new(Box::new(|_| Treatment::Pass)),
            hanging: AtomicUsize::new(0),
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(handle).with_state(shared.clone());
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, shared, server }
    }

    /// Its endpoint.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on the rule says what is done with each call.
    pub fn treat(&self, rule: impl Fn(&Call) -> Treatment + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// From now on this is done with each call of `AssumeRole`.
    pub fn treat_assume_role(&self, treatment: Treatment) {
        self.treat(move |call| match call.action.as_str() {
            "AssumeRole" => treatment.clone(),
            _ => Treatment::Pass,
        });
    }

    /// From now on this is done with each call for a role.
    pub fn treat_role(&self, name: &str, treatment: Treatment) {
        let arn = role_arn(name);
        self.treat(move |call| match call.parameter("RoleArn") {
            Some(role) if role == arn => treatment.clone(),
            _ => Treatment::Pass,
        });
    }

    /// The calls of that action so far.
    pub fn calls(&self, action: &str) -> Vec<Call> {
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().filter(|call| call.action == action).cloned().collect()
    }

    /// What moto answered so far.
    pub fn answers(&self) -> Vec<String> {
        self.shared.answers.lock().unwrap().clone()
    }

    /// How many calls are held up at this moment, their callers still waiting.
    pub fn hanging(&self) -> usize {
        self.shared.hanging.load(Ordering::SeqCst)
    }

    /// How many calls there were for a role.
    pub fn assumed(&self, role_arn: &str) -> usize {
        self.calls("AssumeRole")
            .iter()
            .filter(|call| call.parameter("RoleArn").as_deref() == Some(role_arn))
            .count()
    }
}

impl Drop for AwsProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let call = read(&parts.headers, &body);
    let treatment = (shared.rule.lock().unwrap())(&call);
    shared.calls.lock().unwrap().push(call);
    match treatment {
        Treatment::Pass => {
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
            let mut onward = Request::builder()
                .method(parts.method)
                .uri(format!("{}{path}", shared.target));
            onward.headers_mut().unwrap().extend(parts.headers);
            let onward = onward.body(Body::from(body)).unwrap();
            match http::send(&shared.client, onward).await {
                Some(answer) => {
                    let text = String::from_utf8_lossy(answer.body()).into_owned();
                    shared.answers.lock().unwrap().push(text);
                    answer.map(Body::from)
                }
                None => answer(StatusCode::BAD_GATEWAY, String::new()),
            }
        }
        Treatment::Hang => {
            let _hanging = HangingCall::new(&shared.hanging);
            std::future::pending().await
        }
        Treatment::Answer(status, body) => answer(StatusCode::from_u16(status).unwrap(), body),
    }
}

fn read(headers: &HeaderMap, body: &Bytes) -> Call {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    // Credential=<key id>/<day>/<Region>/<service>/aws4_request
    let scope = |part: usize| {
        let credential = header("authorization")
            .split_once("Credential=")
            .map_or("", |(_, rest)| rest);
        credential.split('/').nth(part).unwrap_or_default().to_owned()
    };
    let mut call = Call {
        action: header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned(),
        access_key_id: scope(0),
        region: scope(2),
        parameters: String::from_utf8_lossy(body).into_owned(),
        at: Instant::now(),
    };
    if let Some(action) = call.parameter("Action") {
        call.action = action;
    }
    call
}

fn answer(status: StatusCode, body: String) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "text/xml")
        .body(Body::from(body))
        .unwrap()
}
