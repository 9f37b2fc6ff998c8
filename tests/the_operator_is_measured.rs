use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use support::aws_proxy::{AwsProxy, Treatment};
use support::control_plane::rendered;
use support::fixtures::map_spec;
use support::prometheus::{Prometheus, promtool};
use support::world::{PATIENCE, World};
use support::{http, root, wait_for};

fn refuse(aws: &AwsProxy, role: &str) {
    aws.treat_role(role, Treatment::refusal(403, "AccessDenied", "not you"));
}

async fn status_of(world: &World, path: &str) -> Option<(u16, String)> {
    let (status, text) = http::get(&format!("{}{path}", world.operator_url())).await?;
    Some((status.as_u16(), text))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_series_of_a_resource_come_and_go_with_it() {
    let world = World::start().await;
    refuse(&world.aws, "refused");
    for name in ["held", "refused", "paused"] {
        world.apply(name, &map_spec(name)).unwrap();
    }
    let held = world.ready("held").await.status.unwrap();
    world.ready("paused").await;
    world.condition("refused", "Ready", "False", "AccessDenied").await;
    world.patch("aar", "paused", &json!({"spec": {"suspend": true}}));
    world.condition("paused", "Ready", "True", "Suspended").await;

    let expiration = held.expiration.unwrap().0.as_second();
    let expected = [
        format!(
            r#"aws_assume_role_credentials_expiration_timestamp_seconds{{name="held",namespace="default"}} {expiration}"#
        ),
        r#"aws_assume_role_credentials_valid{name="held",namespace="default"} 1"#.to_owned(),
        r#"aws_assume_role_credentials_valid{name="refused",namespace="default"} 0"#.to_owned(),
        r#"aws_assume_role_credentials_valid{name="paused",namespace="default"} 1"#.to_owned(),
        r#"aws_assume_role_resources{state="ready"} 1"#.to_owned(),
        r#"aws_assume_role_resources{state="error"} 1"#.to_owned(),
        r#"aws_assume_role_resources{state="suspended"} 1"#.to_owned(),
        "aws_assume_role_actors 3".to_owned(),
        "aws_assume_role_leader 1".to_owned(),
    ];
    wait_for("all series", PATIENCE, async || {
        let metrics = world.metrics().await;
        let all = expected.iter().all(|line| metrics.lines().any(|found| found == line));
        all.then_some(())
    })
    .await;
    let metrics = world.metrics().await;
    assert!(metrics.contains(r#"aws_assume_role_consecutive_failures{name="refused",namespace="default"}"#));
    assert!(metrics.contains(r#"aws_assume_role_refresh_due_timestamp_seconds{name="held""#));
    assert!(!metrics.contains(r#"aws_assume_role_refresh_due_timestamp_seconds{name="paused""#));
    assert!(metrics.contains(r#"aws_assume_role_refreshes_total{outcome="failed",reason="AccessDenied"}"#));
    assert!(metrics.contains(r#"operation="AssumeRole",result="AccessDenied""#));

    let checked = promtool(&["check", "metrics"], &metrics);
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );

    world.delete("refused");
    wait_for("the end of its series", PATIENCE, async || {
        (!world.metrics().await.contains(r#"name="refused""#)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_is_who_knows_the_resources_and_alive_who_answers() {
    let mut world = World::without_operator().await;
    // An API server that is not there.
    let kubeconfig = std::fs::read_to_string(world.cluster.operator_kubeconfig()).unwrap();
    let mut nowhere: Value = serde_json::from_str(&kubeconfig).unwrap();
    nowhere["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    let path = world.folder().join("nowhere.kubeconfig");
    std::fs::write(&path, nowhere.to_string()).unwrap();
    world.start_operator_with(|command| command.env("KUBECONFIG", path.to_str().unwrap()));
    let answer = wait_for("the supervisor", PATIENCE, async || {
        let (status, text) = status_of(&world, "/readyz").await?;
        (status == 503 && text.contains("not listed")).then_some(text)
    })
    .await;
    assert!(answer.contains("Secrets"));
    assert_eq!(
        status_of(&world, "/livez").await.unwrap().0,
        200,
        "it is no reason to be killed"
    );
    drop(world.operator.take());

    world.start_operator();
    wait_for("readiness", PATIENCE, async || {
        (status_of(&world, "/readyz").await?.0 == 200).then_some(())
    })
    .await;
    assert_eq!(status_of(&world, "/livez").await.unwrap(), (200, "ok\n".to_owned()));
    world.apply("one", &map_spec("one")).unwrap();
    world.ready("one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_panel_of_the_dashboard_has_something_to_show() {
    let world = World::start().await;
    refuse(&world.aws, "refused");
    for name in ["shown", "refused"] {
        world.apply(name, &map_spec(name)).unwrap();
    }
    world.ready("shown").await;
    world.condition("refused", "Ready", "False", "AccessDenied").await;
    let target = world.operator_url().replace("http://", "");
    let prometheus = Prometheus::start(world.folder(), &[&target], Duration::from_secs(1)).await;

    let printed = Command::new("python3")
        .arg(root().join("tests/observability/check_dashboard.py"))
        .args(["--queries", "--rate-interval", "30s"])
        .output()
        .unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let panels: Vec<Value> = serde_json::from_slice(&printed.stdout).unwrap();
    assert!(panels.len() >= 12);
    let mut round = 0;
    wait_for("an answer to each query", PATIENCE, async || {
        // Something has to happen for there to be a rate of it.
        round += 1;
        world.request_refresh("--all", &round.to_string());
        let mut silent = Vec::new();
        for panel in &panels {
            let answer = prometheus.query(panel["expr"].as_str().unwrap()).await;
            let series = answer.as_array().unwrap();
            let said = series.iter().filter(|series| series["value"][1] != "NaN");
            if said.count() == 0 {
                silent.push(panel);
            }
        }
        if !silent.is_empty() {
            println!("still silent: {silent:#?}");
        }
        silent.is_empty().then_some(())
    })
    .await;

    // The rules are such that Prometheus takes, and a healthy operator sets none of the grave ones off.
    let alerts = root().join("charts/aws-assume-role/files/alerts.yaml");
    let checked = promtool(
        &["check", "rules", "--lint=all", "--lint-fatal", alerts.to_str().unwrap()],
        "",
    );
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn the_alerts_warn_in_time_and_not_in_vain() {
    let tests = root().join("tests/observability/alerts_test.yaml");
    let tested = promtool(&["test", "rules", tests.to_str().unwrap()], "");
    assert!(
        tested.status.success(),
        "{}{}",
        String::from_utf8_lossy(&tested.stdout),
        String::from_utf8_lossy(&tested.stderr)
    );
}

#[test]
fn the_chart_hands_over_rules_and_dashboard_as_they_are() {
    let of_kind = |documents: &[Value], kind: &str| documents.iter().find(|document| document["kind"] == kind).cloned();
    let plain = rendered(&[]);
    for kind in ["PrometheusRule", "ServiceMonitor", "ConfigMap"] {
        assert_eq!(of_kind(&plain, kind), None, "{kind} needs what a cluster may not have");
    }
    let deployment = of_kind(&plain, "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    let variable = |container: &Value, name: &str| {
        let all = container["env"].as_array().unwrap();
        all.iter().find(|variable| variable["name"] == name).cloned()
    };
    assert_eq!(
        variable(container, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        None,
        "off as long as none is set"
    );

    let full = rendered(&[
        "--set=metrics.prometheusRule.enabled=true,metrics.serviceMonitor.enabled=true,metrics.dashboard.enabled=true",
        "--set=tracing.endpoint=http://collector:4317",
    ]);
    let file = |name: &str| std::fs::read_to_string(root().join("charts/aws-assume-role/files").join(name)).unwrap();
    let rules: Value = serde_saphyr::from_str(&file("alerts.yaml")).unwrap();
    assert_eq!(of_kind(&full, "PrometheusRule").unwrap()["spec"], rules);
    let dashboards = of_kind(&full, "ConfigMap").unwrap()["data"].clone();
    let dashboard = dashboards
        .as_object()
        .unwrap()
        .values()
        .next()
        .unwrap()
        .as_str()
        .unwrap();
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(parse(dashboard), parse(&file("dashboard.json")));
    assert_eq!(
        of_kind(&full, "ServiceMonitor").unwrap()["spec"]["endpoints"][0]["honorLabels"],
        true
    );
    let deployment = of_kind(&full, "Deployment").unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let endpoint = variable(container, "OTEL_EXPORTER_OTLP_ENDPOINT").unwrap();
    assert_eq!(endpoint["value"], "http://collector:4317");
    assert_eq!(
        variable(container, "OTEL_EXPORTER_OTLP_PROTOCOL").unwrap()["value"],
        "grpc"
    );
}
