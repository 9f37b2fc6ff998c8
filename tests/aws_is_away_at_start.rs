use support::aws_proxy::AwsProxy;
use support::fixtures::map_spec;
use support::free_port;
use support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_waits_for_aws_and_takes_up_when_it_is_back() {
    let mut world = World::without_operator().await;
    let port = free_port();
    world.run_operator(&world.operator_command_for(&format!("http://127.0.0.1:{port}")));

    world.apply("patient", &map_spec("patient")).unwrap();
    let away = world.condition("patient", "Ready", "False", "AwsUnavailable").await;
    assert!(away.message.contains("It will be tried again"), "{}", away.message);

    let _aws = AwsProxy::start_at(world.moto.url(), port).await;
    world.ready("patient").await;
    assert!(world.operator.as_mut().unwrap().is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_without_an_identity_says_so() {
    let mut world = World::without_operator().await;
    world.run_operator(&world.operator_command());
    world.apply("nobody", &map_spec("nobody")).unwrap();
    let nobody = world.condition("nobody", "Ready", "False", "NoIdentity").await;
    assert!(nobody.message.contains("Pod Identity"), "{}", nobody.message);
    assert!(world.operator.as_mut().unwrap().is_running());
}
