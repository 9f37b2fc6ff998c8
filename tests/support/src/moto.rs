//! moto: STS, ECR and IAM as somebody else understood them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::process::Process;
use super::{free_port, http, part, wait_for};

/// A running moto.
pub struct Moto {
    url: String,
    _process: Process,
}

/// An access key of an IAM user.
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// The secret part.
    pub secret: String,
}

impl Moto {
    /// Starts one with its files in `folder`.
    pub async fn start(folder: &Path) -> Self {
        let port = free_port();
        let mut command = Command::new(part("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut process = Process::start("moto", folder, &command);
        let url = format!("http://127.0.0.1:{port}");
        wait_for("moto", Duration::from_secs(60), async || {
            process.must_run();
            http::get(&format!("{url}/moto-api/")).await
        })
        .await;
        Self { url, _process: process }
    }

    /// Its endpoint, for every service.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes an IAM user with an access key and one policy.
    pub async fn user(&self, name: &str, policy: &serde_json::Value) -> AccessKey {
        self.iam(&[("Action", "CreateUser"), ("UserName", name)]).await;
        self.iam(&[
            ("Action", "PutUserPolicy"),
            ("UserName", name),
            ("PolicyName", "all"),
            ("PolicyDocument", &policy.to_string()),
        ])
        .await;
        let answer = self.iam(&[("Action", "CreateAccessKey"), ("UserName", name)]).await;
        let element = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>")).unwrap();
            rest.split('<').next().unwrap().to_owned()
        };
        AccessKey {
            id: element("AccessKeyId"),
            secret: element("SecretAccessKey"),
        }
    }

    /// From now on the caller's policies and signature are checked.
    pub async fn check_policies(&self) {
        let answer = http::post(&format!("{}/moto-api/reset-auth", self.url), &[], "0").await;
        assert!(answer.is_some_and(|(status, _)| status.is_success()));
    }

    async fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let body = serde_urlencoded::to_string(parameters).unwrap();
        // moto takes the service from the credential scope and does not check the signature yet.
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=setup/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0",
            ),
        ];
        let (status, text) = http::post(&self.url, &headers, &body).await.unwrap();
        assert!(status.is_success(), "{status} {text}");
        text
    }
}
