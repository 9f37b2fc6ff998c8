use serde_json::json;

use super::super::{Reply, Request, Role, StrictAws, open_role};
use super::*;
use crate::fixtures::{ACCESS_KEY_ID, role_arn};

fn aws() -> StrictAws {
    let aws = StrictAws::new(|| Timestamp::from_second(1_800_000_000).unwrap());
    aws.add_role(&role_arn("open"), open_role());
    aws
}

fn plain(role: &str) -> AssumeRole {
    AssumeRole {
        role_arn: role_arn(role),
        session_name: "default.mine".into(),
        duration: Some(900),
        ..AssumeRole::default()
    }
}

fn ask(aws: &StrictAws, key: (&str, Option<&str>), request: AssumeRole) -> Result<Reply, Refusal> {
    aws.answer(key.0, key.1, "eu-west-1", &Request::AssumeRole(request), None)
}

/// Code and message of the refusal of a plain request with something changed.
fn refused(change: impl FnOnce(&mut AssumeRole)) -> String {
    let mut request = plain("open");
    change(&mut request);
    let refusal = ask(&aws(), (ACCESS_KEY_ID, None), request).unwrap_err();
    format!("{} {}", refusal.code, refusal.message)
}

#[test]
fn what_aws_takes_is_taken() {
    let Ok(Reply::Session {
        access_key_id,
        expiration,
        ..
    }) = ask(&aws(), (ACCESS_KEY_ID, None), plain("open"))
    else {
        panic!("refused");
    };
    assert!(access_key_id.starts_with("ASIA"));
    assert_eq!(expiration.as_second(), 1_800_000_900);
}

#[test]
fn what_aws_refuses_is_refused_in_its_words() {
    for (told, part) in [
        (
            refused(|r| r.duration = Some(60)),
            "ValidationError 1 validation error detected: Value '60' at 'durationSeconds'",
        ),
        (refused(|r| r.duration = Some(99_999)), "less than or equal to 43200"),
        (refused(|r| r.session_name = "a b".into()), "roleSessionName"),
        (refused(|r| r.session_name = "a".into()), "roleSessionName"),
        (refused(|r| r.role_arn = "nonsense".into()), "roleArn"),
        (
            refused(|r| r.role_arn = role_arn("absent")),
            "AccessDenied User: arn:aws:iam::123456789012:user/operator is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/absent",
        ),
        (refused(|r| r.policy = Some("{".into())), "MalformedPolicyDocument"),
        (
            refused(|r| r.policy = Some(format!("{{\"Statement\": \"{}\"}}", "x".repeat(3000)))),
            "less than or equal to 2048",
        ),
        (
            refused(|r| r.tags = vec![("a".into(), "1".into()), ("A".into(), "2".into())]),
            "Duplicate tag keys",
        ),
        (refused(|r| r.tags = vec![("aws:a".into(), "1".into())]), "reserved"),
        (
            refused(|r| r.transitive_tag_keys = vec!["a".into()]),
            "must be included in the requested tags",
        ),
        (
            refused(|r| r.policy_arns = vec!["arn:aws:iam::aws:policy/X".into(); 11]),
            "policyArns",
        ),
        (refused(|r| r.external_id = Some("x".into())), "externalId"),
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_trust_policy_is_obeyed() {
    let aws = aws();
    let trust = |statement: serde_json::Value| Role {
        trust: json!({"Statement": [statement]}),
        ..open_role()
    };
    let principal = json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:root")});
    aws.add_role(
        &role_arn("external"),
        trust(json!({
            "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "right"}},
        })),
    );
    let with_id = |id: &str| AssumeRole {
        external_id: Some(id.into()),
        ..plain("external")
    };
    assert!(ask(&aws, (ACCESS_KEY_ID, None), with_id("right")).is_ok());
    assert!(ask(&aws, (ACCESS_KEY_ID, None), with_id("wrong")).is_err());
    assert!(ask(&aws, (ACCESS_KEY_ID, None), plain("external")).is_err());

    let tagged = AssumeRole {
        tags: vec![("team".into(), "blue".into())],
        ..plain("external")
    };
    let refusal = ask(
        &aws,
        (ACCESS_KEY_ID, None),
        AssumeRole {
            external_id: Some("right".into()),
            ..tagged
        },
    )
    .unwrap_err();
    assert!(refusal.message.contains("sts:TagSession"), "{}", refusal.message);

    aws.add_role(
        &role_arn("strangers"),
        trust(json!({
            "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "sts:AssumeRole",
        })),
    );
    assert!(ask(&aws, (ACCESS_KEY_ID, None), plain("strangers")).is_err());
}

#[test]
fn the_callers_own_policy_is_obeyed_and_named() {
    let aws = aws();
    aws.add_user(
        "small",
        "AKIASMALL",
        "secret",
        json!({"Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn("other")},
        ]}),
    );
    let refusal = ask(&aws, ("AKIASMALL", None), plain("open")).unwrap_err();
    assert!(
        refusal
            .message
            .contains("because no identity-based policy allows the sts:AssumeRole action")
    );
}

#[test]
fn the_limits_on_the_lifetime_hold() {
    let aws = aws();
    aws.add_role(
        &role_arn("short"),
        Role {
            max_session: 3600,
            ..open_role()
        },
    );
    let long = AssumeRole {
        duration: Some(7200),
        ..plain("short")
    };
    assert!(
        ask(&aws, (ACCESS_KEY_ID, None), long.clone())
            .unwrap_err()
            .message
            .contains("MaxSessionDuration")
    );

    let Ok(Reply::Session {
        access_key_id, token, ..
    }) = ask(&aws, (ACCESS_KEY_ID, None), plain("open"))
    else {
        panic!("refused");
    };
    let chained = AssumeRole {
        duration: Some(7200),
        ..plain("open")
    };
    let refusal = ask(&aws, (&access_key_id, Some(&token)), chained).unwrap_err();
    assert!(refusal.message.contains("role chaining"));
    assert_eq!(
        ask(&aws, (&access_key_id, None), plain("open")).unwrap_err().code,
        "InvalidClientTokenId"
    );
}

#[test]
fn transitive_tags_are_inherited_and_cannot_be_set_again() {
    let aws = aws();
    let tagged = AssumeRole {
        tags: vec![("cluster".into(), "a".into())],
        transitive_tag_keys: vec!["cluster".into()],
        ..plain("open")
    };
    let Ok(Reply::Session {
        access_key_id, token, ..
    }) = ask(&aws, (ACCESS_KEY_ID, None), tagged.clone())
    else {
        panic!("refused");
    };
    let refusal = ask(&aws, (&access_key_id, Some(&token)), tagged).unwrap_err();
    assert!(refusal.message.contains("conflicts with a transitive tag key"));
    assert!(ask(&aws, (&access_key_id, Some(&token)), plain("open")).is_ok());
}

#[test]
fn inherited_tags_take_their_share_of_the_packed_size() {
    let aws = aws();
    let tags: Vec<_> = (0..5).map(|n| (format!("kubernetes-{n}"), "v".repeat(60))).collect();
    let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let [id, _, token] = aws.give_session("operator", &tags);
    let policy = json!({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "x".repeat(800)}]});
    let narrowed = AssumeRole {
        policy: Some(policy.to_string()),
        ..plain("open")
    };
    assert!(ask(&aws, (ACCESS_KEY_ID, None), narrowed.clone()).is_ok());
    assert!(ask(&aws, (&id, Some(&token)), plain("open")).is_ok());
    let refusal = ask(&aws, (&id, Some(&token)), narrowed).unwrap_err();
    assert_eq!(refusal.code, "PackedPolicyTooLarge");
    assert!(refusal.message.contains("session tags consumes"), "{}", refusal.message);
}

#[test]
fn a_region_knows_whom_its_account_lets_in() {
    let aws = aws();
    let code = |region: &str| {
        let request = Request::AssumeRole(plain("open"));
        aws.answer(ACCESS_KEY_ID, None, region, &request, None)
            .map_or_else(|refusal| refusal.code, |_| String::new())
    };
    assert_eq!(code("us-west-2"), "");
    assert_eq!(code("af-south-1"), "InvalidClientTokenId");
    assert_eq!(code("cn-north-1"), "InvalidClientTokenId");
    aws.switch_on("af-south-1");
    aws.switch_sts_off("us-west-2");
    assert_eq!(code("af-south-1"), "");
    assert_eq!(code("us-west-2"), "RegionDisabledException");
}

#[test]
fn a_registry_token_carries_the_rights_of_its_session() {
    let aws = aws();
    let repository = |name: &str| format!("arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/{name}");
    let policy = json!({"Statement": [
        {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
        {"Effect": "Allow", "Action": "ecr:*", "Resource": repository("mine")},
    ]});
    let confined = AssumeRole {
        policy: Some(policy.to_string()),
        ..plain("open")
    };
    let Ok(Reply::Session {
        access_key_id,
        token,
        expiration,
        ..
    }) = ask(&aws, (ACCESS_KEY_ID, None), confined)
    else {
        panic!("refused");
    };
    let request = Request::GetAuthorizationToken;
    let Ok(Reply::Token {
        password,
        expiration: end,
    }) = aws.answer(&access_key_id, Some(&token), "eu-west-1", &request, None)
    else {
        panic!("refused");
    };
    assert_eq!(end, expiration, "a token ends with its session");
    assert!(aws.token_allows(&password, "ecr:BatchGetImage", &repository("mine")));
    assert!(!aws.token_allows(&password, "ecr:BatchGetImage", &repository("theirs")));
}

#[test]
fn too_many_calls_are_throttled_per_region() {
    let aws = aws();
    aws.throttle(1.0, 3.0);
    let call = |region: &str| aws.answer(ACCESS_KEY_ID, None, region, &Request::GetCallerIdentity, None);
    assert_eq!((0..5).filter(|_| call("eu-west-1").is_ok()).count(), 3);
    assert_eq!(call("eu-west-1").unwrap_err().code, "Throttling");
    assert!(call("us-east-1").is_ok());
}
