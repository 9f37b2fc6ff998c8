use std::fs;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use serde_json::json;

use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::fixtures::{map_spec, role_arn, with};
use support::instance_metadata::{self, InstanceMetadata};
use support::world::World;

const POD_TOKEN: &str = "a-projected-token-of-the-pod";

/// The answer of the EKS Pod Identity Agent, given to whoever shows the pod's token.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
async fn agent(State(credentials): State<String>, headers: HeaderMap) -> (StatusCode, String) {
    match headers.get("authorization").is_some_and(|token| token == POD_TOKEN) {
        true => (StatusCode::OK, credentials),
        false => (StatusCode::UNAUTHORIZED, String::new()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eks_pod_identity_gives_it() {
    let mut world = World::without_operator().await;
    // The agent hands out a session, as it does on EKS.
    let session = world.assume("operator").await;
    let credentials = json!({
        "AccessKeyId": session.access_key_id(),
        "SecretAccessKey": session.secret_access_key(),
        "Token": session.session_token(),
        "Expiration": session.expiration().to_string(),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/v1/credentials", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1/credentials", get(agent))
        .with_state(credentials.to_string());
    let agent = tokio::spawn(async move { axum::serve(listener, router).await });
    let token_file = world.folder().join("eks-pod-identity-token");
    fs::write(&token_file, POD_TOKEN).unwrap();

    let command = world
        .operator_command()
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &uri)
        .env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token_file.to_str().unwrap());
    world.run_operator(&command);
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;

    let calls = world.aws.calls("AssumeRole");
    let by_session = calls
        .iter()
        .filter(|call| call.access_key_id == session.access_key_id());
    assert_eq!(by_session.count(), 1);

    // Such an operator chains roles, and a session of more than an hour cannot be had: that is said before AWS is asked.
    let spec = with(map_spec("long"), &json!({"durationSeconds": 7200}));
    world.apply("long", &spec).unwrap();
    let refused = world.condition("long", "Ready", "False", "InvalidRequest").await;
    assert!(refused.message.contains("3600"), "{}", refused.message);
    assert_eq!(world.aws.assumed(&role_arn("long")), 0);
    agent.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn irsa_gives_it() {
    let mut world = World::without_operator().await;
    let token = world.cluster.kubectl_ok(&[
        "create",
        "token",
        OPERATOR_SERVICE_ACCOUNT,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--audience=sts.amazonaws.com",
    ]);
    let token_file = world.folder().join("web-identity-token");
    fs::write(&token_file, token.trim()).unwrap();
    let command = world
        .operator_command()
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", token_file.to_str().unwrap())
        .env("AWS_ROLE_ARN", &role_arn("irsa"));
    world.run_operator(&command);
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;

    let exchanged = world.aws.calls("AssumeRoleWithWebIdentity");
    assert_eq!(
        exchanged[0].parameter("WebIdentityToken").as_deref(),
        Some(token.trim())
    );
    assert_eq!(exchanged[0].parameter("RoleArn"), Some(role_arn("irsa")));
    let assumed = world.aws.calls("AssumeRole");
    assert!(
        assumed[0].access_key_id.starts_with("ASIA"),
        "signed with the key of the exchanged session"
    );
}

/// The node has a role. An operator that was told not to take its credentials from there has none, and says so. It has its Region from there
/// all the same.
#[tokio::test(flavor = "multi_thread")]
async fn instance_metadata_gives_it_unless_that_is_turned_off() {
    let mut world = World::without_operator().await;
    let session = world.assume("node").await;
    let parts = [
        session.access_key_id(),
        session.secret_access_key(),
        session.session_token(),
    ];
    let metadata = InstanceMetadata::of_a_role(parts).await;
    // A profile that names it as its source does not get around it.
    let profile = world.folder().join("config");
    let arn = role_arn("by-profile");
    let text = format!("[profile node]\nrole_arn = {arn}\ncredential_source = Ec2InstanceMetadata\n");
    fs::write(&profile, text).unwrap();
    let command = |world: &World| metadata.on_the_node(world.operator_command().env("AWS_REGION", ""));

    world.apply("mine", &map_spec("mine")).unwrap();
    let off = command(&world).env("AWS_INSTANCE_METADATA", "false");
    world.run_operator(&off);
    let refused = world.condition("mine", "Ready", "False", "NoIdentity").await;
    assert!(
        refused.message.contains("--instance-metadata=false"),
        "{}",
        refused.message
    );
    assert!(
        world
            .operator_log()
            .contains(&format!("region={}", instance_metadata::REGION)),
        "{}",
        world.operator_log()
    );
    world.operator.take();
    world.run_operator(
        &off.env("AWS_PROFILE", "node")
            .env("AWS_CONFIG_FILE", profile.to_str().unwrap()),
    );
    world.apply("other", &map_spec("other")).unwrap();
    let refused = world.condition("other", "Ready", "False", "NoIdentity").await;
    assert!(
        refused.message.contains("--instance-metadata=false"),
        "{}",
        refused.message
    );
    assert_eq!(metadata.times(), 0);

    world.operator.take();
    world.run_operator(&command(&world));
    world.ready("mine").await;
    world.ready("other").await;
    assert_eq!(metadata.times(), 1, "its credentials are kept");
    let calls = world.aws.calls("AssumeRole");
    let last = calls.last().unwrap();
    assert_eq!(
        (last.access_key_id.as_str(), last.region.as_str()),
        (session.access_key_id(), instance_metadata::REGION)
    );
}
