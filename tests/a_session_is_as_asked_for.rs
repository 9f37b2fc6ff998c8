use serde_json::{Value, json};

use support::aws_proxy::Call;
use support::fixtures::{ecr_spec, map_spec, role_arn, with};
use support::wait_for;
use support::world::{PATIENCE, World, keys, value};

fn call_for(world: &World, role: &str) -> Call {
    let calls = world.aws.calls("AssumeRole");
    let found = calls
        .into_iter()
        .find(|call| call.parameter("RoleArn") == Some(role_arn(role)));
    found.unwrap_or_else(|| panic!("no call for {role}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_the_session_reaches_aws() {
    let world = World::start().await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    let session = json!({
        "name": "my-session", "policy": policy, "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"],
        "tags": {"team": "blue", "cost": "1 2"}, "transitiveTagKeys": ["team"],
        "externalId": "their:id", "sourceIdentity": "me@example.com",
    });
    let spec = with(map_spec("full"), &json!({"region": "us-west-2", "session": session}));
    world.apply("full", &spec).unwrap();
    world.ready("full").await;
    let call = call_for(&world, "full");
    for (parameter, expected) in [
        ("RoleSessionName", "my-session"),
        ("Policy", policy),
        ("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
        ("Tags.member.1.Key", "cost"),
        ("Tags.member.1.Value", "1 2"),
        ("Tags.member.2.Key", "team"),
        ("TransitiveTagKeys.member.1", "team"),
        ("ExternalId", "their:id"),
        ("SourceIdentity", "me@example.com"),
    ] {
        assert_eq!(call.parameter(parameter).as_deref(), Some(expected), "{parameter}");
    }
    assert_eq!(call.region, "us-west-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_login_is_confined_to_its_repository_and_what_lies_below_it() {
    let world = World::start().await;
    world.apply("pull", &ecr_spec("pull")).unwrap();
    world.ready("pull").await;
    let policy: Value = serde_json::from_str(&call_for(&world, "pull").parameter("Policy").unwrap()).unwrap();
    assert_eq!(
        policy["Statement"],
        json!([
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {"Effect": "Allow", "Action": "ecr:*", "Resource": [
                "arn:aws:ecr:eu-west-1:123456789012:repository/team/app",
                "arn:aws:ecr:eu-west-1:123456789012:repository/team/app/*",
            ]},
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_process_and_a_template_hold_working_credentials() {
    let world = World::start().await;
    let spec = with(map_spec("process"), &json!({"secretType": "CredentialProcess"}));
    world.apply("process", &spec).unwrap();
    let template = json!({"data": {
        "app.env": "ID={{ accessKeyId }}\nKEY={{ secretAccessKey }}\nTOKEN={{ sessionToken }}\n",
        "about": "{{ roleArn }} {{ accountId }} {{ region }} {{ expiration }}",
    }});
    let spec = with(
        map_spec("templated"),
        &json!({"secretType": "Template", "template": template}),
    );
    world.apply("templated", &spec).unwrap();

    let status = world.ready("process").await.status.unwrap();
    let secret = world.secret("process").await.unwrap();
    assert_eq!(keys(&secret), ["config", "credentials.json"]);
    assert_eq!(
        value(&secret, "config"),
        "[default]\ncredential_process = cat /.aws/credentials.json\n"
    );
    let document: Value = serde_json::from_str(&value(&secret, "credentials.json")).unwrap();
    assert_eq!(document["Version"], 1);
    let end: k8s_openapi::jiff::Timestamp = document["Expiration"].as_str().unwrap().parse().unwrap();
    assert_eq!(end.as_second(), status.expiration.unwrap().0.as_second());
    let text = |field: &str| document[field].as_str().unwrap().to_owned();
    let arn = world
        .caller(&text("AccessKeyId"), &text("SecretAccessKey"), &text("SessionToken"))
        .await;
    assert!(arn.contains(":assumed-role/process/"), "{arn}");

    let status = world.ready("templated").await.status.unwrap();
    let secret = world.secret("templated").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    assert_eq!(keys(&secret), ["about", "app.env"]);
    let env = value(&secret, "app.env");
    let parts: Vec<_> = env.lines().map(|line| line.split_once('=').unwrap().1).collect();
    let arn = world.caller(parts[0], parts[1], parts[2]).await;
    assert!(arn.contains(":assumed-role/templated/"), "{arn}");
    let end = status.expiration.unwrap().0;
    assert_eq!(
        value(&secret, "about"),
        format!("{} 123456789012 eu-west-1 {end}", role_arn("templated"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_fails_is_told_and_mended() {
    let world = World::start().await;
    let spec = |text: &str| {
        let template = json!({"data": {"key": text}});
        with(map_spec("t"), &json!({"secretType": "Template", "template": template}))
    };
    world.apply("t", &spec("{{ secretKey }}")).unwrap();
    let condition = world.condition("t", "Ready", "False", "TemplateError").await;
    assert!(
        condition.message.contains("may use accessKeyId"),
        "{}",
        condition.message
    );
    assert_eq!(world.aws.assumed(&role_arn("t")), 0);
    world.apply("t", &spec("{{ accessKeyId }}")).unwrap();
    world.ready("t").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_made_when_it_is_asked_for_and_once() {
    let mut world = World::start().await;
    world.apply("asked", &map_spec("asked")).unwrap();
    world.ready("asked").await;
    world.request_refresh("asked", "1");
    wait_for("the refresh", PATIENCE, async || {
        (world.aws.assumed(&role_arn("asked")) == 2).then_some(())
    })
    .await;
    world.ready("asked").await;
    // The same value again, and a restart, ask for nothing.
    world.request_refresh("asked", "1");
    drop(world.operator.take());
    world.start_operator();
    wait_for("it to be taken up", PATIENCE, async || {
        world.operator_log().contains("taken up").then_some(())
    })
    .await;
    assert_eq!(world.aws.assumed(&role_arn("asked")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_resource_rests_until_it_is_woken() {
    let world = World::start().await;
    let spec = |suspend: bool| {
        with(
            map_spec("rest"),
            &json!({"refreshBeforeSeconds": 885, "suspend": suspend}),
        )
    };
    world.apply("rest", &spec(false)).unwrap();
    world.ready("rest").await;
    world.apply("rest", &spec(true)).unwrap();
    world.condition("rest", "Ready", "True", "Suspended").await;
    let secret = world.secret("rest").await.unwrap();
    let calls = world.aws.assumed(&role_arn("rest"));
    world.cluster.kubectl_ok(&["label", "secret", "rest", "mine=1"]);
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    assert_eq!(
        world.aws.assumed(&role_arn("rest")),
        calls,
        "due every 15 seconds, and not refreshed"
    );
    assert_eq!(world.secret("rest").await.unwrap().data, secret.data);
    assert!(
        world
            .resource("rest")
            .await
            .unwrap()
            .status
            .unwrap()
            .next_refresh_time
            .is_none()
    );

    world.apply("rest", &spec(false)).unwrap();
    world.ready("rest").await;
    wait_for("the refresh", PATIENCE, async || {
        (world.aws.assumed(&role_arn("rest")) > calls).then_some(())
    })
    .await;
}
