use std::fs;

use k8s_openapi::jiff::SignedDuration;

use support::certificates::Authority;
use support::fixtures::{map_spec, role_arn};
use support::forward_proxy::ForwardProxy;
use support::operator::OperatorCommand;
use support::pod_identity::PodIdentityAgent;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::tls_front::TlsFront;
use support::wait_for;
use support::world::{PATIENCE, World};

/// Nobody knows this name but the proxy.
const HOST: &str = "sts.aws.example";

async fn strict_aws(role: &str) -> (StrictAws, HttpServer) {
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    aws.add_role(&role_arn(role), open_role());
    let server = HttpServer::start(aws.clone()).await;
    (aws, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_calls_go_through_it_and_the_agent_is_asked_directly() {
    let mut world = World::without_operator().await;
    let (aws, server) = strict_aws("mine").await;
    let proxy = ForwardProxy::start(server.address).await;
    let agent = PodIdentityAgent::start(world.folder(), &aws.give_session("operator", &[])).await;
    let command = OperatorCommand::new(&world.cluster.operator_kubeconfig(), &format!("http://{HOST}"))
        .env("http_proxy", proxy.url())
        .env("no_proxy", "example.org");
    world.run_operator(&agent.identify(command));
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|line| line.starts_with(&format!("POST http://{HOST}/"))),
        "{asked:?}"
    );
}

/// A proxy that ends TLS, or an endpoint of one's own: its authority is in no machine's store.
#[tokio::test(flavor = "multi_thread")]
async fn calls_with_tls_go_through_it_and_a_private_authority_is_trusted() {
    let mut world = World::without_operator().await;
    let (_aws, server) = strict_aws("mine").await;
    let authority = Authority::new(&world.folder().join("authority"));
    let front = TlsFront::start(server.address, &authority.issue(HOST)).await;
    let proxy = ForwardProxy::start(front.address).await;
    let bundle = authority.certificate();
    let through = |world: &World| {
        world
            .operator_command_for(&format!("https://{HOST}"))
            .env("HTTPS_PROXY", proxy.url())
            // The API server is at home.
            .env("NO_PROXY", "127.0.0.1,localhost")
    };
    world.run_operator(&through(&world));
    world.apply("mine", &map_spec("mine")).unwrap();
    world.condition("mine", "Ready", "False", "AwsUnavailable").await;

    drop(world.operator.take());
    let command = through(&world).env("AWS_CA_BUNDLE", bundle.to_str().unwrap());
    world.run_operator(&command);
    world.ready("mine").await;
    let asked = proxy.asked();
    let tunnel = format!("CONNECT {HOST}:443 ");
    assert!(asked.iter().all(|line| line.starts_with(&tunnel)), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_without_a_certificate_ends_the_start_with_its_name() {
    let mut world = World::without_operator().await;
    let bundle = world.folder().join("empty.pem");
    fs::write(&bundle, "nothing").unwrap();
    let command = world
        .operator_command_for(world.aws.url())
        .env("AWS_CA_BUNDLE", bundle.to_str().unwrap());
    world.run_operator(&command);
    let ended = wait_for("the end of the operator", PATIENCE, async || {
        (!world.operator.as_mut()?.is_running()).then(|| world.operator_log())
    })
    .await;
    assert!(
        ended.contains("AWS_CA_BUNDLE") && ended.contains("empty.pem"),
        "{ended}"
    );
    // It was not there long enough to ask the API server for anything.
    world.operator = None;
}
