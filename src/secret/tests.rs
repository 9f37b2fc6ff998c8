use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::desired::owner_reference;
use super::*;
use crate::api::TemplateType;
use crate::credentials::{Credentials, ExposeSecret, RegistryLogin};
use crate::spec::fixtures::{key, spec};
use crate::spec::template::{Template, Variables};
use crate::spec::{Format, Spec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;

const VARIABLES: Variables<'static> = Variables {
    role_arn: "arn:aws:iam::123456789012:role/my-role",
    region: "eu-west-1",
    expiration: Timestamp::UNIX_EPOCH,
};

fn credentials(id: &str, secret: &str, token: &str) -> Credentials {
    Credentials {
        access_key_id: id.into(),
        secret_access_key: secret.into(),
        session_token: token.into(),
    }
}

fn session(id: &str, secret: &str, token: &str) -> Material {
    Material::new(&Format::Map, credentials(id, secret, token), BTreeMap::new())
}

/// Logins for registries in those Regions, whose passwords end with the Region.
fn logins(format: &Format, password: &str, regions: &[&str]) -> Material {
    let login = |region: &&str| {
        let login = RegistryLogin {
            username: "AWS".into(),
            password: format!("{password}{region}").into(),
            expiration: None,
        };
        ((*region).to_owned(), login)
    };
    let logins = regions.iter().map(login).collect();
    Material::new(format, credentials("id", "secret", "token"), logins)
}

fn docker_config(urls: &[&str]) -> Format {
    Format::EcrDockerConfigJson(urls.iter().map(|url| url.parse().unwrap()).collect())
}

fn auths(secret: &DesiredSecret) -> serde_json::Map<String, serde_json::Value> {
    let config: serde_json::Value = serde_json::from_str(value(secret, ".dockerconfigjson")).unwrap();
    config["auths"].as_object().unwrap().clone()
}

fn rendered(format: Format, material: &Material) -> DesiredSecret {
    DesiredSecret::new(&key(), &spec(format), material, VARIABLES, None).unwrap()
}

fn value<'a>(secret: &'a DesiredSecret, key: &str) -> &'a str {
    secret.data.0[key].expose_secret()
}

fn keys(secret: &DesiredSecret) -> Vec<&str> {
    secret.data.0.keys().map(String::as_str).collect()
}

#[test]
fn a_map_has_a_key_for_each_part() {
    let secret = rendered(Format::Map, &session("id", "secret", "token"));
    assert_eq!(secret.type_, "Opaque");
    assert_eq!(
        keys(&secret),
        ["awsAccessKeyId", "awsSecretAccessKey", "awsSessionToken"]
    );
    assert_eq!(value(&secret, "awsSecretAccessKey"), "secret");
}

#[test]
fn the_material_must_fit_the_form() {
    let url = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app";
    let login = docker_config(&[url]);
    let template = Format::Template(Template {
        data: BTreeMap::from([("key".into(), "{{ registryPassword }}".into())]),
        registry: Some(url.parse().unwrap()),
        ..Template::default()
    });
    for (format, material) in [
        (login.clone(), session("id", "secret", "token")),
        (login.clone(), logins(&login, "password", &["eu-west-2"])),
        (template, session("id", "secret", "token")),
        (Format::Map, logins(&login, "password", &["eu-west-1"])),
    ] {
        let refused = DesiredSecret::new(&key(), &spec(format), &material, VARIABLES, None);
        assert_eq!(refused.unwrap_err(), RenderError::Mismatch);
    }
}

#[test]
fn the_metadata_says_whose_it_is_and_keeps_what_others_wrote() {
    let secret = rendered(Format::Map, &session("id", "secret", "token"));
    let fresh = secret.object_metadata(None);
    assert_eq!(
        fresh.labels.clone().unwrap(),
        BTreeMap::from([
            ("app.kubernetes.io/managed-by".into(), "aws-assume-role".into()),
            ("aws-assume-role".into(), "true".into()),
        ])
    );
    assert_eq!(
        fresh.annotations.clone().unwrap(),
        BTreeMap::from([
            ("pincette.net/expiration".into(), "1970-01-01T00:00:00Z".into()),
            ("pincette.net/spec-hash".into(), "hash".into()),
        ])
    );
    let reference = &fresh.owner_references.as_ref().unwrap()[0];
    assert_eq!(reference.api_version, "pincette.net/v1");
    assert_eq!(
        (reference.kind.as_str(), reference.uid.as_str()),
        ("AWSAssumeRole", "uid-1")
    );
    assert_eq!(reference.controller, Some(true));

    let existing = ObservedSecret {
        metadata: ObjectMeta {
            resource_version: Some("7".into()),
            uid: Some("secret-uid".into()),
            labels: Some(BTreeMap::from([
                ("theirs".into(), "1".into()),
                ("aws-assume-role".into(), "edited".into()),
            ])),
            annotations: Some(BTreeMap::from([("theirs".into(), "2".into())])),
            owner_references: Some(vec![OwnerReference {
                controller: None,
                ..owner_reference(&key())
            }]),
            ..ObjectMeta::default()
        },
        provenance: None,
        forged: false,
    };
    let merged = secret.object_metadata(Some(&existing));
    assert_eq!(merged.resource_version.as_deref(), Some("7"));
    assert_eq!(merged.labels.as_ref().unwrap()["theirs"], "1");
    assert_eq!(merged.labels.as_ref().unwrap()["aws-assume-role"], "true");
    assert_eq!(merged.annotations.as_ref().unwrap()["theirs"], "2");
    assert_eq!(merged.owner_references, fresh.owner_references);
}

#[test]
fn the_keys_are_those_that_the_form_announces() {
    let material = session("id", "secret", "token");
    let template = Template {
        data: BTreeMap::from([("a.env".to_owned(), "ID={{ accessKeyId }}".to_owned())]),
        ..Template::default()
    };
    for format in [
        Format::Map,
        Format::File,
        Format::CredentialProcess,
        Format::Template(template),
    ] {
        let announced: Vec<String> = format.keys().iter().map(|key| (*key).to_owned()).collect();
        let secret = rendered(format, &material);
        assert_eq!(keys(&secret), announced);
        assert_eq!(secret.type_, "Opaque");
    }
}

#[test]
fn each_url_is_a_key_with_the_login_of_its_region() {
    let of = |region: &str| format!("123456789012.dkr.ecr.{region}.amazonaws.com");
    let urls = [
        format!("https://{}/v2/team/app", of("eu-west-1")),
        format!("{}/v2/team/base", of("eu-west-1")),
        of("us-east-1"),
    ];
    let format = docker_config(&urls.each_ref().map(String::as_str));
    let auths = auths(&rendered(
        format.clone(),
        &logins(&format, "for ", &["eu-west-1", "us-east-1"]),
    ));
    let passwords: BTreeMap<_, _> = auths
        .iter()
        .map(|(key, entry)| (key.as_str(), entry["password"].as_str().unwrap()))
        .collect();
    let as_image = format!("{}/team/base", of("eu-west-1"));
    assert_eq!(
        passwords,
        BTreeMap::from([
            (urls[0].as_str(), "for eu-west-1"),
            (urls[1].as_str(), "for eu-west-1"),
            (as_image.as_str(), "for eu-west-1"),
            (urls[2].as_str(), "for us-east-1"),
        ])
    );
}

#[test]
fn a_template_has_the_login_and_the_type_that_the_spec_asks_for() {
    let format = Format::Template(Template {
        data: BTreeMap::from([
            ("username".into(), "{{ registryUsername }}".into()),
            ("password".into(), "{{ registryPassword }}".into()),
        ]),
        type_: TemplateType::BasicAuth,
        registry: Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com".parse().unwrap()),
    });
    let secret = rendered(format.clone(), &logins(&format, "for ", &["eu-west-1"]));
    assert_eq!(secret.type_, "kubernetes.io/basic-auth");
    assert_eq!(
        (value(&secret, "username"), value(&secret, "password")),
        ("AWS", "for eu-west-1")
    );
    assert!(!format!("{secret:?}").contains("for eu-west-1"));
}

#[test]
fn a_credential_process_prints_the_documented_document() {
    let secret = rendered(Format::CredentialProcess, &session("id", "secret", "token"));
    assert_eq!(
        value(&secret, "config"),
        "[default]\ncredential_process = cat /.aws/credentials.json\n"
    );
    let document: serde_json::Value = serde_json::from_str(value(&secret, "credentials.json")).unwrap();
    assert_eq!(
        document,
        serde_json::json!({
            "Version": 1,
            "AccessKeyId": "id",
            "SecretAccessKey": "secret",
            "SessionToken": "token",
            "Expiration": "1970-01-01T00:00:00Z",
        })
    );
}

/// The Secret that `wanted` gives, as it would be observed.
fn observed(wanted: &Spec) -> ObservedSecret {
    let secret = DesiredSecret::new(&key(), wanted, &session("id", "secret", "token"), VARIABLES, Some("1")).unwrap();
    ObservedSecret {
        metadata: secret.object_metadata(None),
        provenance: None,
        forged: false,
    }
}

#[test]
fn what_leaves_the_template_leaves_the_secret() {
    let mut before = spec(Format::Map);
    before.labels = BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
    before.annotations = BTreeMap::from([("c".into(), "3".into())]);
    let seen = observed(&before);
    assert!(SecretMetadata::of(&before).is_on(&seen));
    assert_eq!(seen.annotation("pincette.net/refresh"), Some("1"));

    let mut after = before.clone();
    after.labels.remove("b");
    after.annotations.clear();
    assert!(!SecretMetadata::of(&after).is_on(&seen));
    let patch = Repair::new(&key(), &after, &seen).patch(&seen);
    assert_eq!(patch["metadata"]["labels"]["a"], "1");
    assert!(patch["metadata"]["labels"].as_object().unwrap()["b"].is_null());
    assert!(patch["metadata"]["annotations"].as_object().unwrap()["c"].is_null());
    assert!(patch.get("data").is_none());

    let plain = spec(Format::Map);
    assert!(!SecretMetadata::of(&plain).is_on(&seen));
    let patch = Repair::new(&key(), &plain, &seen).patch(&seen);
    assert!(patch["metadata"]["annotations"].as_object().unwrap()["pincette.net/secret-template"].is_null());
    let rewritten = DesiredSecret::new(&key(), &plain, &session("id", "secret", "token"), VARIABLES, None).unwrap();
    let merged = rewritten.object_metadata(Some(&seen));
    assert_eq!(merged.labels.unwrap().len(), 2);
    assert!(!merged.annotations.unwrap().contains_key("c"));
}

#[test]
fn the_operators_own_labels_win() {
    let mut stubborn = spec(Format::Map);
    stubborn.labels = BTreeMap::from([("aws-assume-role".into(), "false".into())]);
    assert_eq!(SecretMetadata::of(&stubborn).labels["aws-assume-role"], "true");
}

#[test]
fn a_secret_prints_its_keys_only() {
    let secret = rendered(Format::Map, &session("planted", "planted", "planted"));
    let printed = format!("{secret:?}");
    assert!(printed.contains("awsSessionToken") && !printed.contains("planted"));
}

proptest! {
    #[test]
    fn a_credentials_file_says_what_it_was_given(
        id in "ASIA[A-Z0-9]{16}",
        secret in "[A-Za-z0-9/+=]{40}",
        token in "[A-Za-z0-9/+=]{100,400}",
    ) {
        let written = rendered(Format::File, &session(&id, &secret, &token));
        prop_assert_eq!(keys(&written), ["credentials"]);
        let mut lines = value(&written, "credentials").lines();
        prop_assert_eq!(lines.next(), Some("[default]"));
        let read: Vec<_> = lines.map(|line| line.split_once('=').unwrap()).collect();
        prop_assert_eq!(read, [
            ("aws_access_key_id", id.as_str()),
            ("aws_secret_access_key", secret.as_str()),
            ("aws_session_token", token.as_str()),
        ]);
    }

    #[test]
    fn a_docker_config_is_read_back_whatever_the_password(password in "\\PC{1,200}") {
        let url = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/team/app";
        let format = docker_config(&[url]);
        let written = rendered(format.clone(), &logins(&format, &password, &["eu-west-1"]));
        prop_assert_eq!(written.type_, "kubernetes.io/dockerconfigjson");
        let (auths, password) = (auths(&written), format!("{password}eu-west-1"));
        prop_assert_eq!(auths.len(), 1);
        let entry = &auths[url];
        prop_assert_eq!(entry["username"].as_str(), Some("AWS"));
        prop_assert_eq!(entry["password"].as_str(), Some(password.as_str()));
        let auth = BASE64_STANDARD.decode(entry["auth"].as_str().unwrap()).unwrap();
        prop_assert_eq!(String::from_utf8(auth).unwrap(), format!("AWS:{password}"));
    }
}
