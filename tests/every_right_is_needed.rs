//! The chart gives the operator what it uses, and nothing else. That it uses nothing else is asked at the end of every story.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use support::aws_proxy::Treatment;
use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, rendered};
use support::fixtures::{NAMESPACE, map_spec, with};
use support::wait_for;
use support::world::{PATIENCE, World};

/// The roles of the chart with these values.
fn roles(values: &[&str]) -> Vec<Value> {
    let mut roles = rendered(&[&["--namespace", OPERATOR_NAMESPACE], values].concat());
    roles.retain(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role");
    roles
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap())
}

/// Whether a request of the audit log is one that a rule allows with one of its verbs and resources.
fn is_allowed(request: &Value, verb: &str, group: &str, resource: &str) -> bool {
    let object = &request["objectRef"];
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let asked = match text("subresource") {
        "" => text("resource").to_owned(),
        subresource => format!("{}/{subresource}", text("resource")),
    };
    request["verb"] == verb && text("apiGroup") == group && asked == resource
}

/// The rights that no request needed so far.
fn unused(world: &World) -> Vec<String> {
    let requests = world.cluster.audit();
    let mut unused = Vec::new();
    for rule in roles(&[]).iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        for (group, resource) in
            texts(&rule["apiGroups"]).flat_map(|group| texts(&rule["resources"]).map(move |it| (group, it)))
        {
            for verb in texts(&rule["verbs"]) {
                if !requests
                    .iter()
                    .any(|request| is_allowed(request, verb, group, resource))
                {
                    unused.push(format!("{verb} {resource}"));
                }
            }
        }
    }
    unused
}

/// Two replicas do everything that they have a right for. Since no other role gives them any of it, each right is needed.
#[tokio::test(flavor = "multi_thread")]
async fn each_verb_is_used() {
    let mut world = World::start().await;
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;
    world
        .apply("mine", &with(map_spec("mine"), &json!({"secretName": "another"})))
        .unwrap();
    world.secret_gone("mine").await;
    // The same failure twice is one event, twice.
    world
        .aws
        .treat_assume_role(Treatment::refusal(400, "Throttling", "Rate exceeded"));
    world.request_refresh("mine", "1");
    world.condition("mine", "Refreshed", "False", "Throttled").await;
    wait_for("another attempt", PATIENCE, async || {
        (world.resource("mine").await?.status?.failures? > 1).then_some(())
    })
    .await;
    world.aws.treat(|_| Treatment::Pass);
    world.condition("mine", "Refreshed", "True", "Issued").await;
    // A resource that is made again finds out that the one before is gone.
    world.cluster.stop_controller_manager();
    world.delete("mine");
    world
        .apply("mine", &with(map_spec("mine"), &json!({"secretName": "another"})))
        .unwrap();
    world.ready("mine").await;
    let started = Instant::now();
    while !unused(&world).is_empty() && started.elapsed() < PATIENCE {
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(unused(&world), [""; 0]);
}

/// Where a role holds, or else where the operator is.
fn namespace_of(role: &Value) -> &str {
    role["metadata"]["namespace"].as_str().unwrap_or(OPERATOR_NAMESPACE)
}

/// Whether the operator's ServiceAccount may do the first thing that a rule of a role allows.
fn is_in_force(world: &World, role: &Value, rule: &Value) -> bool {
    let first = |field: &str| texts(&rule[field]).next().unwrap();
    let (resource, subresource) = first("resources").split_once('/').unwrap_or((first("resources"), ""));
    let resource = match first("apiGroups") {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    };
    let object = match rule["resourceNames"][0].as_str() {
        Some(name) => format!("{resource}/{name}"),
        None => resource,
    };
    let account = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    let subresource = format!("--subresource={subresource}");
    let question = [
        "auth",
        "can-i",
        first("verbs"),
        &object,
        &subresource,
        "--namespace",
        namespace_of(role),
        &account,
    ];
    world.cluster.kubectl_with(&question, "").status.success()
}

/// Waits until the API server goes by a rule, or by its absence.
async fn settled(world: &World, role: &Value, rule: &Value, in_force: bool) {
    wait_for("the API server to know the role", PATIENCE, async || {
        (is_in_force(world, role, rule) == in_force).then_some(())
    })
    .await;
}

/// Changes a role by an operation of a JSON Patch.
fn change(world: &World, role: &Value, operation: &Value) {
    let kind = role["kind"].as_str().unwrap();
    let name = role["metadata"]["name"].as_str().unwrap();
    let patch = json!([operation]).to_string();
    let arguments = [
        "patch",
        kind,
        name,
        "--type=json",
        "--patch",
        &patch,
        "--namespace",
        namespace_of(role),
    ];
    world.cluster.kubectl_ok(&arguments);
}

/// Each rule by itself.
#[tokio::test(flavor = "multi_thread")]
async fn without_one_the_operator_is_denied_something() {
    each_is_needed(&[], &[]).await;
}

/// The same for Roles in the namespaces that are served, and the little that such an operator has elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn without_one_an_operator_of_some_namespaces_is_denied_something() {
    let values = format!("--set=watchNamespaces={{{NAMESPACE}}}");
    each_is_needed(&[&values], &[("WATCH_NAMESPACES", NAMESPACE), ("UPGRADE_CRD", "false")]).await;
}

async fn each_is_needed(values: &[&str], environment: &[(&str, &str)]) {
    let mut world = World::without_operator().await;
    world.cluster.upgrade_chart(values);
    world.apply("mine", &map_spec("mine")).unwrap();
    let start = |world: &mut World| {
        world.start_operator_with(|command| {
            let variables = environment.iter();
            variables.fold(command, |command, (name, value)| command.env(name, value))
        });
    };
    for role in roles(values) {
        for (index, rule) in role["rules"].as_array().unwrap().iter().enumerate() {
            let path = format!("/rules/{index}");
            change(&world, &role, &json!({"op": "remove", "path": path}));
            settled(&world, &role, rule, false).await;
            // As at the first start.
            for (kind, name, namespace) in [
                ("secret", "mine", NAMESPACE),
                ("lease", OPERATOR_SERVICE_ACCOUNT, OPERATOR_NAMESPACE),
            ] {
                let arguments = ["delete", kind, name, "--ignore-not-found", "--namespace", namespace];
                world.cluster.kubectl_ok(&arguments);
            }
            start(&mut world);
            wait_for(&format!("what is denied without {rule}"), PATIENCE, async || {
                (!world.cluster.denied().is_empty()).then_some(())
            })
            .await;
            world.operator = None;
            world.cluster.forgive_denied();
            change(&world, &role, &json!({"op": "add", "path": path, "value": rule}));
            settled(&world, &role, rule, true).await;
        }
    }
    start(&mut world);
    world.ready("mine").await;
}

/// The resources that the rules of a role are about.
fn resources_of(role: &Value) -> Vec<String> {
    let rules = role["rules"].as_array().unwrap().iter();
    rules
        .flat_map(|rule| texts(&rule["resources"]).map(str::to_owned))
        .collect()
}

#[test]
fn with_some_namespaces_it_has_next_to_nothing_elsewhere() {
    let objects = rendered(&["--set=watchNamespaces={team-a,team-b},serviceAccountTokens.enabled=true"]);
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    let whole = of_kind("ClusterRole").next().unwrap();
    assert_eq!(resources_of(whole), ["awsassumerolepolicies", "namespaces"]);
    let rule = |resource: &str| {
        let mut rules = whole["rules"].as_array().unwrap().iter();
        rules.find(|rule| rule["resources"] == json!([resource])).unwrap()
    };
    assert_eq!(rule("namespaces")["resourceNames"], json!(["team-a", "team-b"]));
    // The definition is everybody's, so only the release that is told to looks after it.
    let one = rendered(&["--set=watchNamespaces={team-a},crd.upgrade=true"]);
    let one = one.iter().find(|object| object["kind"] == "ClusterRole").unwrap();
    assert!(resources_of(one).contains(&"customresourcedefinitions".to_owned()));
    let confined: Vec<_> = of_kind("Role")
        .filter(|role| role["metadata"]["namespace"] != "somewhere")
        .collect();
    let namespaces: Vec<_> = confined.iter().map(|role| &role["metadata"]["namespace"]).collect();
    assert_eq!(namespaces, ["team-a", "team-b"]);
    for role in confined {
        let expected = [
            "awsassumeroles",
            "awsassumeroles/status",
            "secrets",
            "events",
            "serviceaccounts/token",
        ];
        assert_eq!(resources_of(role), expected);
    }
    // What is no namespace's is told from that of other releases. What people name in AWS is not renamed.
    for kind in [
        "ClusterRole",
        "ClusterRoleBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ] {
        for object in of_kind(kind) {
            let name = object["metadata"]["name"].as_str().unwrap();
            assert!(name.ends_with(".somewhere"), "{kind} {name}");
        }
    }
    let account = of_kind("ServiceAccount").next().unwrap();
    assert_eq!(account["metadata"]["name"], OPERATOR_SERVICE_ACCOUNT);
}

#[test]
fn what_is_not_asked_for_is_not_given() {
    let plain = rendered(&[]);
    let roles = |objects: &[Value]| -> Vec<String> {
        let roles = objects.iter().filter(|object| object["kind"] == "ClusterRole");
        roles.flat_map(resources_of).collect()
    };
    assert!(!roles(&plain).contains(&"serviceaccounts/token".to_owned()));
    assert_eq!(plain.iter().filter(|object| object["kind"] == "ClusterRole").count(), 1);
    let without = rendered(&["--set=crd.upgrade=false,crd.install=false,admissionPolicy.enabled=false"]);
    assert!(!roles(&without).contains(&"customresourcedefinitions".to_owned()));
    for kind in ["CustomResourceDefinition", "ValidatingAdmissionPolicy"] {
        assert!(plain.iter().any(|object| object["kind"] == kind), "{kind}");
        assert!(!without.iter().any(|object| object["kind"] == kind), "{kind}");
    }

    // Policies are in no aggregated role.
    let aggregated = rendered(&["--set=rbac.aggregate=true"]);
    let aggregated: Vec<_> = aggregated
        .iter()
        .filter(|object| object["metadata"]["labels"].to_string().contains("aggregate-to"))
        .collect();
    assert_eq!(aggregated.len(), 2);
    for role in aggregated {
        assert_eq!(resources_of(role), ["awsassumeroles"]);
    }
}
