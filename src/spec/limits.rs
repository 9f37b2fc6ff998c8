//! The limits of the schema once more, for resources that were stored under an older one: so that the operator does not carry along, or send
//! to AWS, whatever somebody once wrote.
//!
//! The schema counts characters, and so do these, except where bytes are what fills the memory.

use std::collections::BTreeMap;

use super::InvalidSpec;
use crate::api::{AWSAssumeRoleSpec, SessionSpec};

/// The most bytes of the labels and annotations of `secretTemplate` together, keys and values.
const METADATA_MAX: usize = 64 << 10;

/// The most keys of `template.data`.
const KEYS_MAX: usize = 64;

/// The most `ecrRepositoryUrls`.
const URLS_MAX: usize = 20;

/// The most characters of a registry's or repository's URL.
const URL_MAX: usize = 512;

/// Whether each field is within its limits. How large a template may be is [`super::template`]'s to say.
pub(super) fn check(spec: &AWSAssumeRoleSpec) -> Result<(), InvalidSpec> {
    let session = spec.session.as_ref();
    let of_session = |field: fn(&SessionSpec) -> Option<&String>| session.and_then(field);
    let texts = [
        ("roleName", spec.role_name.as_ref(), 576, "576 characters"),
        ("roleArn", spec.role_arn.as_ref(), 2048, "2048 characters"),
        ("secretName", Some(&spec.secret_name), 253, "253 characters"),
        (
            "ecrRepositoryUrl",
            spec.ecr_repository_url.as_ref(),
            URL_MAX,
            "512 characters",
        ),
        (
            "serviceAccountName",
            spec.service_account_name.as_ref(),
            253,
            "253 characters",
        ),
        ("region", spec.region.as_ref(), 64, "64 characters"),
        (
            "session.name",
            of_session(|session| session.name.as_ref()),
            64,
            "64 characters",
        ),
        (
            "session.policy",
            of_session(|session| session.policy.as_ref()),
            2048,
            "2048 characters",
        ),
        (
            "session.externalId",
            of_session(|session| session.external_id.as_ref()),
            1224,
            "1224 characters",
        ),
        (
            "session.sourceIdentity",
            of_session(|session| session.source_identity.as_ref()),
            64,
            "64 characters",
        ),
    ];
    for (field, text, most, told) in texts {
        if text.is_some_and(|text| is_longer(text, most)) {
            return Err(InvalidSpec::TooLong(field, told));
        }
    }
    let urls = &spec.ecr_repository_urls;
    if urls.len() > URLS_MAX || urls.iter().any(|url| is_longer(url, URL_MAX)) {
        return Err(InvalidSpec::TooLong("ecrRepositoryUrls", "20 URLs of 512 characters"));
    }
    if let Some(session) = session {
        check_lists(session)?;
    }
    if spec
        .template
        .as_ref()
        .is_some_and(|template| template.data.len() > KEYS_MAX)
    {
        return Err(InvalidSpec::TooLong("template.data", "64 keys"));
    }
    let metadata = spec.secret_template.as_ref();
    match metadata.map_or(0, |metadata| bytes(&metadata.labels) + bytes(&metadata.annotations)) > METADATA_MAX {
        true => Err(InvalidSpec::TooLong(
            "secretTemplate",
            "64 KiB of labels and annotations together",
        )),
        false => Ok(()),
    }
}

fn check_lists(session: &SessionSpec) -> Result<(), InvalidSpec> {
    let too_long = |field, told| Err(InvalidSpec::TooLong(field, told));
    if session.policy_arns.len() > 10 || session.policy_arns.iter().any(|arn| is_longer(arn, 2048)) {
        return too_long("session.policyArns", "10 ARNs of 2048 characters");
    }
    let wide = |(key, value): (&String, &String)| is_longer(key, 128) || is_longer(value, 256);
    if session.tags.len() > 50 || session.tags.iter().any(wide) {
        return too_long("session.tags", "50 tags, with keys of 128 and values of 256 characters");
    }
    if session.transitive_tag_keys.len() > 50 || session.transitive_tag_keys.iter().any(|key| is_longer(key, 128)) {
        return too_long("session.transitiveTagKeys", "50 keys of 128 characters");
    }
    Ok(())
}

/// Whether a text has more characters. Counts no further than that.
fn is_longer(text: &str, most: usize) -> bool {
    text.chars().nth(most).is_some()
}

fn bytes(map: &BTreeMap<String, String>) -> usize {
    map.iter().map(|(key, value)| key.len() + value.len()).sum()
}
