//! Signature Version 4, checked.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>

use axum::http::HeaderMap;
use axum::http::request::Parts;
use hmac::{Hmac, KeyInit, Mac};
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Principal, Refusal, StrictAws};

/// How far a request's time may lie from AWS's.
const TIME_TOLERANCE: i64 = 300;

/// What the `Authorization` header says.
pub struct Scope {
    pub access_key_id: String,
    pub day: String,
    pub region: String,
    pub service: String,
    signed_headers: Vec<String>,
    signature: String,
}

impl Scope {
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers
            .get("authorization")?
            .to_str()
            .ok()?
            .strip_prefix("AWS4-HMAC-SHA256 ")?;
        let part = |name: &str| {
            let parts = text.split(',').map(str::trim);
            parts
                .filter_map(|part| part.split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        let mut credential = part("Credential")?.split('/').map(str::to_owned);
        Some(Self {
            access_key_id: credential.next()?,
            day: credential.next()?,
            region: credential.next()?,
            service: credential.next()?,
            signed_headers: part("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: part("Signature")?.to_owned(),
        })
    }
}

/// Whether a request was signed with the secret of its access key, a short while ago.
pub fn check(aws: &StrictAws, scope: &Scope, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let Some(principal) = aws.principal(&scope.access_key_id) else {
        // The core says what is wrong with it.
        return Ok(());
    };
    let date = header(&parts.headers, "x-amz-date");
    let at = parse_date(&date)
        .ok_or_else(|| Refusal::new(403, "IncompleteSignature", "Date must be in ISO-8601 'basic format'."))?;
    let apart = aws.now().duration_since(at).as_secs().abs();
    if apart > TIME_TOLERANCE {
        let message = format!("Signature expired: {date} is now {apart} seconds away");
        return Err(Refusal::new(403, "SignatureDoesNotMatch", message));
    }
    match sign(&principal, scope, parts, body, &date) == scope.signature {
        true => Ok(()),
        false => Err(Refusal::new(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
        )),
    }
}

fn sign(principal: &Principal, scope: &Scope, parts: &Parts, body: &[u8], date: &str) -> String {
    let canonical_headers: String = scope
        .signed_headers
        .iter()
        .map(|name| format!("{name}:{}\n", header(&parts.headers, name).trim()))
        .collect();
    let request = format!(
        "{}\n{}\n{}\n{canonical_headers}\n{}\n{}",
        parts.method,
        parts.uri.path(),
        parts.uri.query().unwrap_or_default(),
        scope.signed_headers.join(";"),
        hex(&Sha256::digest(body))
    );
    let credential_scope = format!("{}/{}/{}/aws4_request", scope.day, scope.region, scope.service);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{credential_scope}\n{}",
        hex(&Sha256::digest(request.as_bytes()))
    );
    let key = format!("AWS4{}", principal.secret).into_bytes();
    let key = [scope.day.as_str(), &scope.region, &scope.service, "aws4_request"]
        .iter()
        .fold(key, |key, part| hmac(&key, part.as_bytes()));
    hex(&hmac(&key, to_sign.as_bytes()))
}

fn hmac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

/// `20261124T101112Z`
fn parse_date(text: &str) -> Option<Timestamp> {
    let digits = |range: std::ops::Range<usize>| text.get(range);
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        digits(0..4)?,
        digits(4..6)?,
        digits(6..8)?,
        digits(9..11)?,
        digits(11..13)?,
        digits(13..15)?
    );
    iso.parse().ok()
}
