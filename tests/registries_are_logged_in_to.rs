use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};

use support::fixtures::{ACCOUNT, ecr_spec, map_spec, role_arn, with};
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{Request, StrictAws, open_role};
use support::wait_for;
use support::world::{PATIENCE, World, keys, value};

const HERE: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const THERE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

/// A world whose AWS keeps account of what each token opens.
async fn strict_world(role: &str) -> (World, StrictAws, HttpServer) {
    let mut world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    aws.add_role(&role_arn(role), open_role());
    let server = HttpServer::start(aws.clone()).await;
    world.run_operator(&world.operator_command_for(server.url()));
    (world, aws, server)
}

/// The Regions in which a token was asked for, one for each call.
fn regions_asked(aws: &StrictAws) -> Vec<String> {
    let calls = aws.calls().into_iter();
    let tokens = calls.filter(|call| call.request == Request::GetAuthorizationToken);
    tokens.map(|call| call.region).collect()
}

async fn auths(world: &World, name: &str) -> Value {
    let secret = world.secret(name).await.unwrap();
    let config: Value = serde_json::from_str(&value(&secret, ".dockerconfigjson")).unwrap();
    config["auths"].clone()
}

fn password(auths: &Value, key: &str) -> String {
    auths[key]["password"]
        .as_str()
        .unwrap_or_else(|| panic!("no entry {key}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_registries_share_a_docker_config_with_a_token_for_each_region() {
    let (world, aws, _server) = strict_world("build").await;
    let repository = format!("{HERE}/v2/team/base");
    let further =
        json!({"ecrRepositoryUrl": repository, "ecrRepositoryUrls": [format!("https://{HERE}/v2/team/tools"), THERE]});
    world.apply("build", &with(ecr_spec("build"), &further)).unwrap();
    world.ready("build").await;

    let auths = auths(&world, "build").await;
    let mut found: Vec<_> = auths.as_object().unwrap().keys().cloned().collect();
    found.sort();
    let mut expected = [
        repository.clone(),
        // Without a scheme it is looked for under the name of the image.
        format!("{HERE}/team/base"),
        format!("https://{HERE}/v2/team/tools"),
        THERE.to_owned(),
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(regions_asked(&aws), ["eu-west-1", "us-east-1"]);

    let opens = |key: &str, region: &str, name: &str| {
        let arn = format!("arn:aws:ecr:{region}:{ACCOUNT}:repository/{name}");
        aws.token_allows(&password(&auths, key), "ecr:BatchGetImage", &arn)
    };
    assert!(opens(&repository, "eu-west-1", "team/base") && opens(&repository, "eu-west-1", "team/base/slim"));
    assert!(!opens(&repository, "eu-west-1", "team/other"));
    assert!(opens(THERE, "us-east-1", "anything/at/all"));
    assert_eq!(
        password(&auths, &repository),
        password(&auths, &format!("{HERE}/team/base"))
    );
    assert_ne!(password(&auths, &repository), password(&auths, THERE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_confined_is_not_asked_for() {
    let (world, aws, _server) = strict_world("build").await;
    let many: Vec<_> = (0..20)
        .map(|n| format!("{HERE}/v2/team/a-long-name-of-an-application-{n}"))
        .collect();
    let spec = with(ecr_spec("build"), &json!({"ecrRepositoryUrls": many}));
    world.apply("build", &spec).unwrap();
    let condition = world.condition("build", "Ready", "False", "InvalidRequest").await;
    assert!(
        condition.message.contains("by its host alone") && condition.message.contains("session.policy"),
        "{}",
        condition.message
    );
    assert_eq!(aws.assumed(&role_arn("build")), 0);
    world
        .apply("build", &with(spec, &json!({"ecrRepositoryUrl": HERE})))
        .unwrap();
    world.ready("build").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_gives_the_login_in_any_form_and_type() {
    let (world, aws, _server) = strict_world("pull").await;
    let template = |template: Value| {
        let changes = json!({"secretType": "Template", "ecrRepositoryUrl": format!("https://{HERE}/v2/team/app"), "template": template});
        with(map_spec("pull"), &changes)
    };
    let basic = json!({"type": "kubernetes.io/basic-auth", "data": {
        "username": "{{ registryUsername }}", "password": "{{ registryPassword }}", "url": "oci://{{ registry }}/team",
    }});
    world.apply("pull", &template(basic)).unwrap();
    world.ready("pull").await;
    let secret = world.secret("pull").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/basic-auth"));
    assert_eq!(keys(&secret), ["password", "url", "username"]);
    assert_eq!(
        (value(&secret, "username"), value(&secret, "url")),
        ("AWS".into(), format!("oci://{HERE}/team"))
    );
    // No policy is made of the URL, since the session's keys may be wanted for other things.
    let other = format!("arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/team/other");
    assert!(aws.token_allows(&value(&secret, "password"), "ecr:BatchGetImage", &other));

    // A Secret's type cannot change, so the Secret is made anew, with one more session.
    let config = json!({"type": "kubernetes.io/dockerconfigjson", "data": {
        ".dockerconfigjson": r#"{"auths": { {{ registry|tojson }}: {"auth": {{ registryToken|tojson }}}}}"#,
    }});
    world.apply("pull", &template(config)).unwrap();
    let changed = wait_for("the Secret of another type", PATIENCE, async || {
        let secret = world.secret("pull").await?;
        (secret.type_.as_deref() == Some("kubernetes.io/dockerconfigjson")).then_some(secret)
    })
    .await;
    assert_ne!(changed.metadata.uid, secret.metadata.uid);
    assert_eq!(aws.assumed(&role_arn("pull")), 2);
    let auths = auths(&world, "pull").await;
    let login = BASE64_STANDARD.decode(auths[HERE]["auth"].as_str().unwrap()).unwrap();
    let login = String::from_utf8(login).unwrap();
    let (username, secret) = login.split_once(':').unwrap();
    assert_eq!(username, "AWS");
    let log = world.operator_log();
    assert!(!log.contains(secret) && !log.contains(auths[HERE]["auth"].as_str().unwrap()));

    // What the API server would refuse does not cost the Secret that is there.
    let broken =
        json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "{{ registryToken }}"}});
    world.apply("pull", &template(broken)).unwrap();
    let condition = world.condition("pull", "Refreshed", "False", "TemplateError").await;
    assert!(
        condition.message.contains("a docker config is a JSON object"),
        "{}",
        condition.message
    );
    assert_eq!(world.secret("pull").await.unwrap().data, changed.data);
    assert_eq!(aws.assumed(&role_arn("pull")), 2);
}
