//! `aws-assume-role doctor`, asked about what does not work: each thing has a line that says so, and what to do.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::fixtures::{NAMESPACE, ecr_spec, map_spec, role_arn, with};
use support::operator::OperatorCommand;
use support::strict_aws::{Role, open_role};
use support::wait_for;
use support::world::PATIENCE;

use super::the_doctor_says_why::{ask, doctor, strict_world};

#[tokio::test(flavor = "multi_thread")]
async fn of_what_is_wrong() {
    let (world, aws, server) = strict_world().await;
    let kubeconfig = world.cluster.operator_kubeconfig();
    let mut number = 0;
    let mut asked = |change: &dyn Fn(OperatorCommand) -> OperatorCommand, arguments: &[&str]| {
        number += 1;
        let arguments = [arguments, &["--namespace", NAMESPACE, "-o", "json"]].concat();
        let said = ask(
            &world,
            change(doctor(&kubeconfig, &server)),
            &format!("doctor-{number}"),
            &arguments,
        );
        assert!(!said.healthy, "{arguments:?}: {}", said.text);
        said
    };
    let plainly = |command: OperatorCommand| command;

    // Nobody runs it, and a right is missing.
    let roles = json!([{"op": "remove", "path": "/rules/1"}]).to_string();
    world.cluster.kubectl_ok(&[
        "patch",
        "clusterrole",
        OPERATOR_SERVICE_ACCOUNT,
        "--type=json",
        "--patch",
        &roles,
    ]);
    let account = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    wait_for("the API server to know the role", PATIENCE, async || {
        let question = [
            "auth",
            "can-i",
            "patch",
            "awsassumeroles",
            "--subresource=status",
            &account,
        ];
        (!world.cluster.kubectl_with(&question, "").status.success()).then_some(())
    })
    .await;
    let said = asked(&plainly, &["absent"]);
    assert_eq!(said.outcome("leader").0, "failed");
    assert_eq!(said.outcome("resource").0, "failed");
    let right = said.check("rights", "may not patch awsassumeroles.pincette.net/status");
    assert_eq!(right["outcome"], "failed");

    // A trust policy that names somebody else, and one that wants another external ID.
    let trusting = |principal: &str, id: &str| Role {
        trust: json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": id}},
        }]}),
        ..open_role()
    };
    let operator = "arn:aws:iam::123456789012:user/operator";
    aws.add_role(
        &role_arn("theirs"),
        trusting("arn:aws:iam::123456789012:user/other", "k8s:prod:default"),
    );
    aws.add_role(&role_arn("apart"), trusting(operator, "k8s:prod:team"));
    for role in ["theirs", "apart"] {
        world.apply(role, &map_spec(role)).unwrap();
        let said = asked(&plainly, &[role]);
        let (outcome, advice) = said.outcome("session");
        assert_eq!(
            (outcome.as_str(), said.outcome("trust").0.as_str()),
            ("failed", "failed")
        );
        for part in ["trust relationship", operator] {
            assert!(advice.contains(part), "{role}: {part}: {advice}");
        }
        assert!(said.outcome("external-id").1.contains("must be k8s:prod:default"));
    }

    // A session that is too long for the role, or for role chaining.
    aws.add_role(
        &role_arn("long"),
        Role {
            max_session: 3600,
            ..open_role()
        },
    );
    world
        .apply("long", &with(map_spec("long"), &json!({"durationSeconds": 7200})))
        .unwrap();
    let said = asked(&plainly, &["long"]);
    let (outcome, advice) = said.outcome("session");
    assert!(
        outcome == "failed" && advice.contains("maximum session duration"),
        "{advice}"
    );
    assert_eq!(said.outcome("duration").0, "failed");
    // Tags that the trust policy does not allow.
    let without_tags = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": operator}, "Action": "sts:AssumeRole",
    }]});
    aws.add_role(
        &role_arn("plain"),
        Role {
            trust: without_tags,
            ..open_role()
        },
    );
    let tagged = json!({"session": {"tags": {"team": "a"}}});
    world.apply("plain", &with(map_spec("plain"), &tagged)).unwrap();
    let said = asked(&plainly, &["plain"]);
    let (outcome, advice) = said.outcome("tags");
    assert!(outcome == "failed" && advice.contains("sts:TagSession"), "{advice}");
    let [id, secret, token] = aws.give_session("operator", &[]);
    let chained = |command: OperatorCommand| command.with_access_key(&id, &secret).env("AWS_SESSION_TOKEN", &token);
    let said = asked(&chained, &["long"]);
    let (outcome, advice) = said.outcome("session");
    assert!(outcome == "failed" && advice.contains("role chaining"), "{advice}");
    said.check("aws-chaining", "3600 s at most");

    // A role without rights to the registry.
    aws.add_role(
        &role_arn("pull"),
        Role {
            policies: Vec::new(),
            ..open_role()
        },
    );
    world.apply("pull", &ecr_spec("pull")).unwrap();
    let said = asked(&plainly, &["pull"]);
    assert_eq!(said.outcome("session").0, "ok");
    let (outcome, advice) = said.outcome("registry");
    assert!(
        outcome == "failed" && advice.contains("ecr:GetAuthorizationToken"),
        "{advice}"
    );

    // A Secret of somebody else.
    let secrets: Api<Secret> = Api::namespaced(world.cluster.client(), NAMESPACE);
    let theirs = serde_json::from_value(json!({"metadata": {"name": "taken"}, "stringData": {"a": "precious"}}));
    secrets.create(&PostParams::default(), &theirs.unwrap()).await.unwrap();
    aws.add_role(&role_arn("taken"), open_role());
    world.apply("taken", &map_spec("taken")).unwrap();
    let said = asked(&plainly, &["taken"]);
    assert_eq!(said.outcome("session").0, "ok");
    let (outcome, advice) = said.outcome("secret");
    assert!(outcome == "failed" && advice.contains("spec.secretName"), "{advice}");
    assert!(!said.text.contains("precious"), "{}", said.text);

    // A policy that refuses: then AWS is not asked, as the operator does not ask it.
    let policy = json!({
        "apiVersion": "pincette.net/v1alpha1", "kind": "AWSAssumeRolePolicy", "metadata": {"name": "ours"},
        "spec": {"namespaces": [NAMESPACE], "roles": [role_arn("another")]},
    });
    let applied = world.cluster.kubectl_with(&["apply", "-f", "-"], &policy.to_string());
    assert!(applied.status.success());
    let before = aws.assumed(&role_arn("taken"));
    let said = asked(&plainly, &["taken"]);
    let denied = said.check("policy", "ours");
    assert_eq!(denied["outcome"], "failed");
    assert_eq!(said.outcome("session").0, "unknown");
    assert_eq!(aws.assumed(&role_arn("taken")), before);
    let unlisted = |command: OperatorCommand| command.env("UNLISTED_NAMESPACES", "Deny");
    let said = asked(&unlisted, &[&role_arn("taken")]);
    assert_eq!(said.outcome("policy").0, "failed");

    // A namespace that the operator does not serve, where it may not look either.
    let elsewhere = |command: OperatorCommand| command.env("WATCH_NAMESPACES", "team-a");
    for target in ["taken".to_owned(), role_arn("taken")] {
        let said = asked(&elsewhere, &[&target]);
        let (outcome, advice) = said.outcome("resource");
        assert!(outcome == "failed" && advice.contains("watchNamespaces"), "{advice}");
    }

    // An AWS that does not know the key.
    let stranger = |command: OperatorCommand| command.with_access_key("AKIASTRANGER00000000", "unknown");
    let said = asked(&stranger, &["taken"]);
    assert_eq!(said.outcome("aws-identity").0, "failed");
}
