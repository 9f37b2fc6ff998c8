use serde_json::{Value, json};

use support::certificates::Authority;
use support::control_plane::rendered;
use support::fixtures::map_spec;
use support::jaeger::Jaeger;
use support::wait_for;
use support::world::{PATIENCE, World};

/// Sends traces over TLS to a collector that trusts one authority, with a certificate of that authority. Whom the operator trusts is given.
async fn refreshed(protocol: &str, trusts_another: bool) -> (World, Jaeger) {
    let mut world = World::without_operator().await;
    let authority = Authority::new(&world.folder().join("authority"));
    let another = Authority::new(&world.folder().join("another"));
    let jaeger = Jaeger::start_with_tls(world.folder(), &authority).await;
    let own = authority.issue("operator");
    let trusted = if trusts_another { another } else { authority }.certificate();
    world.start_operator_with(|command| {
        command
            .with_traces(jaeger.endpoint(protocol), protocol)
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", trusted.to_str().unwrap())
            .env(
                "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
                own.certificate.to_str().unwrap(),
            )
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", own.key.to_str().unwrap())
    });
    world.apply("traced", &map_spec("traced")).unwrap();
    world.ready("traced").await;
    (world, jaeger)
}

async fn its_trace_arrives(jaeger: &Jaeger) {
    wait_for("the trace", PATIENCE, async || {
        let traces = jaeger.traces("aws-assume-role", &[]).await;
        (!traces.is_empty()).then_some(())
    })
    .await;
}

async fn its_trace_is_kept_back(world: &World, jaeger: &Jaeger) {
    wait_for("a word of it, with the cause", PATIENCE, async || {
        let log = world.operator_log();
        let line = log.lines().find(|line| line.contains("traces are not exported"))?;
        line.contains("UnknownIssuer").then_some(())
    })
    .await;
    assert!(jaeger.traces("aws-assume-role", &[]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_trusted_gets_the_traces_by_grpc() {
    let (_world, jaeger) = refreshed("grpc", false).await;
    its_trace_arrives(&jaeger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_trusted_gets_the_traces_over_http() {
    let (_world, jaeger) = refreshed("http/protobuf", false).await;
    its_trace_arrives(&jaeger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_another_authority_gets_none_by_grpc() {
    let (world, jaeger) = refreshed("grpc", true).await;
    its_trace_is_kept_back(&world, &jaeger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_another_authority_gets_none_over_http() {
    let (world, jaeger) = refreshed("http/protobuf", true).await;
    its_trace_is_kept_back(&world, &jaeger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chart_puts_the_certificates_where_the_operator_looks() {
    let world = World::without_operator().await;
    let objects = rendered(&[
        "--set=tracing.endpoint=https://collector:4317",
        "--set=tracing.tls.authorities.configMap=the-authorities,tracing.tls.authorities.key=bundle.pem",
        "--set=tracing.tls.clientSecret=the-client",
    ]);
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    world.cluster.kubectl_ok(&["create", "namespace", "somewhere"]);
    let taken = world
        .cluster
        .kubectl_with(&["create", "--dry-run=server", "-f", "-"], &deployment.to_string());
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));

    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let path_of = |variable: &str| {
        let variables = container["env"].as_array().unwrap();
        let found = variables.iter().find(|found| found["name"] == variable).unwrap();
        found["value"].as_str().unwrap().rsplit_once('/').unwrap()
    };
    let mounted = |folder: &str| {
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).unwrap();
        let volumes = pod["volumes"].as_array().unwrap();
        volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap()
    };
    let (folder, file) = path_of("OTEL_EXPORTER_OTLP_CERTIFICATE");
    let authorities =
        json!({"name": "the-authorities", "optional": true, "items": [{"key": "bundle.pem", "path": file}]});
    assert_eq!(mounted(folder)["configMap"], authorities);
    for (variable, key) in [
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "tls.crt"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "tls.key"),
    ] {
        let (folder, file) = path_of(variable);
        assert_eq!(file, key);
        assert_eq!(
            mounted(folder)["secret"],
            json!({"secretName": "the-client", "optional": true})
        );
    }

    // They are of no use without a collector.
    let plain = rendered(&["--set=tracing.tls.clientSecret=the-client"]);
    let deployment = plain.iter().find(|object| object["kind"] == "Deployment").unwrap();
    assert_eq!(deployment["spec"]["template"]["spec"]["volumes"], Value::Null);
}
