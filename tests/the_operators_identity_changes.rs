use std::fs;
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;

use support::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, map_spec, role_arn};
use support::instance_metadata::{self, InstanceMetadata};
use support::pod_identity::PodIdentityAgent;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, allow_all, open_role};
use support::wait_for;
use support::world::World;

fn strict_aws(roles: &[&str]) -> StrictAws {
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    for role in roles {
        aws.add_role(&role_arn(role), open_role());
    }
    aws
}

fn identity_calls(aws: &StrictAws) -> u64 {
    let counts = aws.counts();
    let calls = counts.iter().filter(|(call, _)| call.starts_with("GetCallerIdentity"));
    calls.map(|(_, count)| count).sum()
}

/// Its session is revoked hours before its end, and the agent gives another.
#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_session_is_replaced_within_seconds() {
    let mut world = World::without_operator().await;
    let aws = strict_aws(&["before", "after"]);
    let server = HttpServer::start(aws.clone()).await;
    let first = aws.give_session("operator", &[]);
    let agent = PodIdentityAgent::start(world.folder(), &first).await;
    let command = support::operator::OperatorCommand::new(&world.cluster.operator_kubeconfig(), server.url());
    world.run_operator(&agent.identify(command));
    world.apply("before", &map_spec("before")).unwrap();
    world.ready("before").await;
    assert_eq!(agent.times(), 1, "its credentials are kept");
    let asked = identity_calls(&aws);

    // While nobody has another, the agent is asked every few seconds at most.
    aws.end_session(&first[0]);
    world.apply("after", &map_spec("after")).unwrap();
    let refused = world.condition("after", "Ready", "False", "NoIdentity").await;
    assert!(refused.message.contains("ExpiredToken"), "{}", refused.message);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(agent.times() <= 5, "the agent was asked {} times", agent.times());

    let second = aws.give_session("another", &[]);
    agent.give(&second);
    wait_for("the new identity", Duration::from_secs(30), async || {
        (aws.assumed(&role_arn("after")) > 0 && world.secret("after").await.is_some()).then_some(())
    })
    .await;
    world.ready("after").await;
    assert!(identity_calls(&aws) > asked, "who the operator is is asked again");
    let log = world.operator_log();
    for part in first.iter().chain(&second) {
        assert!(
            !log.contains(part.as_str()),
            "a part of the operator's credentials is in the log"
        );
    }
}

/// The keys in a shared credentials file are rotated: the file is mounted, and the operator goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_file_of_credentials_is_read_again() {
    let mut world = World::without_operator().await;
    let aws = strict_aws(&["before", "after"]);
    let server = HttpServer::start(aws.clone()).await;
    let file = world.folder().join("credentials");
    let write = |id: &str, secret: &str| {
        let text = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        fs::write(&file, text).unwrap();
    };
    write(ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    let command = support::operator::OperatorCommand::new(&world.cluster.operator_kubeconfig(), server.url())
        .env("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());
    world.run_operator(&command);
    world.apply("before", &map_spec("before")).unwrap();
    world.ready("before").await;

    aws.add_user("operator", "AKIAROTATED000000000", "another-secret", allow_all());
    write("AKIAROTATED000000000", "another-secret");
    aws.remove_key(ACCESS_KEY_ID);
    world.apply("after", &map_spec("after")).unwrap();
    world.ready("after").await;
    assert!(
        aws.calls()
            .iter()
            .any(|call| call.access_key_id == "AKIAROTATED000000000"),
        "it signs with the new key"
    );
}

/// Instance metadata does not answer while the operator starts.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_was_not_known_at_the_start_is_found_later() {
    let mut world = World::without_operator().await;
    let aws = strict_aws(&["before", "after"]);
    let server = HttpServer::start(aws.clone()).await;
    let port = support::free_port();
    let command = world.operator_command_for(server.url()).env("AWS_REGION", "");
    let command = instance_metadata::on_a_node(command, port);
    world.run_operator(&command);
    world.apply("before", &map_spec("before")).unwrap();
    world.ready("before").await;
    assert!(world.operator_log().contains("set AWS_REGION"));
    assert!(aws.calls().iter().all(|call| call.region == "us-east-1"));

    let _metadata = InstanceMetadata::start_at(port).await;
    wait_for("the Region in the log", Duration::from_secs(90), async || {
        world.operator_log().contains("is known now").then_some(())
    })
    .await;
    world.apply("after", &map_spec("after")).unwrap();
    world.ready("after").await;
    assert_eq!(aws.calls().last().unwrap().region, instance_metadata::REGION);
}
