use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use support::fixtures::{ECR_URL, ecr_spec, map_spec, role_arn, with};
use support::world::{World, condition, keys, value};

#[tokio::test(flavor = "multi_thread")]
async fn every_type_gives_its_secret() {
    let world = World::start().await;
    let map = with(map_spec("map"), &json!({"roleName": "team/my-role"}));
    world.apply("map", &map).unwrap();
    let file = json!({"roleArn": role_arn("other"), "secretName": "file.credentials", "secretType": "File", "durationSeconds": 3600});
    world.apply("file", &file).unwrap();
    world.apply("ecr", &ecr_spec("ecr")).unwrap();

    a_map(&world).await;
    a_file(&world).await;
    a_registry_login(&world).await;
    the_status_tells_all(&world).await;
    the_columns_show_it(&world);
    the_log_is_clean(&world).await;
}

async fn a_map(world: &World) {
    let resource = world.ready("map").await;
    let secret = world.secret("map").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    assert_eq!(
        keys(&secret),
        ["awsAccessKeyId", "awsSecretAccessKey", "awsSessionToken"]
    );

    let labels = secret.metadata.labels.clone().unwrap();
    assert_eq!(labels["app.kubernetes.io/managed-by"], "aws-assume-role");
    assert_eq!(labels["aws-assume-role"], "true");
    let annotations = secret.metadata.annotations.clone().unwrap();
    let status = resource.status.unwrap();
    let end: k8s_openapi::jiff::Timestamp = annotations["pincette.net/expiration"].parse().unwrap();
    assert_eq!(end.as_second(), status.expiration.unwrap().0.as_second());
    assert_eq!(annotations["pincette.net/spec-hash"].len(), 32);
    let owners = secret.metadata.owner_references.clone().unwrap();
    assert_eq!(owners.len(), 1);
    assert_eq!(Some(&owners[0].uid), resource.metadata.uid.as_ref());
    assert_eq!(
        (owners[0].kind.as_str(), owners[0].controller),
        ("AWSAssumeRole", Some(true))
    );

    let arn = world
        .caller(
            &value(&secret, "awsAccessKeyId"),
            &value(&secret, "awsSecretAccessKey"),
            &value(&secret, "awsSessionToken"),
        )
        .await;
    assert!(arn.contains(":assumed-role/"), "{arn}");
    let call = world
        .aws
        .calls("AssumeRole")
        .into_iter()
        .find(|call| call.parameter("RoleArn") == Some(role_arn("team/my-role")))
        .unwrap();
    assert_eq!(call.parameter("RoleSessionName").as_deref(), Some("default.map"));
    assert_eq!(call.parameter("DurationSeconds").as_deref(), Some("900"));
}

async fn a_file(world: &World) {
    world.ready("file").await;
    let secret = world.secret("file.credentials").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    assert_eq!(keys(&secret), ["credentials"]);
    let file = value(&secret, "credentials");
    let lines: Vec<_> = file
        .lines()
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .collect();
    let names: Vec<_> = lines.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "[default]",
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token"
        ]
    );
    let arn = world.caller(lines[1].1, lines[2].1, lines[3].1).await;
    assert!(arn.contains(":assumed-role/other/default.file"), "{arn}");
}

async fn a_registry_login(world: &World) {
    world.ready("ecr").await;
    let secret = world.secret("ecr").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    assert_eq!(keys(&secret), [".dockerconfigjson"]);
    let config: Value = serde_json::from_str(&value(&secret, ".dockerconfigjson")).unwrap();
    let entry = &config["auths"][ECR_URL];
    let password = entry["password"].as_str().unwrap();
    assert_eq!(
        config,
        json!({"auths": {ECR_URL: {
            "username": "AWS",
            "password": password,
            "auth": BASE64_STANDARD.encode(format!("AWS:{password}")),
        }}})
    );
    // The token was asked for with the session's key, not with the operator's own.
    let calls = world.aws.calls("GetAuthorizationToken");
    assert!(
        calls[0].access_key_id.starts_with("ASIA"),
        "{:?}",
        calls[0].access_key_id
    );
}

async fn the_status_tells_all(world: &World) {
    let resource = world.resource("map").await.unwrap();
    let refreshed = condition(&resource, "Refreshed").unwrap();
    assert_eq!(
        (refreshed.status.as_str(), refreshed.reason.as_str()),
        ("True", "Issued")
    );
    assert_eq!(refreshed.observed_generation, Some(1));
    let status = resource.status.unwrap();
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.role_arn, Some(role_arn("team/my-role")));
    assert_eq!(status.secret_name.as_deref(), Some("map"));
    assert_eq!(status.failures, Some(0));
    assert_eq!(status.phase.as_deref(), Some("Ready"));
    assert_eq!(status.health.unwrap().status.as_deref(), Some("Healthy"));
    // The overlap is half of so short a lifetime, and what the spread adds.
    let left = status
        .expiration
        .unwrap()
        .0
        .duration_since(status.next_refresh_time.unwrap().0)
        .as_secs();
    assert!((449..=496).contains(&left), "{left}");
    assert_eq!(status.conditions.len(), 2);
}

fn the_columns_show_it(world: &World) {
    let wide = world.cluster.kubectl_ok(&["get", "aar", "map", "-o", "wide"]);
    let header: Vec<_> = wide.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        header,
        [
            "NAME",
            "ROLE",
            "TYPE",
            "SECRET",
            "READY",
            "EXPIRES",
            "AGE",
            "REASON",
            "REFRESHED",
            "PHASE",
            "HEALTH"
        ]
    );
    let plain = world.cluster.kubectl_ok(&["get", "awsassumeroles", "map"]);
    assert!(
        plain.contains(&role_arn("team/my-role")) && plain.contains("True"),
        "{plain}"
    );
    assert!(world.cluster.kubectl_ok(&["get", "aws"]).contains("ecr"));
    assert!(world.cluster.kubectl_ok(&["get", "controllers"]).contains("ecr"));
}

/// Nothing of what is in the Secrets is in the log.
async fn the_log_is_clean(world: &World) {
    let log = world.operator_log();
    assert!(log.contains("refreshed"));
    for name in ["map", "file.credentials", "ecr"] {
        let secret: Secret = world.secret(name).await.unwrap();
        for (key, content) in secret.data.unwrap() {
            let content = String::from_utf8(content.0).unwrap();
            assert!(!log.contains(&content), "{name}/{key} is in the log");
        }
    }
}
