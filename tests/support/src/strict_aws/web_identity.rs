//! Web identities: the OIDC providers that an account knows, and what `AssumeRoleWithWebIdentity` refuses.
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>, unless a rule names another page.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_assume_role::aws::region::partition;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::policy::{Context, Decision, decide};
use super::rules::{duration, packed, parameters, session_of};
use super::{AssumeRole, AssumeRoleWithWebIdentity, Principal, Refusal, Role, allow_all};

/// An identity provider of an account, by which it knows whoever an issuer gives tokens to.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html>
#[derive(Clone, Debug)]
pub struct OidcProvider {
    /// The account that it is in.
    pub account: String,
    /// The URL of the issuer.
    pub issuer: String,
    /// What tokens may be for.
    pub audiences: Vec<String>,
    /// The issuer's keys, as it publishes them: a JSON Web Key Set.
    pub keys: Value,
}

impl OidcProvider {
    /// Its ARN, which names the issuer without the scheme.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:oidc-provider/{}", self.account, self.name())
    }

    fn name(&self) -> &str {
        self.issuer.strip_prefix("https://").unwrap_or(&self.issuer)
    }
}

/// A token, taken apart.
struct Token<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    header: Value,
    claims: Value,
}

impl<'a> Token<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let bytes = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        Some(Self {
            signed,
            signature: bytes(signature)?,
            header: serde_json::from_slice(&bytes(header)?).ok()?,
            claims: serde_json::from_slice(&bytes(claims)?).ok()?,
        })
    }

    fn claim(&self, name: &str) -> Option<&str> {
        self.claims[name].as_str()
    }

    fn audiences(&self) -> Vec<&str> {
        match &self.claims["aud"] {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        }
    }

    /// Whether one of the keys has signed it, with the algorithm that AWS asks of an issuer.
    fn is_signed_by(&self, keys: &Value) -> bool {
        let number = |key: &Value, name: &str| BASE64_URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
        let is_by = |key: &Value| {
            let (Some(n), Some(e)) = (number(key, "n"), number(key, "e")) else {
                return false;
            };
            let key = PublicKeyComponents { n, e };
            key.verify(&RSA_PKCS1_2048_8192_SHA256, self.signed.as_bytes(), &self.signature)
                .is_ok()
        };
        let keys = keys["keys"].as_array().into_iter().flatten();
        let mut named = keys.filter(|key| key["kty"] == "RSA" && key["kid"] == self.header["kid"]);
        self.header["alg"] == "RS256" && named.any(is_by)
    }
}

/// The session that a request gives, and its end.
pub(super) fn assume_role_with_web_identity(
    providers: &[OidcProvider],
    roles: &HashMap<String, Role>,
    region: &str,
    request: &AssumeRoleWithWebIdentity,
    now: Timestamp,
) -> Result<(Principal, Timestamp), Refusal> {
    let plain = AssumeRole {
        role_arn: request.role_arn.clone(),
        session_name: request.session_name.clone(),
        duration: request.duration,
        policy: request.policy.clone(),
        policy_arns: request.policy_arns.clone(),
        ..AssumeRole::default()
    };
    parameters(&plain)?;
    token_length(&request.token)?;
    let part = |number| request.role_arn.split(':').nth(number).unwrap_or_default();
    let account = part(4);
    if part(1) != partition(region) {
        // <https://repost.aws/knowledge-center/eks-troubleshoot-irsa-errors>
        return Err(Refusal::new(400, "ValidationError", "Request ARN is invalid"));
    }
    let (provider, subject) = verified(providers, account, &request.token, now)?;
    let federated = Principal {
        secret: String::new(),
        token: None,
        arn: provider.arn(),
        policies: vec![vec![allow_all()]],
        session: None,
    };
    packed(&federated, &plain)?;
    let role = roles.get(&request.role_arn);
    let role = role.filter(|role| is_trusted(role, provider, &subject, &request.token, &request.session_name));
    // <https://repost.aws/knowledge-center/eks-troubleshoot-irsa-errors>
    let role = role.ok_or_else(|| {
        Refusal::new(
            403,
            "AccessDenied",
            "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        )
    })?;
    let expiration = now + Duration::from_secs(duration(&federated, role, &plain)?);
    Ok((session_of(role, &plain, expiration, BTreeMap::new(), None), expiration))
}

/// AWS quotes the value that breaks a constraint.
fn token_length(token: &str) -> Result<(), Refusal> {
    match (4..=20_000).contains(&token.len()) {
        true => Ok(()),
        false => Err(super::rules::invalid(
            "webIdentityToken",
            token,
            "Member must have length between 4 and 20000",
        )),
    }
}

/// The provider that knows the issuer of a token which is good, and whom the token is about.
fn verified<'a>(
    providers: &'a [OidcProvider],
    account: &str,
    text: &str,
    now: Timestamp,
) -> Result<(&'a OidcProvider, String), Refusal> {
    let invalid = |message: &str| Refusal::new(400, "InvalidIdentityToken", message);
    let token = Token::read(text).ok_or_else(|| {
        invalid("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
    })?;
    let claim = |name: &str| {
        let missing = || invalid(&format!("Missing a required claim: {name}"));
        token.claim(name).ok_or_else(missing)
    };
    let issuer = claim("iss")?;
    let mut known = providers.iter();
    let provider = known
        .find(|provider| provider.account == account && provider.issuer == issuer)
        // <https://repost.aws/knowledge-center/eks-troubleshoot-irsa-errors>
        .ok_or_else(|| invalid(&format!("No OpenIDConnect provider found in your account for {issuer}")))?;
    let audiences = token.audiences();
    if !audiences
        .iter()
        .any(|audience| provider.audiences.iter().any(|known| known == audience))
    {
        // <https://github.com/awslabs/amazon-eks-irsa-cfn/pull/18>
        return Err(invalid("Incorrect token audience"));
    }
    if !token.is_signed_by(&provider.keys) {
        // <https://repost.aws/knowledge-center/iam-sts-invalididentitytoken>
        return Err(invalid(
            "Couldn't retrieve verification key from your identity provider",
        ));
    }
    let (now, end) = (now.as_second(), token.claims["exp"].as_i64().unwrap_or_default());
    if end <= now {
        // <https://github.com/awslabs/aws-orbit-workbench/issues/771>
        let message = format!("Token expired: current date/time {now} must be before the expiration date/time{end}");
        return Err(Refusal::new(400, "ExpiredTokenException", message));
    }
    Ok((provider, claim("sub")?.to_owned()))
}

/// Whether a role's trust policy allows it to whom the token is about.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif>
fn is_trusted(role: &Role, provider: &OidcProvider, subject: &str, text: &str, session_name: &str) -> bool {
    let name = provider.name();
    let audiences = Token::read(text).map(|token| token.audiences().join(","));
    let context = Context::from([
        (format!("{name}:sub"), subject.to_owned()),
        (format!("{name}:aud"), audiences.unwrap_or_default()),
        ("sts:RoleSessionName".to_owned(), session_name.to_owned()),
    ]);
    let action = "sts:AssumeRoleWithWebIdentity";
    decide(&role.trust, Some(&[provider.arn()]), action, None, &context) == Decision::Allow
}

#[cfg(test)]
#[path = "web_identity_tests.rs"]
mod tests;
