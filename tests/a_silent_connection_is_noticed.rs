use std::time::{Duration, Instant};

use support::fixtures::map_spec;
use support::tcp_proxy::{Line, TcpProxy};
use support::wait_for;
use support::world::{PATIENCE, World};

/// A world whose operator reaches the API server through a proxy, with one resource that is ready.
async fn behind_a_proxy() -> (World, TcpProxy) {
    let mut world = World::without_operator().await;
    let proxy = TcpProxy::start(world.cluster.port()).await;
    let kubeconfig = world.cluster.operator_kubeconfig_through(proxy.port());
    world.start_operator_with(|command| command.env("KUBECONFIG", kubeconfig.to_str().unwrap()));
    world.apply("before", &map_spec("before")).unwrap();
    world.ready("before").await;
    (world, proxy)
}

async fn served_after(world: &World, name: &str, at_most: Duration) {
    let started = Instant::now();
    world.apply(name, &map_spec(name)).unwrap();
    world.ready(name).await;
    let took = started.elapsed();
    println!("{name} was served after {:.1} s", took.as_secs_f64());
    assert!(took < at_most, "{name} was served after {} s", took.as_secs());
}

/// As a balancer or a NAT that forgets connections: nobody closes them. Then as one that takes connections and lets no answer through.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_without_a_word_are_replaced_within_a_minute() {
    let (world, proxy) = behind_a_proxy().await;
    proxy.set(Line::Forgotten);
    served_after(&world, "forgotten", Duration::from_secs(60)).await;
    let log = world.operator_log();
    assert!(log.contains("the API server was silent"), "{log}");

    // Everything that is asked now is taken and never answered. Both watches run into it.
    proxy.set(Line::Silent);
    let connections = proxy.connections();
    wait_for("attempts", PATIENCE, async || {
        (proxy.connections() >= connections + 2).then_some(())
    })
    .await;
    proxy.set(Line::Open);
    served_after(&world, "silent", Duration::from_secs(60)).await;
    let metrics = world.metrics().await;
    for watch in ["resources", "secrets"] {
        let series = format!("aws_assume_role_watch_last_heard_timestamp_seconds{{watch=\"{watch}\"}}");
        assert!(metrics.contains(&series), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_comes_back_is_noticed_within_seconds() {
    let mut world = World::start().await;
    world.apply("before", &map_spec("before")).unwrap();
    world.ready("before").await;
    world.cluster.kill_api_server();
    tokio::time::sleep(Duration::from_secs(15)).await;
    world.cluster.restart_api_server().await;
    served_after(&world, "back", Duration::from_secs(10)).await;
    assert!(world.operator.as_mut().unwrap().is_running());
}
