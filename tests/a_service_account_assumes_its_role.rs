use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use support::fixtures::{ACCESS_KEY_ID, map_spec, role_arn, with};
use support::jaeger::Jaeger;
use support::operator::OperatorCommand;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::issuer::provider_of;
use support::strict_aws::{Fault, OidcProvider, Refusal, Request, Role, StrictAws, open_role};
use support::wait_for;
use support::world::{PATIENCE, World};

/// A world whose AWS knows the cluster's issuer and checks its tokens. The operator does not run yet.
async fn strict_world() -> (World, StrictAws, HttpServer) {
    let world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    aws.add_oidc_provider(provider_of(&world.cluster).await);
    let server = HttpServer::start(aws.clone()).await;
    (world, aws, server)
}

/// An operator that has no AWS identity at all.
fn without_identity(world: &World, server: &HttpServer) -> OperatorCommand {
    OperatorCommand::new(&world.cluster.operator_kubeconfig(), server.url())
}

/// A role that one ServiceAccount may have.
fn role_for(provider: &OidcProvider, namespace: &str, service_account: &str) -> Role {
    let name = provider.issuer.strip_prefix("https://").unwrap();
    let condition = json!({"StringEquals": {
        format!("{name}:sub"): format!("system:serviceaccount:{namespace}:{service_account}"),
        format!("{name}:aud"): "sts.amazonaws.com",
    }});
    Role {
        trust: json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": provider.arn()},
            "Condition": condition,
        }]}),
        ..open_role()
    }
}

/// A Map of a role in the operator's account, to be had as a ServiceAccount.
fn spec(name: &str, role: &str, service_account: &str) -> Value {
    let role = json!({"roleName": null, "roleArn": role_arn(role), "serviceAccountName": service_account});
    with(map_spec(name), &role)
}

/// The tokens that AWS was shown.
fn tokens(aws: &StrictAws) -> Vec<String> {
    let calls = aws.calls().into_iter();
    calls
        .filter_map(|call| match call.request {
            Request::AssumeRoleWithWebIdentity(asked) => Some(asked.token),
            _ => None,
        })
        .collect()
}

/// Nobody but AWS was shown a token.
fn assert_unseen(world: &World, aws: &StrictAws) {
    let resources = world.cluster.kubectl_ok(&["get", "aar", "-A", "-o", "json"]);
    let events = world
        .cluster
        .kubectl_ok(&["get", "events.events.k8s.io", "-A", "-o", "json"]);
    let tokens = tokens(aws);
    assert!(!tokens.is_empty());
    for token in &tokens {
        let signature = token.rsplit('.').next().unwrap();
        for (place, text) in [
            ("log", &world.operator_log()),
            ("resources", &resources),
            ("events", &events),
        ] {
            assert!(!text.contains(signature), "a token is in the {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_has_its_role_for_twelve_hours() {
    let (mut world, aws, server) = strict_world().await;
    world.grant_tokens(&["app"]).await;
    let provider = provider_of(&world.cluster).await;
    aws.add_role(&role_arn("theirs"), role_for(&provider, "default", "app"));
    // The operator's own session is that of a role, as it is with Pod Identity.
    let [id, secret, token] = aws.give_session("operator", &[("kubernetes-namespace", "aws-assume-role")]);
    let command = without_identity(&world, &server).with_access_key(&id, &secret);
    world.run_operator(&command.env("AWS_SESSION_TOKEN", &token));

    let long = json!({"durationSeconds": 43_200});
    world
        .apply("theirs", &with(spec("theirs", "theirs", "app"), &long))
        .unwrap();
    let status = world.ready("theirs").await.status.unwrap();
    let left = status.expiration.unwrap().0.duration_since(Timestamp::now());
    assert!(left > SignedDuration::from_hours(11), "{left}");

    aws.add_role(&role_arn("chained"), open_role());
    world.apply("chained", &with(map_spec("chained"), &long)).unwrap();
    let condition = world.condition("chained", "Ready", "False", "InvalidRequest").await;
    assert!(condition.message.contains("role chaining"), "{}", condition.message);

    // Each refresh has a token of its own, which nobody but AWS takes, and no one for long.
    world.request_refresh("theirs", "1");
    wait_for("the refresh", PATIENCE, async || {
        (tokens(&aws).len() == 2).then_some(())
    })
    .await;
    world.ready("theirs").await;
    let tokens: BTreeSet<String> = tokens(&aws).into_iter().collect();
    assert_eq!(tokens.len(), 2);
    for token in &tokens {
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], json!(["sts.amazonaws.com"]));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    }
    assert_unseen(&world, &aws);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_role_is_refused_by_aws() {
    let (mut world, aws, server) = strict_world().await;
    world.grant_tokens(&["app", "other"]).await;
    let provider = provider_of(&world.cluster).await;
    aws.add_role(&role_arn("theirs"), role_for(&provider, "default", "app"));
    world.cluster.kubectl_ok(&["create", "namespace", "elsewhere"]);
    world
        .cluster
        .kubectl_ok(&["create", "serviceaccount", "app", "--namespace=elsewhere"]);
    // It needs no identity of its own where the ARN is given.
    world.run_operator(&without_identity(&world, &server));

    world.apply("theirs", &spec("theirs", "theirs", "app")).unwrap();
    world.ready("theirs").await;
    world.apply("other", &spec("other", "theirs", "other")).unwrap();
    let condition = world.condition("other", "Ready", "False", "AccessDenied").await;
    let provider_name = "kubernetes.default.svc.cluster.local";
    for part in [
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        &format!("arn:aws:iam::123456789012:oidc-provider/{provider_name}"),
        &format!("{provider_name}:sub is system:serviceaccount:default:other"),
    ] {
        assert!(condition.message.contains(part), "{part}: {}", condition.message);
    }

    let resource = json!({
        "apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole", "metadata": {"name": "theirs", "namespace": "elsewhere"},
        "spec": spec("theirs", "theirs", "app"),
    });
    let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &resource.to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_for("the refusal", PATIENCE, async || {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
        let told = world
            .cluster
            .kubectl_ok(&["get", "aar", "theirs", "--namespace=elsewhere", "-o", path]);
        told.contains("system:serviceaccount:elsewhere:app").then_some(())
    })
    .await;
    assert_unseen(&world, &aws);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_is_missing_is_asked_for() {
    let (mut world, aws, server) = strict_world().await;
    world.grant_tokens(&[]).await;
    let provider = provider_of(&world.cluster).await;
    aws.add_role(&role_arn("theirs"), role_for(&provider, "default", "app"));
    world.run_operator(&without_identity(&world, &server));
    world.apply("theirs", &spec("theirs", "theirs", "app")).unwrap();
    let condition = world.condition("theirs", "Ready", "False", "InvalidRequest").await;
    assert!(
        condition
            .message
            .contains("there is no ServiceAccount app in the namespace default: create it"),
        "{}",
        condition.message
    );
    assert!(tokens(&aws).is_empty());
    world.cluster.kubectl_ok(&["create", "serviceaccount", "app"]);
    world.ready("theirs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_may_not_ask_for_tokens_says_which_value_lets_it() {
    let (mut world, aws, server) = strict_world().await;
    let provider = provider_of(&world.cluster).await;
    aws.add_role(&role_arn("theirs"), role_for(&provider, "default", "app"));
    world.cluster.kubectl_ok(&["create", "serviceaccount", "app"]);
    world.run_operator(&without_identity(&world, &server));
    world.apply("theirs", &spec("theirs", "theirs", "app")).unwrap();
    let condition = world.condition("theirs", "Ready", "False", "NotPermitted").await;
    for part in ["serviceAccountTokens.enabled", "serviceaccounts", "forbidden"] {
        assert!(condition.message.contains(part), "{part}: {}", condition.message);
    }
    world.grant_tokens(&[]).await;
    world.request_refresh("theirs", "1");
    world.ready("theirs").await;
    for denied in world.cluster.forgive_denied() {
        assert!(denied.contains("/serviceaccounts/app/token"), "{denied}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_of_a_token_has_its_reason_and_its_remedy() {
    let (mut world, aws, server) = strict_world().await;
    world.grant_tokens(&["app"]).await;
    let provider = provider_of(&world.cluster).await;
    aws.add_role(&role_arn("theirs"), role_for(&provider, "default", "app"));
    world.run_operator(&world.operator_command_for(server.url()));
    let issuer = provider.issuer.clone();

    // What the account knows of the issuer.
    let (mut elsewhere, mut deaf, mut old) = (provider.clone(), provider.clone(), provider.clone());
    elsewhere.issuer = "https://elsewhere.example.com".to_owned();
    deaf.audiences = vec!["somebody-else".to_owned()];
    old.keys = json!({"keys": []});
    for (name, known, reason, parts) in [
        (
            "deaf",
            deaf,
            "AccessDenied",
            [
                "Incorrect token audience".to_owned(),
                format!(
                    "Add the audience (client ID) sts.amazonaws.com to the IAM OIDC identity provider for {issuer}"
                ),
            ],
        ),
        (
            "old",
            old,
            "AwsUnavailable",
            [
                "Couldn't retrieve verification key".to_owned(),
                format!("AWS must be able to fetch {issuer}/.well-known/openid-configuration"),
            ],
        ),
    ] {
        aws.add_oidc_provider(known);
        world.apply(name, &spec(name, "theirs", "app")).unwrap();
        let condition = world.condition(name, "Ready", "False", reason).await;
        for part in parts {
            assert!(condition.message.contains(&part), "{part}: {}", condition.message);
        }
        aws.add_oidc_provider(provider.clone());
        world.request_refresh(name, "1");
        world.ready(name).await;
    }
    aws.remove_oidc_provider(&provider);
    aws.add_oidc_provider(elsewhere);
    world.apply("unknown", &spec("unknown", "theirs", "app")).unwrap();
    let condition = world.condition("unknown", "Ready", "False", "AccessDenied").await;
    for part in [
        format!("No OpenIDConnect provider found in your account for {issuer}"),
        format!(
            "Create an IAM OIDC identity provider for {issuer} with the audience sts.amazonaws.com in the account 123456789012"
        ),
    ] {
        assert!(condition.message.contains(&part), "{part}: {}", condition.message);
    }
    aws.add_oidc_provider(provider);
    world.request_refresh("unknown", "1");
    world.ready("unknown").await;

    for (name, status, code, reason, part) in [
        ("rejected", 403, "IDPRejectedClaim", "AccessDenied", "trust policy"),
        (
            "unreached",
            400,
            "IDPCommunicationError",
            "AwsUnavailable",
            "fresh token",
        ),
        ("expired", 400, "ExpiredTokenException", "AwsUnavailable", "fresh token"),
        (
            "packed",
            400,
            "PackedPolicyTooLarge",
            "InvalidRequest",
            "Shorten session.policy",
        ),
        (
            "malformed",
            400,
            "MalformedPolicyDocument",
            "InvalidRequest",
            "Correct the spec",
        ),
    ] {
        let fault = Fault::Refuse(Refusal::new(status, code, "planted"));
        aws.inject_faults(move |request| request.role_arn().map(|_| fault.clone()));
        world.apply(name, &spec(name, "theirs", "app")).unwrap();
        let condition = world.condition(name, "Ready", "False", reason).await;
        assert!(condition.message.contains(part), "{name}: {}", condition.message);
        aws.inject_faults(|_| None);
        world.request_refresh(name, "1");
        world.ready(name).await;
    }
    // None of them put the operator's own identity in doubt.
    let own = aws
        .calls()
        .into_iter()
        .filter(|call| call.access_key_id == ACCESS_KEY_ID);
    assert_eq!(own.count(), 0);
    assert_unseen(&world, &aws);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_and_the_call_are_spans_of_the_refresh() {
    let (mut world, aws, server) = strict_world().await;
    world.grant_tokens(&["app"]).await;
    let provider = provider_of(&world.cluster).await;
    aws.add_role(&role_arn("theirs"), role_for(&provider, "default", "app"));
    let jaeger = Jaeger::start(world.folder()).await;
    let command = without_identity(&world, &server);
    world.run_operator(&command.with_traces(jaeger.grpc_endpoint(), "grpc"));
    world.apply("theirs", &spec("theirs", "theirs", "app")).unwrap();
    world.ready("theirs").await;
    let trace = wait_for("the trace", PATIENCE, async || {
        let traces = jaeger
            .traces("aws-assume-role", &[("k8s.awsassumerole.name", "theirs")])
            .await;
        traces.into_iter().next()
    })
    .await;
    let token = trace.root().child("serviceaccount.token").unwrap();
    for (name, value) in [
        ("k8s.serviceaccount.name", "app"),
        ("http.request.method", "POST"),
        ("http.response.status_code", "201"),
    ] {
        assert_eq!(token.attribute(name), Some(value), "{name}");
    }
    let call = trace.root().child("sts.AssumeRoleWithWebIdentity").unwrap();
    assert_eq!(call.attribute("rpc.method"), Some("AssumeRoleWithWebIdentity"));
    let text = jaeger.raw("aws-assume-role").await;
    for token in tokens(&aws) {
        assert!(
            !text.contains(token.rsplit('.').next().unwrap()),
            "a token is in the traces"
        );
    }
}
