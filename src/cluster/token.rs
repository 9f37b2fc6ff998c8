//! Tokens of ServiceAccounts: how they are asked for, and how they are read from the answer.
//! <https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/>

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Resource as _;
use kube::api::PostParams;
use kube::core::Request;
use serde::Deserialize;
use serde_json::json;

use super::ClusterError;
use crate::credentials::ServiceAccountToken;

/// Whom a token is for. AWS takes no other, and the API server does not take this one.
/// <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html>
const AUDIENCE: &str = "sts.amazonaws.com";

/// How long a token is good: as short as the API server allows. It is used at once.
/// <https://github.com/kubernetes/kubernetes/blob/v1.34.0/pkg/apis/authentication/validation/validation.go>
const EXPIRATION_SECONDS: u64 = 600;

/// What the API server is asked.
pub(super) fn request(namespace: &str, name: &str) -> Result<http::Request<Vec<u8>>, kube::core::request::Error> {
    let object = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": [AUDIENCE], "expirationSeconds": EXPIRATION_SECONDS},
    });
    let path = ServiceAccount::url_path(&(), Some(namespace));
    Request::new(path).create_subresource("token", name, &PostParams::default(), object.to_string().into_bytes())
}

/// As much of a `TokenRequest` that was granted as is of use. It has no `Debug`, which would show the token.
#[derive(Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    token: String,
}

impl Answer {
    /// The token.
    pub(super) fn token(self) -> Result<ServiceAccountToken, ClusterError> {
        match self.status.token.is_empty() {
            true => Err(ClusterError::Unavailable("its answer holds no token".to_owned())),
            false => Ok(ServiceAccountToken::new(self.status.token.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_token_is_asked_for_that_is_of_use_to_aws_alone_and_not_for_long() {
        let request = request("team", "app").unwrap();
        assert_eq!(request.method(), "POST");
        assert_eq!(
            request.uri().path(),
            "/api/v1/namespaces/team/serviceaccounts/app/token"
        );
        let object: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(
            object["spec"],
            json!({"audiences": ["sts.amazonaws.com"], "expirationSeconds": 600})
        );
    }

    #[test]
    fn an_answer_without_a_token_is_none() {
        let read = |text: &str| serde_json::from_str::<Answer>(text).unwrap().token();
        let good = read(
            r#"{"kind": "TokenRequest", "status": {"token": "a.b.c", "expirationTimestamp": "2026-01-01T00:10:00Z"}}"#,
        );
        assert_eq!(good.unwrap().expose_secret(), "a.b.c");
        for text in ["{}", r#"{"status": {}}"#, r#"{"status": {"token": ""}}"#] {
            assert!(matches!(read(text), Err(ClusterError::Unavailable(_))), "{text}");
        }
    }
}
