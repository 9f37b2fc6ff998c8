//! What the URLs of a registry login and the login of a template mean for the rest of the spec.

use super::tests::{hash, parsed, spec};
use super::*;
use crate::api::{SessionSpec, TemplateSpec, TemplateType};

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

fn login(urls: &[&str]) -> AWSAssumeRoleSpec {
    AWSAssumeRoleSpec {
        secret_type: SecretType::EcrDockerConfigJson,
        ecr_repository_url: urls.first().map(|url| (*url).to_owned()),
        ecr_repository_urls: urls.iter().skip(1).map(|url| (*url).to_owned()).collect(),
        ..spec()
    }
}

fn templated(type_: Option<TemplateType>, url: Option<&str>) -> AWSAssumeRoleSpec {
    AWSAssumeRoleSpec {
        secret_type: SecretType::Template,
        ecr_repository_url: url.map(str::to_owned),
        template: Some(TemplateSpec {
            data: [("username".to_owned(), String::new())].into(),
            type_,
        }),
        ..spec()
    }
}

/// The resources of the policy that the operator makes.
fn resources(urls: &[&str]) -> Vec<String> {
    let policy = parsed(&login(urls)).unwrap().session.policy.unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    assert_eq!(policy["Statement"].as_array().unwrap().len(), 2);
    assert_eq!(policy["Statement"][0]["Action"], "ecr:GetAuthorizationToken");
    assert_eq!(policy["Statement"][0]["Resource"], "*");
    assert_eq!(policy["Statement"][1]["Action"], "ecr:*");
    serde_json::from_value(policy["Statement"][1]["Resource"].clone()).unwrap()
}

#[test]
fn a_registry_login_is_confined_to_what_its_urls_mean() {
    let arn = |name: &str| format!("arn:aws:ecr:eu-west-1:123456789012:repository/{name}");
    let at = |path: &str| format!("{HOST}{path}");
    assert_eq!(resources(&[&at("/v2/team/app")]), [arn("team/app"), arn("team/app/*")]);
    assert_eq!(resources(&[HOST]), [arn("*")]);
    assert_eq!(
        resources(&[&at("/a"), "https://210987654321.dkr.ecr.cn-north-1.amazonaws.com.cn"]),
        [
            arn("a"),
            arn("a/*"),
            "arn:aws-cn:ecr:cn-north-1:210987654321:repository/*".to_owned()
        ]
    );
    assert_eq!(
        resources(&[&at("/team/app"), &at("/team"), &at("/v2/team"), &at("/other")]),
        [arn("team"), arn("team/*"), arn("other"), arn("other/*")],
        "what is meant already is not said again"
    );
    assert_eq!(resources(&[&at("/team/app"), HOST]), [arn("*")]);
}

#[test]
fn a_policy_of_ones_own_takes_the_place_of_the_one_that_is_made() {
    let own = r#"{"Version": "2012-10-17", "Statement": []}"#;
    let mut ecr = login(&[HOST]);
    ecr.session = Some(SessionSpec {
        policy: Some(own.into()),
        ..SessionSpec::default()
    });
    assert_eq!(parsed(&ecr).unwrap().session.policy.as_deref(), Some(own));
    ecr.session = Some(SessionSpec {
        policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()],
        ..SessionSpec::default()
    });
    assert_eq!(parsed(&ecr).unwrap().session.policy, None);
    assert_eq!(parsed(&spec()).unwrap().session.policy, None);
    assert_eq!(parsed(&templated(None, Some(HOST))).unwrap().session.policy, None);
}

#[test]
fn a_policy_that_would_be_too_long_is_never_made_wider() {
    let many: Vec<_> = (0..21).map(|n| format!("{HOST}/team/application-{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let error = parsed(&login(&many)).unwrap_err().to_string();
    assert!(
        error.contains("<account>.dkr.ecr.<region>.amazonaws.com") && error.contains("spec.session.policy"),
        "{error}"
    );
    let fitting = parsed(&login(&many[..10])).unwrap();
    assert!(fitting.session.policy.unwrap().len() <= 2048);
    let mut own = login(&many);
    own.session = Some(SessionSpec {
        policy: Some(r#"{"Statement": []}"#.into()),
        ..SessionSpec::default()
    });
    assert!(parsed(&own).is_ok());
}

#[test]
fn each_url_is_read_and_a_wrong_one_named() {
    let Format::EcrDockerConfigJson(urls) = parsed(&login(&[HOST, "123456789012.dkr-ecr.us-east-1.on.aws/a"]))
        .unwrap()
        .format
    else {
        panic!("no login");
    };
    assert_eq!(urls.len(), 2);
    let error = parsed(&login(&[HOST, "docker.io/x"])).unwrap_err().to_string();
    assert!(
        error.contains("spec.ecrRepositoryUrls: \"docker.io/x\" does not name"),
        "{error}"
    );
    let error = parsed(&templated(None, Some("docker.io/x"))).unwrap_err().to_string();
    assert!(
        error.contains("spec.ecrRepositoryUrl: \"docker.io/x\" does not name"),
        "{error}"
    );
}

#[test]
fn a_region_is_asked_for_one_token() {
    let regions = |spec: &AWSAssumeRoleSpec| -> Vec<String> {
        let endpoints = parsed(spec).unwrap().format.registry_endpoints();
        endpoints.into_iter().map(|endpoint| endpoint.region).collect()
    };
    let elsewhere = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    assert_eq!(
        regions(&login(&[HOST, elsewhere, &format!("{HOST}/a")])),
        ["eu-west-1", "us-east-1"]
    );
    assert_eq!(regions(&templated(None, Some(elsewhere))), ["us-east-1"]);
    assert!(regions(&templated(None, None)).is_empty() && regions(&spec()).is_empty());
}

#[test]
fn the_hash_covers_what_is_new_and_stays_where_nothing_is() {
    // As the releases before `ecrRepositoryUrls` and `template.type` made them.
    let mut urls = login(&["https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/r"]);
    assert_eq!(parsed(&urls).unwrap().spec_hash, "2e1b7570bb8fa3f9315c19d5c0756d9b");
    let plain = parsed(&templated(None, None)).unwrap().spec_hash;
    assert_eq!(plain, "3767e9328f2441e98caa938c7d9ad396");

    let before = parsed(&urls).unwrap().spec_hash;
    urls.ecr_repository_urls = vec![HOST.into()];
    assert_ne!(parsed(&urls).unwrap().spec_hash, before);
    let of = |type_, url| parsed(&templated(type_, url)).unwrap().spec_hash;
    assert_eq!(of(Some(TemplateType::Opaque), None), plain);
    assert_ne!(of(Some(TemplateType::BasicAuth), None), plain);
    assert_ne!(of(None, Some(HOST)), plain);
    assert_eq!(
        hash(|spec| spec.ecr_repository_urls = vec![HOST.into()]),
        hash(|_| ()),
        "beside another type"
    );
}
