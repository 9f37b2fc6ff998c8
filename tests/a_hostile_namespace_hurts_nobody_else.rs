use std::time::Duration;

use serde_json::{Value, json};

use support::aws_proxy::Treatment;
use support::fixtures::{map_spec, role_arn, with};
use support::wait_for;
use support::world::{PATIENCE, World};

fn in_namespace(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "pincette.net/v1",
        "kind": "AWSAssumeRole",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    })
}

fn template(text: &str) -> Value {
    json!({"roleName": "hostile", "secretName": "hostile", "secretType": "Template", "template": {"data": {"key": text}}})
}

fn apply(world: &World, object: &Value) {
    let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn reason(world: &World, namespace: &str, name: &str) -> String {
    world.cluster.kubectl_ok(&[
        "get",
        "aar",
        name,
        "--namespace",
        namespace,
        "-o",
        "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}",
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_that_would_kill_or_stop_the_operator_are_errors_of_their_own_resource() {
    let mut world = World::start().await;
    world.cluster.kubectl_ok(&["create", "namespace", "hostile"]);
    let chain = |part: &str, end: &str| format!("{{{{ {}1{end} }}}}", part.repeat(16_000 / part.len()));
    let texts = [
        chain("-", ""),
        chain("not ", ""),
        chain("1~", ""),
        chain("1+", ""),
        format!("{{{{ 1{} }}}}", "|trim".repeat(3000)),
        format!("{{{{ accessKeyId{} }}}}", "[0]".repeat(5000)),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(1200)),
        "(".repeat(16_000),
        "{% set s='1'*3000000 %}{% for i in range(8000) %}{% if s is lower %}{% endif %}{% endfor %}".to_owned(),
        "{% if accessKeyId[:4] == 'ASIA' %}{% set s='1'*3000000 %}{{ s }}{% endif %}".to_owned(),
    ];
    let hostile = texts.iter().filter(|text| text.starts_with('{'));
    let mut names = Vec::new();
    for (number, text) in hostile.enumerate() {
        let name = format!("hostile-{number}");
        let spec = with(template(text), &json!({"secretName": name}));
        apply(&world, &in_namespace("hostile", &name, &spec));
        names.push(name);
    }
    world.apply("healthy", &map_spec("healthy")).unwrap();
    world.ready("healthy").await;
    for name in &names {
        wait_for(&format!("the end of {name}"), PATIENCE, async || {
            (reason(&world, "hostile", name) == "TemplateError").then_some(())
        })
        .await;
    }
    let assumed = world.aws.assumed(&role_arn("hostile"));
    assert!(
        assumed <= 1,
        "what fails with any credentials costs no session: {assumed}"
    );
    assert!(
        world.operator.as_mut().unwrap().is_running(),
        "{}",
        world.operator_log()
    );
    world.apply("later", &map_spec("later")).unwrap();
    world.ready("later").await;
}

/// A Secret of another namespace that has the UID of a resource, its labels, and a later end.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_another_namespace_is_nobodys() {
    let world = World::start().await;
    world.cluster.kubectl_ok(&["create", "namespace", "hostile"]);
    world.apply("victim", &map_spec("victim")).unwrap();
    let victim = world.ready("victim").await;
    let calls = world.aws.calls("AssumeRole").len();
    let secret = |name: &str, end: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": "hostile",
                "labels": {"app.kubernetes.io/managed-by": "aws-assume-role", "aws-assume-role": "true"},
                "annotations": {"pincette.net/expiration": end, "pincette.net/spec-hash": "other"},
                "ownerReferences": [{
                    "apiVersion": "pincette.net/v1",
                    "kind": "AWSAssumeRole",
                    "name": "victim",
                    "uid": victim.metadata.uid,
                    "controller": true,
                }],
            },
            "stringData": {"awsAccessKeyId": "theirs"},
        })
    };
    for name in ["victim", "other"] {
        for end in ["2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"] {
            apply(&world, &secret(name, end));
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.aws.calls("AssumeRole").len(), calls, "AWS is not asked for it");
    let status = world.resource("victim").await.unwrap().status.unwrap();
    assert_eq!(status.expiration, victim.status.unwrap().expiration);
    let theirs = world.cluster.kubectl_ok(&[
        "get",
        "secrets",
        "--namespace=hostile",
        "-o",
        "jsonpath={.items[*].data.awsAccessKeyId}",
    ]);
    assert!(!theirs.contains("QVNJQ"), "nothing was written there: {theirs}");
}

/// Sixty resources whose Region takes calls and never answers: more than there are places.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_hangs_delays_nobody_who_does_not_use_it() {
    let world = World::start().await;
    world.aws.treat(|call| match call.parameter("RoleArn") {
        Some(arn) if arn.contains("hanging") => Treatment::Hang,
        _ => Treatment::Pass,
    });
    let hanging: Vec<Value> = (0..60)
        .map(|number| {
            let name = format!("hanging-{number}");
            let spec = with(map_spec(&name), &json!({"region": "ap-south-1"}));
            in_namespace("default", &name, &spec)
        })
        .collect();
    apply(&world, &support::fixtures::list(&hanging));
    world.hanging_calls(32).await;
    let started = std::time::Instant::now();
    world.apply("healthy", &map_spec("healthy")).unwrap();
    world.ready("healthy").await;
    // The calls that hang are given up after thirty seconds, no sooner.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(world.aws.hanging() >= 32, "they hold the places of their own Region");
}

/// Changes of a spec, one after the other: five at once, and then one every ten seconds.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_keeps_changing_a_spec_costs_a_bounded_number_of_calls() {
    let world = World::start().await;
    for number in 0..30 {
        let name = format!("role-{number}");
        let spec = with(map_spec("eager"), &json!({"roleName": name}));
        world.apply("eager", &spec).unwrap();
    }
    let last = role_arn("role-29");
    wait_for("the last change to take effect", PATIENCE, async || {
        let status = world.resource("eager").await?.status?;
        (status.role_arn.as_deref() == Some(&last)).then_some(())
    })
    .await;
    let calls = world.aws.calls("AssumeRole").len();
    assert!(calls <= 10, "{calls}");
}
