use serde_json::json;

use support::free_port;
use support::front::Front;
use support::operator::OperatorCommand;
use support::world::{World, map_spec};

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_waits_for_aws_and_takes_up_when_it_is_back() {
    let mut world = World::without_operator().await;
    let port = free_port();
    let command = OperatorCommand::new(
        &world.cluster.operator_kubeconfig(),
        &format!("http://127.0.0.1:{port}"),
    );
    let command = command.with_access_key("AKIAOPERATOR00000000", "secret");
    world.operator = Some(command.start(world.folder()));

    world.apply("patient", &map_spec("patient")).unwrap();
    let away = world.condition("patient", "Ready", "False", "AwsUnavailable").await;
    assert!(away.message.contains("It will be tried again"), "{}", away.message);

    let _aws = Front::start_at(world.moto.url(), port).await;
    world.ready("patient").await;
    assert!(world.operator.as_mut().unwrap().is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_without_an_identity_says_so() {
    let mut world = World::without_operator().await;
    world.operator = Some(world.operator_command().start(world.folder()));
    world
        .apply(
            "nobody",
            &json!({"roleName": "r", "secretName": "s", "secretType": "Map"}),
        )
        .unwrap();
    let nobody = world.condition("nobody", "Ready", "False", "NoIdentity").await;
    assert!(nobody.message.contains("Pod Identity"), "{}", nobody.message);
    assert!(world.operator.as_mut().unwrap().is_running());
}
