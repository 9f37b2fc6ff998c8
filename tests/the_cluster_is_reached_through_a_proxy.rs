use std::net::SocketAddr;

use support::fixtures::map_spec;
use support::forward_proxy::ForwardProxy;
use support::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn where_the_environment_names_one_for_a_kubeconfig() {
    let mut world = World::without_operator().await;
    let port = world.cluster.port();
    let proxy = ForwardProxy::start(SocketAddr::from(([127, 0, 0, 1], port))).await;
    world.start_operator_with(|command| command.env("HTTPS_PROXY", proxy.url()));
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;
    let asked = proxy.asked();
    let tunnel = format!("CONNECT 127.0.0.1:{port} ");
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|line| line.starts_with(&tunnel)), "{asked:?}");
}
