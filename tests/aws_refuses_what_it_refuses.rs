use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use support::fixtures::{ACCESS_KEY_ID, ACCOUNT, ECR_URL, ecr_spec, map_spec, role_arn, with};
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{Fault, Refusal, Reply, Request, Role, StrictAws, open_role};
use support::wait_for;
use support::world::{PATIENCE, World, value};

/// A world whose AWS refuses what AWS refuses. Its clock is apart from the operator's by so much.
async fn strict_world(apart: SignedDuration) -> (World, StrictAws, HttpServer) {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(apart));
    let server = HttpServer::start(aws.clone()).await;
    world.run_operator(&world.operator_command_for(server.url()));
    (world, aws, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_reason_and_its_remedy() {
    let (world, aws, _server) = strict_world(SignedDuration::ZERO).await;
    let trust = |condition: Value| Role {
        trust: json!({"Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole", "Condition": condition,
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/operator")},
        }]}),
        ..open_role()
    };
    aws.add_role(
        &role_arn("external"),
        trust(json!({"StringEquals": {"sts:ExternalId": "the-id"}})),
    );
    aws.add_role(&role_arn("untagged"), trust(json!({})));
    aws.add_role(
        &role_arn("short"),
        Role {
            max_session: 3600,
            ..open_role()
        },
    );
    aws.add_role(&role_arn("open"), open_role());
    for (name, role, more, reason, part) in [
        ("absent", "absent", json!({}), "AccessDenied", "trust relationship"),
        (
            "external",
            "external",
            json!({}),
            "AccessDenied",
            "arn:aws:iam::123456789012:user/operator",
        ),
        (
            "untagged",
            "untagged",
            json!({"session": {"tags": {"team": "blue"}}}),
            "AccessDenied",
            "sts:TagSession",
        ),
        (
            "short",
            "short",
            json!({"durationSeconds": 7200}),
            "InvalidRequest",
            "maximum session duration of arn:aws:iam::123456789012:role/short",
        ),
        (
            "packed",
            "open",
            json!({"session": {"policy": json!({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "x".repeat(1800)}]}).to_string(),
            "tags": {"a": "x".repeat(256), "b": "y".repeat(256), "c": "z".repeat(256)}}}),
            "InvalidRequest",
            "PackedPolicyTooLarge",
        ),
    ] {
        world.apply(name, &with(map_spec(role), &more)).unwrap();
        let condition = world.condition(name, "Ready", "False", reason).await;
        assert!(condition.message.contains(part), "{name}: {}", condition.message);
    }
    // What mends them mends them.
    let mended = with(map_spec("external"), &json!({"session": {"externalId": "the-id"}}));
    world.apply("external", &mended).unwrap();
    world.ready("external").await;
    aws.add_role(&role_arn("absent"), open_role());
    world.ready("absent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_the_operators_own_is_told_from_a_trust_policy() {
    let (world, aws, _server) = strict_world(SignedDuration::ZERO).await;
    let policy = json!({"Statement": [{"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}]});
    aws.set_operator_policy(policy);
    aws.add_role(&role_arn("open"), open_role());
    world.apply("open", &map_spec("open")).unwrap();
    let condition = world.condition("open", "Ready", "False", "NotPermitted").await;
    assert!(
        condition
            .message
            .contains("Give arn:aws:iam::123456789012:user/operator a policy"),
        "{}",
        condition.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_token_opens_its_repository_and_what_lies_below_it_and_no_other() {
    let (world, aws, _server) = strict_world(SignedDuration::ZERO).await;
    aws.add_role(&role_arn("pull"), open_role());
    world.apply("pull", &ecr_spec("pull")).unwrap();
    world.ready("pull").await;
    let config: Value =
        serde_json::from_str(&value(&world.secret("pull").await.unwrap(), ".dockerconfigjson")).unwrap();
    let password = config["auths"][ECR_URL]["password"].as_str().unwrap().to_owned();
    let opens = |name: &str| {
        let repository = format!("arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/{name}");
        aws.token_allows(&password, "ecr:BatchGetImage", &repository)
    };
    assert!(opens("team/app") && opens("team/app/base"));
    assert!(!opens("team/other"));
    assert!(!opens("team/app2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_aws_answers_the_operator_recovers_and_leaks_nothing() {
    let (world, aws, _server) = strict_world(SignedDuration::ZERO).await;
    let faults = [
        ("reset", Fault::Reset, "AwsUnavailable"),
        ("garbage", Fault::Garbage, "AwsUnavailable"),
        ("truncated", Fault::Truncated, "AwsUnavailable"),
        (
            "broken",
            Fault::Refuse(Refusal::new(500, "InternalFailure", "sorry")),
            "AwsUnavailable",
        ),
        (
            "throttled",
            Fault::Refuse(Refusal {
                retry_after: Some(7),
                ..Refusal::new(400, "Throttling", "Rate exceeded")
            }),
            "Throttled",
        ),
        (
            "expired",
            Fault::Refuse(Refusal::new(
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            )),
            "NoIdentity",
        ),
    ];
    for (role, fault, reason) in faults {
        aws.add_role(&role_arn(role), open_role());
        aws.inject_faults(move |request| matches!(request, Request::AssumeRole(_)).then(|| fault.clone()));
        world.apply(role, &map_spec(role)).unwrap();
        world.condition(role, "Ready", "False", reason).await;
        aws.inject_faults(|_| None);
        world.ready(role).await;
    }
    let log = world.operator_log();
    for call in 1..40 {
        for planted in [format!("secret/key+{call:029}"), format!("session/token+{call:08}")] {
            assert!(!log.contains(&planted), "{planted} is in the log");
        }
    }
}

/// The operator's clock is two minutes behind: an end is told by AWS's clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_behind_does_not_make_refreshes_late() {
    let apart = SignedDuration::from_secs(120);
    let (world, aws, _server) = strict_world(apart).await;
    aws.add_role(&role_arn("ahead"), open_role());
    let spec = with(map_spec("ahead"), &json!({"refreshBeforeSeconds": 880}));
    world.apply("ahead", &spec).unwrap();
    let status = world.ready("ahead").await.status.unwrap();
    let (issued, end) = (status.last_refresh_time.unwrap().0, status.expiration.unwrap().0);
    assert!(
        (898..=902).contains(&end.duration_since(issued).as_secs()),
        "{issued} {end}"
    );
    assert!(
        aws.now().duration_since(issued).as_secs() < 60,
        "it is told by AWS's clock"
    );
    wait_for(
        "the refresh after 20 s, not after 140",
        std::time::Duration::from_secs(40),
        async || (aws.assumed(&role_arn("ahead")) >= 2).then_some(()),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_asks_a_strict_aws_for_nothing() {
    let (mut world, aws, server) = strict_world(SignedDuration::ZERO).await;
    for role in ["one", "two", "three"] {
        aws.add_role(&role_arn(role), open_role());
        world.apply(role, &map_spec(role)).unwrap();
        world.ready(role).await;
    }
    let before = aws.calls().len();
    drop(world.operator.take());
    world.run_operator(&world.operator_command_for(server.url()));
    wait_for("the three to be taken up", PATIENCE, async || {
        world.operator_log().contains("taken up").then_some(())
    })
    .await;
    assert_eq!(aws.calls().len(), before);
}

/// The stand-in itself is answered by the real SDK: a wrong secret is found out.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_refused() {
    let (mut world, aws, server) = strict_world(SignedDuration::ZERO).await;
    drop(world.operator.take());
    let command = world.operator_command_for(server.url());
    world.run_operator(&command.with_access_key(ACCESS_KEY_ID, "not-its-secret"));
    world.apply("open", &map_spec("open")).unwrap();
    let condition = world.condition("open", "Ready", "False", "NoIdentity").await;
    assert!(
        condition.message.contains("SignatureDoesNotMatch"),
        "{}",
        condition.message
    );
    let right = aws.answer(ACCESS_KEY_ID, None, "eu-west-1", &Request::GetCallerIdentity, None);
    assert!(matches!(right, Ok(Reply::Identity { .. })));
}

/// Forty resources against an AWS that takes five calls a second.
#[tokio::test(flavor = "multi_thread")]
async fn throttling_slows_everybody_down_and_stops_nobody() {
    let (world, aws, _server) = strict_world(SignedDuration::ZERO).await;
    aws.throttle(5.0, 5.0);
    let names: Vec<_> = (0..40).map(|number| format!("many-{number}")).collect();
    for name in &names {
        aws.add_role(&role_arn(name), open_role());
    }
    world.create_maps(&names);
    world.cluster.kubectl_ok(&[
        "wait",
        "--for=condition=Ready",
        "awsassumeroles",
        "--all",
        "--timeout=120s",
    ]);
    let counts = aws.counts();
    let throttled = counts.get("AssumeRole Throttling").copied().unwrap_or_default();
    assert_eq!(counts["AssumeRole"], 40);
    assert!(throttled > 0 && throttled < 120, "{counts:?}");
}
