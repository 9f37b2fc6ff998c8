//! A registry that lets in as ECR does: Debian's docker-registry, behind a front that asks the strict AWS what a token opens.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::task::JoinHandle;

use super::certificates::Authority;
use super::fixtures::ACCOUNT;
use super::http::{self, HttpClient};
use super::process::Process;
use super::strict_aws::StrictAws;
use super::tls_front::TlsFront;
use super::{free_port, wait_for};

/// The host of the account's registry.
pub const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

/// Its Region.
const REGION: &str = "eu-west-1";

/// A running registry.
pub struct Registry {
    /// Where whoever has no token gets in.
    address: SocketAddr,
    front: TlsFront,
    server: JoinHandle<()>,
    _process: Process,
}

struct Shared {
    aws: StrictAws,
    client: HttpClient,
    address: SocketAddr,
}

impl Registry {
    /// Whether the program is here. If not, it says so.
    pub fn possible(what: &str) -> bool {
        let here = Command::new("docker-registry").arg("--version").output().is_ok();
        if !here {
            eprintln!("{what} is LEFT OUT: docker-registry is missing (Debian: apt-get install docker-registry)");
        }
        here
    }

    /// Starts one with its files in `folder`, and with a certificate of the authority for its host.
    pub async fn start(folder: &Path, aws: &StrictAws, authority: &Authority) -> Self {
        let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let storage = folder.join("registry");
        let configuration = format!(
            "version: 0.1\nhttp: {{addr: '{address}'}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n",
            storage.display()
        );
        let path = folder.join("registry.yaml");
        fs::write(&path, configuration).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path);
        let mut process = Process::start("docker-registry", folder, &command);
        wait_for("the registry", Duration::from_secs(30), async || {
            process.must_run();
            http::get(&format!("http://{address}/v2/")).await
        })
        .await;

        let shared = Arc::new(Shared {
            aws: aws.clone(),
            client: http::client(),
            address,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asking = listener.local_addr().unwrap();
        let router = Router::new().fallback(handle).with_state(shared);
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            address,
            front: TlsFront::start(asking, &authority.issue(HOST)).await,
            server,
            _process: process,
        }
    }

    /// Its port, with TLS, for those who have a token.
    pub fn port(&self) -> u16 {
        self.front.address.port()
    }

    /// Where images are put into it, without TLS and without a token.
    pub fn back_door(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(shared): State<Arc<Shared>>, mut request: Request<Body>) -> Response<Body> {
    if let Err(status) = shared.judge(request.uri().path(), request.headers()) {
        return Response::builder()
            .status(status)
            .header(
                header::WWW_AUTHENTICATE,
                format!("Basic realm=\"https://{HOST}/\",service=\"ecr.amazonaws.com\""),
            )
            .body(Body::empty())
            .unwrap();
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target: Uri = format!("http://{}{path}", shared.address).parse().unwrap();
    *request.uri_mut() = target;
    request.headers_mut().remove(header::AUTHORIZATION);
    match shared.client.request(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => panic!("the registry does not answer: {error}"),
    }
}

impl Shared {
    /// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
    fn judge(&self, path: &str, headers: &HeaderMap) -> Result<(), StatusCode> {
        let password = password(headers).ok_or(StatusCode::UNAUTHORIZED)?;
        let Some((name, kind)) = repository(path) else {
            return Ok(());
        };
        let action = match kind {
            "manifests" => "ecr:BatchGetImage",
            _ => "ecr:GetDownloadUrlForLayer",
        };
        let arn = format!("arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}");
        let allowed = self.aws.token_allows(&password, action, &arn);
        allowed.then_some(()).ok_or(StatusCode::FORBIDDEN)
    }
}

/// What was given as the password of the user AWS.
fn password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let basic = BASE64_STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let login = String::from_utf8(basic).ok()?;
    login.strip_prefix("AWS:").map(str::to_owned)
}

/// The repository of a path such as `/v2/team/app/manifests/1`, and what of it is asked for.
fn repository(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("/v2/")?;
    let (path, _reference) = path.rsplit_once('/')?;
    path.rsplit_once('/')
}
