use serde_json::{Value, json};

use support::fixtures::{map_spec, with};
use support::world::World;

/// A good spec with something changed.
fn spec(changes: &Value) -> Value {
    with(map_spec("mine"), changes)
}

/// What changes a good spec to one with those templates.
fn templates(data: &Value) -> Value {
    json!({"secretType": "Template", "template": {"data": data}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_resource_is_refused_with_what_to_write_instead() {
    let world = World::without_operator().await;
    let long = "x".repeat(2100);
    let full = "v".repeat(16_384);
    let registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    for (changes, told) in [
        (
            json!({"secretType": "EcrDockerConfigJson"}),
            "needs ecrRepositoryUrl: https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>",
        ),
        (
            json!({"ecrRepositoryUrl": "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/r"}),
            "secretType EcrDockerConfigJson or Template only",
        ),
        (
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": "https://docker.io/v2/library/nginx"}),
            "must name a private ECR repository",
        ),
        (
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/Team"}),
            "or the host alone for all repositories",
        ),
        (
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": "123456789012.dkr.ecr.eu-west-1.on.aws"}),
            "must name a private ECR repository",
        ),
        (
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrls": [registry]}),
            "needs ecrRepositoryUrl",
        ),
        (
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": registry, "ecrRepositoryUrls": [registry, "docker.io"]}),
            "each of ecrRepositoryUrls must name a private ECR repository",
        ),
        (
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": registry, "ecrRepositoryUrls": vec![registry; 21]}),
            "at most 20",
        ),
        (
            json!({"secretType": "Template", "template": {"data": {"k": "v"}}, "ecrRepositoryUrl": registry, "ecrRepositoryUrls": [registry]}),
            "ecrRepositoryUrls goes with secretType EcrDockerConfigJson only",
        ),
        (
            json!({"secretType": "Template", "template": {"type": "kubernetes.io/tls", "data": {"k": "v"}}}),
            "supported values: \"Opaque\", \"kubernetes.io/basic-auth\", \"kubernetes.io/dockerconfigjson\"",
        ),
        (
            json!({"secretType": "Template", "template": {"type": "kubernetes.io/basic-auth", "data": {"user": "v"}}}),
            "needs the key username or password",
        ),
        (
            json!({"secretType": "Template", "template": {"type": "kubernetes.io/dockerconfigjson", "data": {"config.json": "v"}}}),
            "needs the key .dockerconfigjson",
        ),
        (
            json!({"roleArn": "arn:aws:iam::123456789012:role/r"}),
            "exactly one of roleName",
        ),
        (json!({"roleName": null}), "exactly one of roleName"),
        (json!({"roleName": "/leading"}), "my-role or team/my-role"),
        (
            json!({"roleName": "arn:aws:iam::123456789012:role/r"}),
            "roleName is the name of an IAM role",
        ),
        (
            json!({"roleName": null, "roleArn": "my-role"}),
            "arn:aws:iam::123456789012:role/my-role",
        ),
        (
            json!({"roleName": null, "roleArn": format!("arn:aws:iam::123456789012:role/{long}")}),
            "2048",
        ),
        (
            json!({"roleName": null, "roleArn": "arn:aws:iam::123456789012:role/ä"}),
            "arn:aws:iam::123456789012:role/my-role",
        ),
        (
            json!({"roleName": null, "roleArn": "arn:aws:iam::123456789012:role/a b"}),
            "arn:aws:iam::123456789012:role/my-role",
        ),
        (json!({"durationSeconds": 60}), "greater than or equal to 900"),
        (json!({"durationSeconds": 50000}), "less than or equal to 43200"),
        (json!({"durationSeconds": "900"}), "integer"),
        (json!({"refreshBeforeSeconds": 59}), "greater than or equal to 60"),
        (json!({"refreshBeforeSeconds": 900}), "less than durationSeconds"),
        (
            json!({"refreshBeforeSeconds": 3600, "durationSeconds": 3600}),
            "less than durationSeconds",
        ),
        (json!({"secretName": "My_Secret"}), "DNS subdomain name"),
        (json!({"secretName": "-x"}), "DNS subdomain name"),
        (json!({"secretName": ""}), "DNS subdomain name"),
        (json!({"secretName": null}), "secretName"),
        (
            json!({"secretType": "Yaml"}),
            "supported values: \"Map\", \"File\", \"EcrDockerConfigJson\", \"CredentialProcess\", \"Template\"",
        ),
        (json!({"secretTipe": "Map"}), "unknown field"),
        (json!({"region": "Ireland"}), "eu-west-1"),
        (json!({"secretType": "Template"}), "needs template.data"),
        (json!({"template": {"data": {"k": "v"}}}), "secretType Template only"),
        (
            json!({"secretType": "Template", "template": {"data": {}}}),
            "at least 1",
        ),
        (
            json!({"secretType": "Template", "template": {"data": {"a b": "v"}}}),
            "key of template.data",
        ),
        (templates(&json!({".": "v"})), "neither . nor begins with .."),
        (templates(&json!({"..": "v"})), "neither . nor begins with .."),
        (templates(&json!({"..data": "v"})), "neither . nor begins with .."),
        (templates(&json!({"k".repeat(254): "v"})), "1 to 253 letters"),
        (
            templates(&json!({"k": "v".repeat(16_385)})),
            "may not be more than 16384",
        ),
        (
            templates(&json!({"a": full, "b": full, "c": full, "d": full, "e": "v"})),
            "65536 characters (64 KiB) together",
        ),
        (json!({"session": {"name": "x"}}), "session.name must have 2 to 64"),
        (json!({"session": {"name": "a b"}}), "session.name must have 2 to 64"),
        (json!({"session": {"policy": "allow all"}}), "IAM policy in JSON"),
        (
            json!({"session": {"policy": format!("{{{}}}", " ".repeat(2040)), "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}}),
            "2048 characters together",
        ),
        (
            json!({"session": {"policyArns": ["ReadOnlyAccess"]}}),
            "ARN of a managed policy",
        ),
        (json!({"session": {"tags": {"aws:x": "1"}}}), "does not begin with aws:"),
        (json!({"session": {"tags": {"x": "v".repeat(257)}}}), "256"),
        (
            json!({"session": {"transitiveTagKeys": ["team"]}}),
            "must be a key of session.tags",
        ),
        (
            json!({"session": {"externalId": "x"}}),
            "session.externalId must have 2",
        ),
        (
            json!({"session": {"externalId": "k8s:cluster:team"}}),
            "must not begin with k8s:",
        ),
        (
            json!({"session": {"externalId": "K8s:cluster:team"}}),
            "must not begin with k8s:",
        ),
        (
            json!({"session": {"sourceIdentity": "a b"}}),
            "session.sourceIdentity must have 2 to 64",
        ),
        (
            json!({"secretTemplate": {"labels": {"pincette.net/x": "1"}}}),
            "use another prefix",
        ),
        (
            json!({"secretTemplate": {"annotations": {"pincette.net/x": "1"}}}),
            "use another prefix",
        ),
        (json!({"secretTemplate": {"labels": {"x": "a b"}}}), "label's value"),
        (json!({"secretTemplate": {"labels": {"a b": "x"}}}), "label's key"),
        (
            json!({"secretTemplate": {"labels": {"x": "y"}, "annotations": {"a": full, "b": full, "c": full, "d": full}}}),
            "65536 characters (64 KiB) together",
        ),
        (json!({"serviceAccountName": "My_App"}), "name of a ServiceAccount"),
        (json!({"serviceAccountName": "a".repeat(254)}), "253"),
        (
            json!({"serviceAccountName": "app", "session": {"tags": {"team": "blue"}}}),
            "leave session.tags out",
        ),
        (
            json!({"serviceAccountName": "app", "session": {"tags": {"team": "blue"}, "transitiveTagKeys": ["team"]}}),
            "leave session.transitiveTagKeys out",
        ),
        (
            json!({"serviceAccountName": "app", "session": {"externalId": "an-id"}}),
            "by the condition key <issuer>:sub",
        ),
        (
            json!({"serviceAccountName": "app", "session": {"sourceIdentity": "me"}}),
            "leave session.sourceIdentity out",
        ),
        (json!({"suspend": "yes"}), "boolean"),
    ] {
        let complaint = world.apply("wrong", &spec(&changes)).expect_err(&changes.to_string());
        assert!(complaint.contains(told), "{changes}: {complaint}");
    }
    assert!(world.resource("wrong").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_large_as_allowed_is_taken() {
    let world = World::without_operator().await;
    let full = "v".repeat(16_384);
    let filled = json!({".a": full, "a..b": full, "k".repeat(253): full, "d": full});
    world.apply("templates", &spec(&templates(&filled))).unwrap();
    // kubectl keeps what it applied in an annotation, which is as large again.
    let annotations = json!({"a": "v".repeat(16_000), "b": "v".repeat(16_000), "c": "v".repeat(16_000)});
    let metadata = json!({"secretTemplate": {"labels": {"x": "y"}, "annotations": annotations}});
    world.apply("metadata", &spec(&metadata)).unwrap();
    let session = json!({"name": "mine", "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]});
    let identity = json!({"serviceAccountName": "a".repeat(253), "session": session, "durationSeconds": 43_200});
    world.apply("identity", &spec(&identity)).unwrap();
    let path = format!("{}/r", "p".repeat(200));
    let urls: Vec<_> = (0..20)
        .map(|n| format!("https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/{path}{n}"))
        .collect();
    let many = json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": urls[0], "ecrRepositoryUrls": urls});
    world.apply("urls", &spec(&many)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_predecessors_took_is_taken() {
    let world = World::without_operator().await;
    for (name, changes) in [
        ("nulls", json!({"unused": null})),
        ("path", json!({"roleName": "team/deep/my-role"})),
        (
            "url",
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/r"}),
        ),
        (
            "host",
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"}),
        ),
        ("long", json!({"durationSeconds": 43200, "refreshBeforeSeconds": 43199})),
    ] {
        world.apply(name, &spec(&changes)).unwrap();
    }
    // Their schema let optional fields be null.
    let with_nulls = json!({"roleName": "r", "secretName": "s", "secretType": "Map", "ecrRepositoryUrl": null, "durationSeconds": null});
    world.apply("nulls", &with_nulls).unwrap();
}
