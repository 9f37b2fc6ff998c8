use std::time::Duration;

use serde_json::{Value, json};

use support::aws_proxy::Treatment;
use support::fixtures::{ecr_spec, map_spec, role_arn, with};
use support::jaeger::Jaeger;
use support::traces::{SpanNode, Trace};
use support::wait_for;
use support::world::{PATIENCE, World};

const SERVICE: &str = "aws-assume-role";

const DENIED: &str = "User: someone is not authorized to perform: sts:AssumeRole on resource: it";

/// A world whose operator sends its traces to a Jaeger.
async fn traced_world(protocol: &str) -> (World, Jaeger) {
    let mut world = World::without_operator().await;
    let jaeger = Jaeger::start(world.folder()).await;
    world.start_operator_with(|command| {
        command
            .with_traces(jaeger.endpoint(protocol), protocol)
            .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
            .env("LOG_FORMAT", "json")
    });
    // Before that it would look whether the Secret of a new resource is there.
    world.operator_ready().await;
    (world, jaeger)
}

/// The refreshes of a resource that have arrived, once there are that many.
async fn refreshes(jaeger: &Jaeger, name: &str, number: usize) -> Vec<Trace> {
    let what = format!("{number} traces of {name}");
    wait_for(&what, PATIENCE, async || {
        let traces = jaeger.traces(SERVICE, &[("k8s.awsassumerole.name", name)]).await;
        (traces.len() >= number).then_some(traces)
    })
    .await
}

/// What a first refresh did, but for the word that it takes a while: on a busy machine it may.
fn steps(root: &SpanNode) -> Vec<&str> {
    let mut names = root.names();
    let statuses = names.iter().filter(|name| **name == "status.write").count();
    if let Some(first) = names.iter().position(|name| *name == "status.write")
        && statuses == 2
    {
        names.remove(first);
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_shows_each_call_and_its_answer() {
    let (world, jaeger) = traced_world("grpc").await;
    world.apply("traced", &map_spec("traced")).unwrap();
    let resource = world.ready("traced").await;

    let trace = refreshes(&jaeger, "traced", 1).await.remove(0);
    let root = trace.root();
    assert_eq!(
        steps(root),
        [
            "sts.GetCallerIdentity",
            "sts.AssumeRole",
            "secret.write",
            "status.write",
            "event.write"
        ],
        "{}",
        trace.draw()
    );
    let arn = role_arn("traced");
    for (name, value) in [
        ("k8s.namespace.name", "default"),
        ("k8s.awsassumerole.name", "traced"),
        ("k8s.awsassumerole.uid", resource.metadata.uid.as_deref().unwrap()),
        ("k8s.secret.name", "traced"),
        ("aws_assume_role.trigger", "created"),
        ("aws_assume_role.outcome", "issued"),
        ("aws_assume_role.secret_type", "Map"),
        ("aws_assume_role.role_arn", arn.as_str()),
        ("aws_assume_role.attempt", "1"),
    ] {
        assert_eq!(root.attribute(name), Some(value), "{name}");
    }
    assert!(!root.error);
    let assume = root.child("sts.AssumeRole").unwrap();
    for (name, value) in [
        ("rpc.system", "aws-api"),
        ("rpc.service", "STS"),
        ("rpc.method", "AssumeRole"),
        ("cloud.region", "eu-west-1"),
        ("http.response.status_code", "200"),
        ("span.kind", "client"),
    ] {
        assert_eq!(assume.attribute(name), Some(value), "{name}");
    }
    assert!(assume.attribute("aws.request_id").is_some_and(|id| !id.is_empty()));
    let status_of = |name: &str| root.child(name).unwrap().attribute("http.response.status_code");
    assert_eq!(status_of("secret.write"), Some("201"));
    assert_eq!(status_of("status.write"), Some("200"));
    assert_eq!(trace.resource["deployment.environment.name"], "test");

    // The log line of the cycle leads to its trace.
    let log = world.operator_log();
    let line = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let line = line.into_iter().find(|line| line["message"] == "refreshed").unwrap();
    assert_eq!(line["trace_id"], trace.id.as_str());
    assert_eq!(
        (&line["namespace"], &line["name"]),
        (&json!("default"), &json!("traced"))
    );

    // An idle actor makes no spans. A refresh after the first costs what it must, and nothing else.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(refreshes(&jaeger, "traced", 1).await.len(), 1);
    world.request_refresh("traced", "now");
    let second = refreshes(&jaeger, "traced", 2).await.remove(1);
    assert_eq!(
        second.root().shape(),
        "refresh\n  sts.AssumeRole\n  secret.write\n  status.write"
    );
    assert_eq!(second.root().attribute("aws_assume_role.trigger"), Some("requested"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_login_is_a_call_of_its_own_and_http_works_as_well() {
    let (world, jaeger) = traced_world("http/protobuf").await;
    // The ARN of a role is known without asking who the operator is.
    let role = json!({"roleName": null, "roleArn": role_arn("images")});
    world.apply("images", &with(ecr_spec("images"), &role)).unwrap();
    world.ready("images").await;
    let trace = refreshes(&jaeger, "images", 1).await.remove(0);
    assert_eq!(
        steps(trace.root()),
        [
            "sts.AssumeRole",
            "ecr.GetAuthorizationToken",
            "secret.write",
            "status.write",
            "event.write"
        ],
        "{}",
        trace.draw()
    );
    let login = trace.root().child("ecr.GetAuthorizationToken").unwrap();
    assert_eq!(login.attribute("rpc.service"), Some("ECR"));
    assert_eq!(login.attribute("http.response.status_code"), Some("200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_error_and_its_retry_is_linked_to_it() {
    let (world, jaeger) = traced_world("grpc").await;
    world
        .aws
        .treat_assume_role(Treatment::refusal(403, "AccessDenied", DENIED));
    world.apply("denied", &map_spec("denied")).unwrap();
    world.condition("denied", "Ready", "False", "AccessDenied").await;
    world.aws.treat(|_| Treatment::Pass);
    world.ready("denied").await;

    let traces = wait_for("the trace of the success", PATIENCE, async || {
        let traces = jaeger.traces(SERVICE, &[("k8s.awsassumerole.name", "denied")]).await;
        let last = traces.last()?.root();
        (last.attribute("aws_assume_role.outcome") == Some("issued")).then_some(traces)
    })
    .await;
    let failed = traces[traces.len() - 2].root();
    assert!(failed.error);
    assert_eq!(failed.attribute("aws_assume_role.outcome"), Some("failed"));
    assert_eq!(failed.attribute("error.type"), Some("AccessDenied"));
    let call = failed.child("sts.AssumeRole").unwrap();
    assert!(call.error);
    assert_eq!(call.attribute("error.type"), Some("AccessDenied"));
    assert_eq!(call.attribute("http.response.status_code"), Some("403"));
    let (_, exception) = call.events.iter().find(|(name, _)| name == "exception").unwrap();
    assert!(exception["exception.message"].contains("not authorized to perform: sts:AssumeRole"));
    assert!(failed.child("secret.write").is_none());
    assert!(failed.child("status.write").is_some_and(|write| !write.error));

    let retry = traces.last().unwrap().root();
    assert_eq!(retry.attribute("aws_assume_role.trigger"), Some("retry"));
    assert_eq!(retry.attribute("aws_assume_role.outcome"), Some("issued"));
    assert_eq!(
        retry.attribute("aws_assume_role.attempt"),
        Some(traces.len().to_string().as_str())
    );
    assert_eq!(retry.links, std::slice::from_ref(&traces[traces.len() - 2].id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_in_the_middle_of_a_call_ends_the_spans() {
    let (world, jaeger) = traced_world("grpc").await;
    world.aws.treat_assume_role(Treatment::Hang);
    world.apply("hanging", &map_spec("hanging")).unwrap();
    world.hanging_calls(1).await;
    world.delete("hanging");
    let trace = refreshes(&jaeger, "hanging", 1).await.remove(0);
    let root = trace.root();
    assert_eq!(root.attribute("aws_assume_role.outcome"), Some("aborted"));
    assert!(!root.error, "nothing went wrong");
    let call = root.child("sts.AssumeRole").unwrap();
    assert_eq!(call.attribute("http.response.status_code"), None);
    assert!(root.child("secret.write").is_none());
    let metrics = world.metrics().await;
    assert!(
        metrics.contains(r#"aws_assume_role_refreshes_total{outcome="aborted",reason=""} 1"#),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_at_the_gate_is_seen() {
    let mut world = World::without_operator().await;
    let jaeger = Jaeger::start(world.folder()).await;
    world.start_operator_with(|command| {
        command
            .env(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                &format!("{}/v1/traces", jaeger.http_endpoint()),
            )
            .env("OTEL_SERVICE_NAME", "mine")
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
            .env("AWS_CALL_RATE", "0.2")
    });
    let names = ["one", "two", "three"].map(str::to_owned);
    world.create_maps(&names);
    for name in &names {
        world.ready(name).await;
    }
    let waited = wait_for("three traces", PATIENCE, async || {
        let traces = jaeger.traces("mine", &[]).await;
        let waits = traces.iter().filter(|trace| trace.root().child("gate.wait").is_some());
        (traces.len() == 3).then_some(waits.count())
    })
    .await;
    assert_eq!(waited, 2, "five seconds allow one call");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_traces_leave_before_the_end() {
    let mut world = World::without_operator().await;
    let jaeger = Jaeger::start(world.folder()).await;
    world.start_operator_with(|command| {
        command
            .with_traces(jaeger.grpc_endpoint(), "grpc")
            // By itself it would send nothing during this test.
            .env("OTEL_BSP_SCHEDULE_DELAY", "3600000")
    });
    world.apply("last", &map_spec("last")).unwrap();
    world.ready("last").await;
    // Some are under way when it is told to stop.
    world.aws.treat(|_| Treatment::Hang);
    let under_way: Vec<_> = (0..20).map(|number| format!("under-way-{number}")).collect();
    for name in &under_way {
        world.apply(name, &map_spec(name)).unwrap();
    }
    world.hanging_calls(under_way.len()).await;
    assert!(jaeger.traces(SERVICE, &[]).await.is_empty());
    let status = world.operator.take().unwrap().stop();
    assert!(status.success());
    refreshes(&jaeger, "last", 1).await;
    for name in &under_way {
        let aborted = refreshes(&jaeger, name, 1).await.remove(0);
        assert_eq!(aborted.root().attribute("aws_assume_role.outcome"), Some("aborted"));
    }
}
