use serde_json::json;

use super::super::issuer::{ISSUER, claims, provider, service_account_token, signed};
use super::super::{Reply, Request, StrictAws, open_role};
use super::*;
use crate::fixtures::{ACCOUNT, role_arn};

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A role that the ServiceAccount `app` of the namespace `team` may have.
fn role() -> Role {
    let name = provider(ACCOUNT).name().to_owned();
    Role {
        trust: json!({"Statement": [{
            "Effect": "Allow",
            "Principal": {"Federated": provider(ACCOUNT).arn()},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {
                format!("{name}:sub"): "system:serviceaccount:team:app", format!("{name}:aud"): "sts.amazonaws.com",
            }},
        }]}),
        ..open_role()
    }
}

fn aws() -> StrictAws {
    let aws = StrictAws::new(now);
    aws.add_oidc_provider(provider(ACCOUNT));
    aws.add_role(&role_arn("theirs"), role());
    aws
}

fn request(token: String) -> AssumeRoleWithWebIdentity {
    AssumeRoleWithWebIdentity {
        role_arn: role_arn("theirs"),
        session_name: "team.app".into(),
        duration: Some(43_200),
        policy: None,
        policy_arns: Vec::new(),
        token,
    }
}

fn ask(aws: &StrictAws, request: AssumeRoleWithWebIdentity) -> Result<Reply, Refusal> {
    aws.answer(
        "",
        None,
        "eu-west-1",
        &Request::AssumeRoleWithWebIdentity(request),
        None,
    )
}

/// Code and message of the refusal of a token that says something else.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut claims = claims("team", "app", now());
    change(&mut claims);
    told(ask(&aws(), request(signed(&claims))))
}

fn told(answer: Result<Reply, Refusal>) -> String {
    let refusal = answer.unwrap_err();
    format!("{} {} {}", refusal.status, refusal.code, refusal.message)
}

#[test]
fn a_token_that_is_good_gives_a_session_that_is_not_chained() {
    let aws = aws();
    let answer = ask(&aws, request(service_account_token("team", "app", now())));
    let Ok(Reply::Session {
        access_key_id,
        token,
        expiration,
        ..
    }) = answer
    else {
        panic!("refused: {}", told(answer));
    };
    assert_eq!(expiration.as_second(), NOW + 43_200);
    let identity = aws.answer(
        &access_key_id,
        Some(&token),
        "eu-west-1",
        &Request::GetCallerIdentity,
        None,
    );
    let Ok(Reply::Identity { arn, .. }) = identity else {
        panic!("refused");
    };
    assert_eq!(arn, format!("arn:aws:sts::{ACCOUNT}:assumed-role/theirs/team.app"));
}

#[test]
fn what_is_wrong_with_a_token_is_refused_in_awss_words() {
    for (told, part) in [
        (
            refused(|claims| claims["iss"] = json!("https://other.example.com")),
            "400 InvalidIdentityToken No OpenIDConnect provider found in your account for https://other.example.com",
        ),
        (
            refused(|claims| claims["aud"] = json!(["https://kubernetes.default.svc"])),
            "400 InvalidIdentityToken Incorrect token audience",
        ),
        (
            refused(|claims| claims["exp"] = json!(NOW)),
            "400 ExpiredTokenException Token expired",
        ),
        (
            refused(|claims| claims["sub"] = json!("system:serviceaccount:other:app")),
            "403 AccessDenied Not authorized to perform sts:AssumeRoleWithWebIdentity",
        ),
        (
            refused(|claims| {
                claims.as_object_mut().unwrap().remove("sub");
            }),
            "Missing a required claim: sub",
        ),
        (
            told(ask(&aws(), request("nonsense".into()))),
            "400 InvalidIdentityToken The ID Token provided is not a valid JWT",
        ),
        (
            told(ask(&aws(), request("x".repeat(20_001)))),
            "400 ValidationError 1 validation error detected: Value 'xxx",
        ),
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_token_of_another_key_is_refused() {
    let good = service_account_token("team", "app", now());
    let (_, signature) = good.rsplit_once('.').unwrap();
    let other = signed(&claims("team", "other", now()));
    let (text, _) = other.rsplit_once('.').unwrap();
    let forged = told(ask(&aws(), request(format!("{text}.{signature}"))));
    assert!(forged.contains("Couldn't retrieve verification key"), "{forged}");

    let claims = good.split('.').nth(1).unwrap();
    let unsigned = BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": "none", "kid": "one"}).to_string());
    let unsigned = told(ask(&aws(), request(format!("{unsigned}.{claims}."))));
    assert!(unsigned.contains("InvalidIdentityToken"), "{unsigned}");
}

#[test]
fn a_provider_is_known_in_its_own_account_only() {
    let aws = aws();
    let theirs = "arn:aws:iam::210987654321:role/theirs";
    aws.add_role(theirs, role());
    let elsewhere = AssumeRoleWithWebIdentity {
        role_arn: theirs.to_owned(),
        ..request(service_account_token("team", "app", now()))
    };
    let told = told(ask(&aws, elsewhere));
    assert!(
        told.contains(&format!("No OpenIDConnect provider found in your account for {ISSUER}")),
        "{told}"
    );
}

#[test]
fn a_role_that_trusts_the_operator_alone_trusts_no_service_account() {
    let aws = aws();
    let operators = Role {
        trust: json!({"Statement": [{
            "Effect": "Allow", "Action": "sts:*", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        }]}),
        ..open_role()
    };
    aws.add_role(&role_arn("theirs"), operators);
    let told = told(ask(&aws, request(service_account_token("team", "app", now()))));
    assert!(told.contains("AccessDenied"), "{told}");
}

#[test]
fn a_role_is_asked_for_in_its_own_partition() {
    let mut elsewhere = request(service_account_token("team", "app", now()));
    elsewhere.role_arn = "arn:aws-cn:iam::123456789012:role/theirs".into();
    assert!(told(ask(&aws(), elsewhere)).contains("Request ARN is invalid"));
}
