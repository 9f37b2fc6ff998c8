//! A resource with its spec, read as the watch reads it.

use std::collections::BTreeMap;

use aws_assume_role::api::{AWSAssumeRole, SecretTemplate};
use aws_assume_role::cluster::guarded::WatchedResource;
use aws_assume_role::credentials::{ExposeSecret, RegistryLogin};
use aws_assume_role::secret::{DesiredSecret, Material, SecretMetadata};
use aws_assume_role::spec::template::{STACK_SIZE, Variables};
use aws_assume_role::spec::{Format, InvalidSpec, Resource, Spec};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::choices::Choices;
use super::{Input, Planted, is_told, json, specs, status};

/// Whether a resource is refused with something that a person can be told, or makes a Secret that Kubernetes takes.
pub fn holds(data: &[u8]) {
    let text = match Input::of(data) {
        Input::Text(text) => text,
        Input::Choices(mut choices) => json::to_text(&resource(&mut choices, "mine")),
    };
    let Some(resource) = read(&text) else { return };
    assert!(resource.asks_for_the_same_as(&resource));
    match &resource.spec {
        Ok(spec) => makes_a_secret(&Planted::in_answer_to(data), &text, &resource, spec),
        Err(invalid) => is_refused(invalid),
    }
}

/// A resource of that name, whatever its spec and status are.
pub fn resource(choices: &mut Choices<'_>, name: &str) -> Value {
    let spec = match choices.below(4) {
        0 => specs::good(choices, name),
        1 => specs::broken(choices, name).spec,
        _ => specs::wild(choices, name),
    };
    let mut resource = crate::fixtures::resource(name, &spec);
    resource["metadata"]["uid"] = format!("uid-of-{name}").into();
    if choices.one_in(4) {
        resource["metadata"]["annotations"] = json!({"pincette.net/refresh": json::text(choices)});
    }
    if choices.one_in(4) {
        resource["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    if choices.one_in(3) {
        resource["status"] = status::made(choices);
    }
    resource
}

/// A resource as the watch reads it. Nothing where it is no JSON object, which the API server never sends.
pub fn read(text: &str) -> Option<Resource> {
    let watched: WatchedResource = serde_json::from_str(text).ok()?;
    Some(watched.into_resource())
}

fn is_refused(invalid: &InvalidSpec) {
    is_told(&invalid.to_string());
    // It is kept for as long as the resource is.
    is_told(&format!("{invalid:?}"));
}

fn makes_a_secret(planted: &Planted, text: &str, resource: &Resource, spec: &Spec) {
    assert!(is_subdomain(&spec.secret_name), "{}", spec.secret_name);
    let keys = spec.format.keys();
    assert!(
        (1..=64).contains(&keys.len()) && keys.iter().all(|key| is_key(key)),
        "{keys:?}"
    );
    has_metadata(spec);
    asks_for_a_session(spec);
    assert_eq!(spec.spec_hash.len(), 32);
    assert!(
        hash_without_what_does_not_count(text) == spec.spec_hash,
        "what does not count changes the hash"
    );
    match &spec.format {
        Format::Template(_) => on_its_stack(|| renders(planted, resource, spec)),
        _ => renders(planted, resource, spec),
    }
}

fn has_metadata(spec: &Spec) {
    let metadata = SecretMetadata::of(spec);
    let name = |name: &str| {
        (1..=63).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let qualified = |key: &str| match key.split_once('/') {
        Some((prefix, rest)) => is_subdomain(prefix) && name(rest),
        None => name(key),
    };
    for (key, value) in &metadata.labels {
        assert!(
            qualified(key) && (value.is_empty() || name(value)),
            "label {key:?}: {value:?}"
        );
    }
    for key in metadata.annotations.keys() {
        assert!(qualified(&key.to_ascii_lowercase()), "annotation {key:?}");
    }
    let bytes = |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    // <https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/api/validation/objectmeta.go> (`TotalAnnotationSizeLimitB`)
    assert!(
        bytes(&metadata.annotations) < 256 << 10,
        "{} bytes of annotations",
        bytes(&metadata.annotations)
    );
    assert_eq!(metadata.labels["app.kubernetes.io/managed-by"], "aws-assume-role");
}

fn asks_for_a_session(spec: &Spec) {
    assert!((900..=43_200).contains(&spec.duration.as_secs()));
    assert!(
        spec.refresh_before
            .is_none_or(|before| before.as_secs() >= 60 && before < spec.duration)
    );
    let session = &spec.session;
    if let Some(policy) = &session.policy {
        let policy: Value = serde_json::from_str(policy).unwrap();
        assert!(policy.get("Statement").is_some());
    }
    let policies = session.policy.iter().chain(&session.policy_arns);
    assert!(policies.map(|text| text.chars().count()).sum::<usize>() <= 2048);
    assert!(
        session.tags.len() <= 50
            && session
                .transitive_tag_keys
                .iter()
                .all(|key| session.tags.contains_key(key))
    );
    if let Some(region) = &spec.region {
        assert!(
            (1..64).contains(&region.len()) && region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
            "{region:?}"
        );
    }
}

/// The hash of the same spec with another Secret, other labels, and suspended.
fn hash_without_what_does_not_count(text: &str) -> String {
    let mut other: AWSAssumeRole = serde_json::from_str(text).unwrap();
    other.spec.secret_name = "another".to_owned();
    other.spec.secret_template = Some(SecretTemplate::default());
    other.spec.suspend = Some(true);
    other.spec.refresh_before_seconds = None;
    Resource::from_resource(&other).spec.unwrap().spec_hash
}

fn renders(planted: &Planted, resource: &Resource, spec: &Spec) {
    let login = || RegistryLogin {
        username: "AWS".to_owned(),
        password: planted.0.clone().into(),
        expiration: None,
    };
    let endpoints = spec.format.registry_endpoints().into_iter();
    let logins = endpoints.map(|endpoint| (endpoint.region, login())).collect();
    let material = Material::new(&spec.format, planted.credentials(), logins);
    let variables = Variables {
        role_arn: "arn:aws:iam::123456789012:role/r",
        region: "eu-west-1",
        expiration: Timestamp::UNIX_EPOCH,
    };
    let request = resource.refresh_request.as_deref();
    match DesiredSecret::new(&resource.key, spec, &material, variables, request) {
        Ok(secret) => {
            planted.is_not_in(&format!("{secret:?}"));
            assert_eq!(secret.data.0.keys().collect::<Vec<_>>(), spec.format.keys());
            let size: usize = secret.data.0.values().map(|value| value.expose_secret().len()).sum();
            assert!(size <= 1 << 20, "{size} bytes");
            let metadata = secret.object_metadata(None);
            assert_eq!(metadata.namespace.as_deref(), Some(&*resource.key.namespace));
            if let Format::EcrDockerConfigJson(urls) = &spec.format {
                let config: Value = serde_json::from_str(secret.data.0[".dockerconfigjson"].expose_secret()).unwrap();
                for url in urls {
                    assert_eq!(config["auths"][&url.url]["username"], "AWS");
                }
            }
        }
        Err(error) => {
            assert!(matches!(spec.format, Format::Template(_)), "{error}");
            is_told(&error.to_string());
            planted.is_not_in(&format!("{error} {error:?}"));
        }
    }
}

/// Runs it with the stack that templates are rendered on.
pub(super) fn on_its_stack(work: impl FnOnce() + Send) {
    let result = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
        thread.spawn_scoped(scope, work).unwrap().join()
    });
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

fn is_key(key: &str) -> bool {
    (1..=253).contains(&key.len())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
        && key != "."
        && !key.starts_with("..")
}
