use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use support::fixtures::{ecr_spec, map_spec, role_arn, with};
use support::operator::OperatorCommand;
use support::pod_identity::PodIdentityAgent;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{Fault, Refusal, Request, StrictAws, open_role};
use support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_spec_names_wrongly_is_named() {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let server = HttpServer::start(aws.clone()).await;
    world.run_operator(&world.operator_command_for(server.url()));
    aws.add_role(&role_arn("open"), open_role());
    aws.switch_sts_off("us-west-1");
    for (name, more, part) in [
        (
            "opt-in",
            json!({"region": "af-south-1"}),
            "af-south-1 does not know them",
        ),
        ("disabled", json!({"region": "us-west-1"}), "Activate us-west-1 for STS"),
        ("region-of-china", json!({"region": "cn-north-1"}), "partition"),
        (
            "role-of-china",
            json!({"roleName": null, "roleArn": "arn:aws-cn:iam::123456789012:role/open"}),
            "partition",
        ),
    ] {
        let spec = with(with(map_spec("open"), &json!({"secretName": name})), &more);
        world.apply(name, &spec).unwrap();
        let condition = world.condition(name, "Ready", "False", "InvalidRequest").await;
        assert!(condition.message.contains(part), "{name}: {}", condition.message);
    }
    world.apply("open", &map_spec("open")).unwrap();
    world.ready("open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_proxy_is_no_refusal_by_aws() {
    let mut world = World::without_operator().await;
    let page = "<html><body>Access to this site is blocked</body></html>";
    world
        .aws
        .treat_assume_role(support::aws_proxy::Treatment::Answer(403, page.to_owned()));
    world.start_operator();
    world.apply("blocked", &map_spec("blocked")).unwrap();
    let condition = world.condition("blocked", "Ready", "False", "AwsUnavailable").await;
    assert!(condition.message.contains("HTTP status 403"), "{}", condition.message);
    assert!(!condition.message.contains("<html>"), "{}", condition.message);
}

/// The operator has the tags of EKS Pod Identity, and its sessions inherit them.
#[tokio::test(flavor = "multi_thread")]
async fn tags_of_pod_identity_that_fill_the_policy_are_named() {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let server = HttpServer::start(aws.clone()).await;
    let cluster = format!("arn:aws:eks:eu-west-1:123456789012:cluster/{}", "c".repeat(90));
    let session = aws.give_session(
        "operator",
        &[
            ("eks-cluster-arn", &cluster),
            ("kubernetes-namespace", &"n".repeat(60)),
            ("kubernetes-service-account", &"s".repeat(120)),
            ("kubernetes-pod-name", &"p".repeat(63)),
            ("kubernetes-pod-uid", &"u".repeat(36)),
        ],
    );
    let agent = PodIdentityAgent::start(world.folder(), &session).await;
    let command = OperatorCommand::new(&world.cluster.operator_kubeconfig(), server.url());
    world.run_operator(&agent.identify(command));
    aws.add_role(&role_arn("pull"), open_role());
    world.apply("pull", &ecr_spec("pull")).unwrap();
    let condition = world.condition("pull", "Ready", "False", "InvalidRequest").await;
    for part in ["PackedPolicyTooLarge", "disableSessionTags", "registry"] {
        assert!(condition.message.contains(part), "{part}: {}", condition.message);
    }
}

/// The clock of the node is an hour behind until the SDK has learnt better: it is not the identity that is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_is_named() {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::from_hours(1)));
    let server = HttpServer::start(aws.clone()).await;
    aws.add_role(&role_arn("late"), open_role());
    aws.inject_faults(|request| {
        let wrong = Refusal::new(403, "SignatureDoesNotMatch", "Signature expired");
        matches!(request, Request::AssumeRole(_)).then(|| Fault::Refuse(wrong))
    });
    world.run_operator(&world.operator_command_for(server.url()));
    world.apply("late", &map_spec("late")).unwrap();
    let condition = world.condition("late", "Ready", "False", "AwsUnavailable").await;
    assert!(condition.message.contains("clock is 3"), "{}", condition.message);
    assert!(condition.message.contains("behind AWS's"), "{}", condition.message);
    aws.inject_faults(|_| None);
    world.ready("late").await;
}
