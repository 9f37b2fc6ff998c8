use std::collections::BTreeSet;
use std::time::Duration;

use aws_assume_role::api::{AWSAssumeRole, Condition};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::SignedDuration;
use kube::Api;
use serde_json::{Value, json};

use support::fixtures::{ACCOUNT, map_spec, role_arn, with};
use support::operator::OperatorCommand;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{Request, StrictAws, open_role};
use support::wait_for;
use support::world::{PATIENCE, World, condition};

/// A world whose AWS keeps account of every call. The operator does not run yet.
async fn strict_world() -> (World, StrictAws, HttpServer) {
    let world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let server = HttpServer::start(aws.clone()).await;
    (world, aws, server)
}

fn operator(world: &World, server: &HttpServer) -> OperatorCommand {
    world.operator_command_for(server.url())
}

fn apply(world: &World, object: &Value) -> Result<(), String> {
    let output = world.cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string());
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn policy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "pincette.net/v1alpha1", "kind": "AWSAssumeRolePolicy", "metadata": {"name": name}, "spec": spec})
}

fn resource(namespace: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

/// A Map of a role, whose Secret has the name of the resource.
fn of_role(name: &str, role_arn: &str) -> Value {
    with(map_spec(name), &json!({"roleName": null, "roleArn": role_arn}))
}

async fn told(world: &World, namespace: &str, name: &str, type_: &str, status: &str, reason: &str) -> Condition {
    let api: Api<AWSAssumeRole> = Api::namespaced(world.cluster.client(), namespace);
    let what = format!("{type_}={status} ({reason}) of {namespace}/{name}");
    wait_for(&what, PATIENCE, async || {
        let resource = api.get_opt(name).await.unwrap()?;
        let condition = condition(&resource, type_)?;
        (condition.status == status && condition.reason == reason).then_some(condition)
    })
    .await
}

async fn secret(world: &World, namespace: &str, name: &str) -> Option<Secret> {
    let api: Api<Secret> = Api::namespaced(world.cluster.client(), namespace);
    api.get_opt(name).await.unwrap()
}

/// The roles that AWS was asked for.
fn asked_for(aws: &StrictAws) -> BTreeSet<String> {
    let calls = aws.calls().into_iter();
    calls
        .filter_map(|call| call.request.role_arn().map(str::to_owned))
        .collect()
}

/// The number of resources of which the policies say something, by the operator's metrics.
async fn ruled(world: &World, ruling: &str, number: usize) {
    let line = format!("aws_assume_role_rulings{{ruling=\"{ruling}\"}} {number}");
    wait_for(&line, PATIENCE, async || {
        world.metrics().await.lines().any(|found| found == line).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenant_has_its_own_roles_and_nobody_elses() {
    let (mut world, aws, server) = strict_world().await;
    for namespace in ["team-a", "team-b", "elsewhere"] {
        world.cluster.kubectl_ok(&["create", "namespace", namespace]);
    }
    for role in [
        "team-a/app",
        "team-b/app",
        "TEAM-B/app",
        "team-b/../team-a/app",
        "team-b-x/app",
    ] {
        aws.add_role(&role_arn(role), open_role());
    }
    // What is there before the operator, and before the policy.
    apply(
        &world,
        &resource("team-a", "app", &of_role("app", &role_arn("team-a/app"))),
    )
    .unwrap();
    apply(
        &world,
        &policy(
            "teams",
            &json!({
                "namespaces": ["team-*"],
                "roles": [format!("arn:aws:iam::{ACCOUNT}:role/${{namespace}}/*")],
                "maxDurationSeconds": 3600,
                "session": {"tagKeys": ["team", "kubernetes-namespace"], "externalIds": ["agreed-on"]},
                "secretMetadataPrefixes": ["example.com/"],
            }),
        ),
    )
    .unwrap();
    let command = operator(&world, &server)
        .env("UNLISTED_NAMESPACES", "Deny")
        .env("CLUSTER_NAME", "prod");
    world.run_operator(&command);
    apply(
        &world,
        &resource(
            "team-b",
            "app",
            &with(map_spec("app"), &json!({"roleName": "team-b/app"})),
        ),
    )
    .unwrap();
    for namespace in ["team-a", "team-b"] {
        told(&world, namespace, "app", "Ready", "True", "Issued").await;
    }
    // Each by an external id that no other namespace has.
    let ids: BTreeSet<_> = aws
        .calls()
        .into_iter()
        .filter_map(|call| match call.request {
            Request::AssumeRole(asked) => Some((asked.role_arn, asked.external_id.unwrap())),
            _ => None,
        })
        .collect();
    let of = |namespace: &str| (role_arn(&format!("{namespace}/app")), format!("k8s:prod:{namespace}"));
    assert_eq!(ids, BTreeSet::from([of("team-a"), of("team-b")]));
    let before = aws.calls().len();

    // What one tenant tries to have of the other, or to be.
    let own = of_role("x", &role_arn("team-b/app"));
    let session = |session: Value| with(own.clone(), &json!({"session": session}));
    let tries = [
        ("by-name", with(map_spec("by-name"), &json!({"roleName": "team-a/app"}))),
        ("by-arn", of_role("by-arn", &role_arn("team-a/app"))),
        ("path", of_role("path", &role_arn("team-b/../team-a/app"))),
        ("case", of_role("case", &role_arn("TEAM-B/app"))),
        ("longer", of_role("longer", &role_arn("team-b-x/app"))),
        (
            "partition",
            of_role("partition", &format!("arn:aws-cn:iam::{ACCOUNT}:role/team-b/app")),
        ),
        (
            "account",
            of_role("account", "arn:aws:iam::210987654321:role/team-b/app"),
        ),
        ("session-name", session(json!({"name": "team-a.app"}))),
        ("tags", session(json!({"tags": {"kubernetes-namespace": "team-a"}}))),
        (
            "tags-in-capitals",
            session(json!({"tags": {"Kubernetes-Namespace": "team-a"}})),
        ),
        ("tag-not-listed", session(json!({"tags": {"owner": "me"}}))),
        ("external-id", session(json!({"externalId": "another"}))),
        ("source-identity", session(json!({"sourceIdentity": "somebody"}))),
        (
            "policies",
            session(json!({"policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]})),
        ),
        ("too-long", with(own.clone(), &json!({"durationSeconds": 7200}))),
        (
            "labels",
            with(
                own.clone(),
                &json!({"secretTemplate": {"labels": {"argocd.argoproj.io/secret-type": "cluster"}}}),
            ),
        ),
    ];
    for (name, spec) in &tries {
        let spec = with(spec.clone(), &json!({"secretName": name}));
        apply(&world, &resource("team-b", name, &spec)).unwrap();
    }
    apply(
        &world,
        &resource("elsewhere", "app", &of_role("app", &role_arn("team-a/app"))),
    )
    .unwrap();
    for (name, _) in &tries {
        let refreshed = told(&world, "team-b", name, "Refreshed", "False", "PolicyDenied").await;
        assert!(refreshed.message.contains("team-b"), "{name}: {}", refreshed.message);
        assert!(secret(&world, "team-b", name).await.is_none(), "{name}");
    }
    let unlisted = told(&world, "elsewhere", "app", "Refreshed", "False", "PolicyDenied").await;
    assert!(unlisted.message.contains("elsewhere"), "{}", unlisted.message);
    // The schema refuses what is the operator's own.
    let forged = session(json!({"externalId": "k8s:prod:team-a"}));
    assert!(
        apply(&world, &resource("team-b", "forged", &forged))
            .unwrap_err()
            .contains("k8s:")
    );
    assert_eq!(aws.calls().len(), before, "AWS was asked: {:?}", asked_for(&aws));
    ruled(&world, "denied", tries.len() + 1).await;
    ruled(&world, "permitted", 2).await;

    // What was agreed on passes.
    let agreed = session(json!({"name": "team-b.mine", "externalId": "agreed-on", "tags": {"team": "b"}}));
    let agreed = with(
        agreed,
        &json!({"secretName": "agreed", "secretTemplate": {"annotations": {"example.com/a": "b"}}}),
    );
    apply(&world, &resource("team-b", "agreed", &agreed)).unwrap();
    told(&world, "team-b", "agreed", "Ready", "True", "Issued").await;

    // And a restart asks for nothing.
    let before = aws
        .calls()
        .iter()
        .filter(|call| call.request.role_arn().is_some())
        .count();
    world.operator.take();
    let command = operator(&world, &server)
        .env("UNLISTED_NAMESPACES", "Deny")
        .env("CLUSTER_NAME", "prod");
    world.run_operator(&command);
    world.operator_ready().await;
    ruled(&world, "denied", tries.len() + 1).await;
    let after = aws
        .calls()
        .iter()
        .filter(|call| call.request.role_arn().is_some())
        .count();
    assert_eq!(before, after);
}

fn only(namespaces: &[&str], role: &str) -> Value {
    json!({"namespaces": namespaces, "roles": [role_arn(role)]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_added_narrowed_and_taken_away() {
    let (mut world, aws, server) = strict_world().await;
    aws.add_role(&role_arn("app"), open_role());
    aws.shorten_sessions(Duration::from_secs(40));
    world.run_operator(&operator(&world, &server));
    world.apply("app", &map_spec("app")).unwrap();
    let before = world.ready("app").await.status.unwrap();

    // A policy for somebody else makes the namespace one that none names.
    apply(&world, &policy("others", &only(&["others"], "others"))).unwrap();
    ruled(&world, "unlisted", 1).await;
    wait_for("the word of it", PATIENCE, async || {
        let ready = condition(&world.resource("app").await?, "Ready")?;
        ready
            .message
            .contains("No AWSAssumeRolePolicy names this namespace")
            .then_some(())
    })
    .await;

    // One that names it gives it that and nothing else.
    apply(&world, &policy("ours", &only(&["default"], "another"))).unwrap();
    let refreshed = world.condition("app", "Refreshed", "False", "PolicyDenied").await;
    assert!(
        refreshed.message.contains(&role_arn("app")) && refreshed.message.contains("ours"),
        "{}",
        refreshed.message
    );
    assert!(
        refreshed.message.contains("aws:TokenIssueTime"),
        "{}",
        refreshed.message
    );
    ruled(&world, "denied", 1).await;
    let events = world.cluster.kubectl_ok(&["get", "events.events.k8s.io", "-o", "json"]);
    assert!(events.contains("PolicyDenied"), "{events}");
    assert_eq!(
        condition(&world.resource("app").await.unwrap(), "Ready")
            .unwrap()
            .status,
        "True"
    );

    // What was issued stays until it ends. Then its values go, and its keys stay.
    world.condition("app", "Ready", "False", "PolicyDenied").await;
    wait_for("the emptied Secret", PATIENCE, async || {
        let data = world.secret("app").await?.data?;
        data.values().all(|value| value.0.is_empty()).then_some(())
    })
    .await;
    let emptied = world.secret("app").await.unwrap();
    assert_eq!(emptied.data.unwrap().len(), 3);
    let annotations = emptied.metadata.annotations.unwrap_or_default();
    assert!(
        !annotations.contains_key("pincette.net/expiration") && !annotations.contains_key("pincette.net/spec-hash")
    );
    let calls = aws.assumed(&role_arn("app"));

    // Widened, and it is filled again at once, by one call.
    apply(&world, &policy("ours", &only(&["default"], "a*"))).unwrap();
    let after = world.ready("app").await.status.unwrap();
    assert_ne!(before.expiration, after.expiration);
    assert_eq!(aws.assumed(&role_arn("app")), calls + 1);
    assert!(
        !world.secret("app").await.unwrap().data.unwrap()["awsSessionToken"]
            .0
            .is_empty()
    );
    ruled(&world, "permitted", 1).await;

    // Taken away: open again, as the documents warn.
    world.cluster.kubectl_ok(&["delete", "awsassumerolepolicy", "ours"]);
    ruled(&world, "unlisted", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn or_the_secret_goes_with_the_permission() {
    let (mut world, aws, server) = strict_world().await;
    aws.add_role(&role_arn("app"), open_role());
    let logins = json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": support::fixtures::ECR_URL});
    world.run_operator(&operator(&world, &server).env("WHEN_WITHDRAWN", "Delete"));
    world.apply("app", &map_spec("app")).unwrap();
    world
        .apply(
            "paused",
            &with(with(map_spec("paused"), &json!({"roleName": "app"})), &logins),
        )
        .unwrap();
    world.ready("app").await;
    world.ready("paused").await;
    world.patch("awsassumerole", "paused", &json!({"spec": {"suspend": true}}));
    world.condition("paused", "Ready", "True", "Suspended").await;
    apply(&world, &policy("ours", &only(&["default"], "another"))).unwrap();
    world.condition("app", "Ready", "False", "PolicyDenied").await;
    world.secret_gone("app").await;
    // To suspend a resource keeps no credentials that were withdrawn.
    world.secret_gone("paused").await;
    apply(&world, &policy("ours", &only(&["default"], "app"))).unwrap();
    world.ready("app").await;
    assert!(world.secret("app").await.is_some());
}

/// Takes the schema away from the definition of the policies, as an older or a forged one may lack it.
fn forget_schema(world: &World) {
    let open = json!([{"op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema", "value": {
        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
    }}]);
    world.cluster.kubectl_ok(&[
        "patch",
        "crd",
        "awsassumerolepolicies.pincette.net",
        "--type=json",
        "--patch",
        &open.to_string(),
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_read_opens_nothing() {
    let (mut world, aws, server) = strict_world().await;
    for role in ["app", "named/app"] {
        aws.add_role(&role_arn(role), open_role());
    }
    world.cluster.kubectl_ok(&["create", "namespace", "named"]);
    forget_schema(&world);
    world.run_operator(&operator(&world, &server));
    world
        .apply("held", &with(map_spec("held"), &json!({"roleName": "app"})))
        .unwrap();
    world.ready("held").await;
    wait_for("a policy without a schema", PATIENCE, async || {
        apply(&world, &policy("broken", &json!({"namespaces": "all", "roles": 7}))).ok()
    })
    .await;
    apply(
        &world,
        &policy(
            "readable",
            &json!({"namespaces": ["named"], "roles": [role_arn("named/*")]}),
        ),
    )
    .unwrap();
    ruled(&world, "unknown", 1).await;
    // What is there stays, and nothing new is asked for where no readable policy says so.
    world.request_refresh("held", "1");
    let refreshed = world
        .condition("held", "Refreshed", "False", "ClusterUnavailable")
        .await;
    assert!(refreshed.message.contains("broken"), "{}", refreshed.message);
    assert_eq!(aws.assumed(&role_arn("app")), 1);
    assert_eq!(
        condition(&world.resource("held").await.unwrap(), "Ready")
            .unwrap()
            .status,
        "True"
    );
    apply(
        &world,
        &resource("named", "app", &of_role("app", &role_arn("named/app"))),
    )
    .unwrap();
    told(&world, "named", "app", "Ready", "True", "Issued").await;
    world.cluster.kubectl_ok(&["delete", "awsassumerolepolicy", "broken"]);
    world.condition("held", "Refreshed", "True", "Issued").await;
    assert_eq!(aws.assumed(&role_arn("app")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_from_a_release_without_policies_changes_nothing() {
    let (mut world, aws, server) = strict_world().await;
    aws.add_role(&role_arn("app"), open_role());
    world.apply("app", &map_spec("app")).unwrap();
    world
        .cluster
        .kubectl_ok(&["delete", "crd", "awsassumerolepolicies.pincette.net", "--wait=true"]);
    world.run_operator(&operator(&world, &server));
    let status = world.ready("app").await.status.unwrap();
    assert_eq!(
        status.conditions[0].message,
        format!("The Secret holds credentials of {}.", role_arn("app"))
    );
    world.operator_ready().await;
    ruled(&world, "permitted", 1).await;
    // The definition comes later, and with it a policy.
    let definition = support::root().join("crds/awsassumerolepolicies.pincette.net.yaml");
    world.cluster.kubectl_ok(&["apply", "-f", definition.to_str().unwrap()]);
    wait_for("the policy", PATIENCE, async || {
        apply(&world, &policy("ours", &only(&["default"], "another"))).ok()
    })
    .await;
    world.condition("app", "Refreshed", "False", "PolicyDenied").await;
    assert_eq!(aws.assumed(&role_arn("app")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_labels_of_a_namespace_decide_where_a_policy_asks_for_them() {
    let (mut world, aws, server) = strict_world().await;
    aws.add_role(&role_arn("app"), open_role());
    let selecting = json!({"namespaceSelector": {"matchLabels": {"example.com/aws": "yes"}}, "roles": [role_arn("*")]});
    apply(&world, &policy("labelled", &selecting)).unwrap();
    world.run_operator(&operator(&world, &server).env("UNLISTED_NAMESPACES", "Deny"));
    world.apply("app", &map_spec("app")).unwrap();
    world.condition("app", "Refreshed", "False", "PolicyDenied").await;
    assert_eq!(aws.assumed(&role_arn("app")), 0);
    world
        .cluster
        .kubectl_ok(&["label", "namespace", "default", "example.com/aws=yes"]);
    world.ready("app").await;
    world
        .cluster
        .kubectl_ok(&["label", "namespace", "default", "example.com/aws-"]);
    world.condition("app", "Refreshed", "False", "PolicyDenied").await;
}
