use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use support::aws_proxy::Treatment;
use support::fixtures::{ACCESS_KEY_ID, ECR_URL, map_spec, role_arn, with};
use support::jaeger::Jaeger;
use support::wait_for;
use support::world::{PATIENCE, World, value};

/// With the characters that are written in more than one way.
const OWN_SECRET: &str = "the/operators+own/secret+access/key";

/// Everything that AWS gave out so far and that nobody is to see, the tokens that it was shown, and the operator's own secret.
fn secrets(world: &World) -> BTreeSet<String> {
    let mut secrets = BTreeSet::from([OWN_SECRET.to_owned()]);
    for call in world.aws.calls("AssumeRoleWithWebIdentity") {
        let token = call.parameter("WebIdentityToken").unwrap();
        // A message that is cut off may hold no more than a part of it.
        secrets.extend(token.split('.').skip(1).map(str::to_owned));
        secrets.insert(token);
    }
    for answer in world.aws.answers() {
        for element in ["SecretAccessKey", "SessionToken"] {
            let opening = format!("<{element}>");
            let found = answer.split(opening.as_str()).skip(1);
            secrets.extend(found.filter_map(|rest| rest.split('<').next().map(str::to_owned)));
        }
        let token = serde_json::from_str::<Value>(&answer).ok();
        let token = token.and_then(|answer| {
            Some(
                answer["authorizationData"][0]["authorizationToken"]
                    .as_str()?
                    .to_owned(),
            )
        });
        if let Some(token) = token {
            let login = String::from_utf8(BASE64_STANDARD.decode(&token).unwrap()).unwrap();
            secrets.insert(login.split_once(':').unwrap().1.to_owned());
            secrets.insert(token);
        }
    }
    secrets
}

/// The forms in which a secret may turn up: as it is, and in base64 at each of the three places where it may begin in what is encoded.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for offset in 0..3 {
        let text = format!("{}{secret}", "x".repeat(offset));
        let encoded = BASE64_STANDARD.encode(text);
        // The characters at both ends depend on what is around.
        let inner = &encoded[if offset == 0 { 0 } else { 4 }..encoded.len() - 4];
        forms.push(inner.to_owned());
    }
    forms
}

/// All that the operator puts out, by where it does.
async fn outputs(world: &World, jaeger: &Jaeger) -> Vec<(&'static str, String)> {
    let resources = world.cluster.kubectl_ok(&["get", "aar", "-A", "-o", "json"]);
    let resources: Value = serde_json::from_str(&resources).unwrap();
    let statuses = resources["items"].as_array().unwrap().iter();
    let statuses: Vec<_> = statuses.map(|resource| resource["status"].to_string()).collect();
    vec![
        ("log", world.operator_log()),
        ("traces", jaeger.raw("aws-assume-role").await),
        ("metrics", world.metrics().await),
        (
            "events",
            world
                .cluster
                .kubectl_ok(&["get", "events.events.k8s.io", "-A", "-o", "json"]),
        ),
        ("status", statuses.join("\n")),
    ]
}

/// Where a secret is put out.
fn leaks(outputs: &[(&'static str, String)], secrets: &BTreeSet<String>) -> BTreeSet<&'static str> {
    let forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    outputs
        .iter()
        .filter(|(_, text)| forms.iter().any(|form| text.contains(form.as_str())))
        .map(|(place, _)| *place)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everything_logged_and_everything_traced() {
    let mut world = World::without_operator().await;
    let jaeger = Jaeger::start(world.folder()).await;
    let command = world
        .operator_command()
        .with_access_key(ACCESS_KEY_ID, OWN_SECRET)
        .with_traces(jaeger.grpc_endpoint(), "grpc")
        .env("RUST_LOG", "trace")
        .env("LOG_FORMAT", "json");
    world.grant_tokens(&["app"]).await;
    world.run_operator(&command);

    // Every type, and everything that can happen to it.
    let data = json!({"all": "{{ accessKeyId }} {{ secretAccessKey }} {{ sessionToken }}"});
    let login = json!({"all": "{{ registryUsername }} {{ registryPassword }} {{ registryToken }}"});
    for (name, more) in [
        ("map", json!({"secretType": "Map"})),
        ("file", json!({"secretType": "File"})),
        (
            "images",
            json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": ECR_URL}),
        ),
        ("process", json!({"secretType": "CredentialProcess"})),
        (
            "template",
            json!({"secretType": "Template", "template": {"data": data}}),
        ),
        (
            "login",
            json!({"secretType": "Template", "ecrRepositoryUrl": ECR_URL, "template": {"data": login}}),
        ),
        ("identity", json!({"secretType": "Map", "serviceAccountName": "app"})),
        (
            "broken",
            json!({"secretType": "Template", "template": {"data": {"all": "{{ secretAccessKey }} {{ nothing }}"}}}),
        ),
        (
            "fails",
            json!({"secretType": "Template", "template": {"data": {"all": "{{ secretAccessKey | int }}"}}}),
        ),
    ] {
        let spec = json!({"roleArn": role_arn(name), "secretName": name});
        world.apply(name, &with(spec, &more)).unwrap();
    }
    for name in ["map", "file", "images", "process", "template", "login", "identity"] {
        world.ready(name).await;
    }
    world.condition("broken", "Ready", "False", "TemplateError").await;
    world.condition("fails", "Ready", "False", "TemplateError").await;
    // Edited, deleted, in the way, refused, not understood, asked for again, deleted in the middle.
    world.patch("secret", "map", &json!({"stringData": {"awsSessionToken": "edited"}}));
    world.cluster.kubectl_ok(&["delete", "secret", "file"]);
    world
        .cluster
        .kubectl_ok(&["create", "secret", "generic", "taken", "--from-literal=key=value"]);
    world.apply("taken", &map_spec("taken")).unwrap();
    world.condition("taken", "Ready", "False", "SecretConflict").await;
    world.aws.treat(|call| match call.parameter("RoleArn") {
        Some(role) if role.ends_with("/refused") => Treatment::refusal(403, "AccessDenied", "not you"),
        Some(role) if role.ends_with("/odd") => Treatment::Answer(200, "<AssumeRoleResponse><Half".to_owned()),
        Some(role) if role.ends_with("/quoted") => {
            let token = call.parameter("WebIdentityToken").unwrap();
            Treatment::refusal(
                400,
                "ValidationError",
                &format!("Value '{token}' at 'webIdentityToken' failed"),
            )
        }
        Some(role) if role.ends_with("/hangs") => Treatment::Hang,
        _ => Treatment::Pass,
    });
    for (name, reason) in [("refused", "AccessDenied"), ("odd", "AwsUnavailable")] {
        let spec = map_spec(name);
        world.apply(name, &spec).unwrap();
        world.condition(name, "Ready", "False", reason).await;
    }
    let quoted = with(map_spec("quoted"), &json!({"serviceAccountName": "app"}));
    world.apply("quoted", &quoted).unwrap();
    world.condition("quoted", "Ready", "False", "InvalidRequest").await;
    world.apply("hangs", &map_spec("hangs")).unwrap();
    world.hanging_calls(1).await;
    world.delete("hangs");
    world.request_refresh("--all", "1");
    wait_for("the repairs", PATIENCE, async || {
        let map = world.secret("map").await?;
        (value(&map, "awsSessionToken") != "edited" && world.secret("file").await.is_some()).then_some(())
    })
    .await;

    let secrets = secrets(&world);
    assert!(secrets.len() > 16, "keys and tokens of each: {}", secrets.len());
    // The traces leave a moment later than the rest.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let before = outputs(&world, &jaeger).await;
    for (place, text) in &before {
        assert!(text.len() > 500, "there is nothing to search in {place}: {text}");
    }
    assert_eq!(leaks(&before, &secrets), BTreeSet::new());

    // One that is planted where each of them tells of the resource is found in each: the password as its name, a key as its role.
    let password = secrets.iter().find(|secret| secret.ends_with("-auth-token")).unwrap();
    let key = value(&world.secret("map").await.unwrap(), "awsSecretAccessKey");
    let planted = json!({"roleArn": role_arn(&key), "secretName": "planted", "secretType": "Map"});
    world.apply(password, &planted).unwrap();
    world.ready(password).await;
    let everywhere = BTreeSet::from(["events", "log", "metrics", "status", "traces"]);
    let secrets = BTreeSet::from([key, password.clone()]);
    wait_for("the planted one everywhere", PATIENCE, async || {
        (leaks(&outputs(&world, &jaeger).await, &secrets) == everywhere).then_some(())
    })
    .await;
    let encoded = vec![(
        "log",
        format!("a={}", BASE64_STANDARD.encode(format!("AWS:{password} and more"))),
    )];
    assert_eq!(leaks(&encoded, &secrets), BTreeSet::from(["log"]));
}
