use std::collections::BTreeSet;

use k8s_openapi::jiff::SignedDuration;
use serde_json::json;

use support::certificates::Authority;
use support::fixtures::{ecr_spec, role_arn, with};
use support::forward_proxy::ForwardProxy;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::tls_front::TlsFront;
use support::world::World;

/// The hosts that the operator asks for a registry login with those variables set: AWS's own, which all lead to one stand-in here.
async fn hosts_asked(variables: &[(&str, &str)], url: &str, expected: [&str; 2]) -> BTreeSet<String> {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    aws.add_role(&role_arn("pull"), open_role());
    let server = HttpServer::start(aws).await;
    let authority = Authority::new(&world.folder().join("authority"));
    let front = TlsFront::start(server.address, &authority.issue_for(&expected)).await;
    let proxy = ForwardProxy::start(front.address).await;
    let command = world
        .operator_command_for("http://nobody.example")
        .env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        .env("AWS_CA_BUNDLE", authority.certificate().to_str().unwrap())
        .env("HTTPS_PROXY", proxy.url())
        .env("NO_PROXY", "127.0.0.1,localhost");
    let set = |command: support::operator::OperatorCommand, (name, value): &(&str, &str)| command.env(name, value);
    world.run_operator(&variables.iter().fold(command, set));
    world
        .apply("pull", &with(ecr_spec("pull"), &json!({"ecrRepositoryUrl": url})))
        .unwrap();
    world.ready("pull").await;
    let asked = proxy.asked().into_iter();
    let host = |line: String| {
        let host = line.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(":443 "));
        host.unwrap_or_else(|| panic!("{line}")).0.to_owned()
    };
    asked.map(host).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_of_a_registry_chooses_the_endpoint_of_ecr() {
    let expected = ["sts.eu-west-1.amazonaws.com", "api.ecr-fips.us-east-1.amazonaws.com"];
    let url = "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com/team/app";
    let asked = hosts_asked(&[], url, expected).await;
    assert_eq!(asked, expected.map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_choose_the_endpoints_of_both() {
    let expected = ["sts-fips.eu-west-1.amazonaws.com", "ecr-fips.us-east-1.api.aws"];
    let url = "123456789012.dkr-ecr.us-east-1.on.aws/team/app";
    let asked = hosts_asked(&[("AWS_USE_FIPS_ENDPOINT", "true")], url, expected).await;
    assert_eq!(asked, expected.map(str::to_owned).into());
}
