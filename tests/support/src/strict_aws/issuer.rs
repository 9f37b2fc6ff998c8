//! A cluster's issuer of tokens, for where there is no API server. Its tokens are as real as an API server's.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{OidcProvider, Role};
use crate::control_plane::ControlPlane;
use crate::fixtures::ACCOUNT;

/// Its URL.
pub const ISSUER: &str = "https://oidc.example.com/id/1";

/// What its tokens are for.
pub const AUDIENCE: &str = "sts.amazonaws.com";

/// How long an API server lets a token be good at least, in seconds.
const LIFETIME: i64 = 600;

/// It takes a moment to find one, so there is one for all.
static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

/// The issuer as an account knows it.
pub fn provider(account: &str) -> OidcProvider {
    OidcProvider {
        account: account.to_owned(),
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: keys(),
    }
}

/// The issuer of a control plane, as the operator's account knows it. Its keys are those that the API server publishes.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>
pub async fn provider_of(cluster: &ControlPlane) -> OidcProvider {
    let get = async |path: &str| -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        cluster.client().request(request).await.unwrap()
    };
    let configuration = get("/.well-known/openid-configuration").await;
    OidcProvider {
        account: ACCOUNT.to_owned(),
        issuer: configuration["issuer"].as_str().unwrap().to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: get("/openid/v1/jwks").await,
    }
}

/// A role that trusts all ServiceAccounts of an issuer beside those that it trusts already.
pub fn trusted_by(mut role: Role, provider: &OidcProvider) -> Role {
    let statements = role.trust["Statement"].as_array_mut().unwrap();
    statements.push(json!({
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": provider.arn()},
    }));
    role
}

/// The token of a ServiceAccount, as a `TokenRequest` gives it.
pub fn service_account_token(namespace: &str, name: &str, now: Timestamp) -> String {
    signed(&claims(namespace, name, now))
}

/// What such a token says.
pub fn claims(namespace: &str, name: &str, now: Timestamp) -> Value {
    json!({
        "aud": [AUDIENCE], "iss": ISSUER, "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "iat": now.as_second(), "nbf": now.as_second(), "exp": now.as_second() + LIFETIME,
    })
}

/// A token that says something.
pub fn signed(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!(
        "{}.{}",
        part(&json!({"alg": "RS256", "kid": "one", "typ": "JWT"})),
        part(claims)
    );
    let mut signature = vec![0; KEY.public_modulus_len()];
    let random = SystemRandom::new();
    KEY.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature)
        .unwrap();
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// The key that it publishes.
fn keys() -> Value {
    // Two integers in a sequence, the modulus of 2048 bits and 65537.
    let der = KEY.public_key().as_ref();
    assert_eq!(der.len(), 270);
    let number = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    json!({"keys": [{
        "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": number(&der[9..265]), "e": number(&der[267..]),
    }]})
}
