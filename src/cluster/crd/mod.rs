//! The custom resource definition, brought up to the operator's own version.
//!
//! Helm installs what is in a chart's `crds/` folder and never changes it again, so that after an upgrade the API server would drop the
//! fields that it does not know. The operator puts that right when it starts, if it may. What others have put into the definition stays
//! ([`merge`]), and so does the definition of a release that is newer: replicas of both run beside each other while one is rolled out or back.

mod merge;
pub mod published;

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, Client, ResourceExt};
use tracing::{info, warn};

use self::merge::merge;
use super::ClusterError;
use crate::api::{self, DEFINITION_VERSION_ANNOTATION};
use crate::digest;
use crate::secret::FIELD_MANAGER;

/// The hash of the definition that was merged into the one that is stored.
const HASH_ANNOTATION: &str = "pincette.net/definition-hash";

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// The pause before another attempt when the API server is away.
const PAUSE: Duration = Duration::from_secs(30);

/// How often it is read again at most when somebody else writes it between the look and the write.
const ROUNDS: u32 = 5;

/// What was found, and done.
#[derive(Debug)]
enum Done {
    /// It is as it should be.
    Nothing,
    /// It is of a newer release, and was left alone.
    LeftNewer(String),
    Upgraded,
}

/// Brings the definition up to date, as soon as the API server is there. What else keeps it from doing so is logged: the operator works with
/// an older one, less well.
pub async fn upgrade(client: Client) {
    loop {
        let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, try_upgrade(client.clone()));
        let result = attempt
            .await
            .unwrap_or_else(|_| Err(ClusterError::Unavailable("no answer".to_owned())));
        match result {
            Ok(Done::Upgraded) => info!("the custom resource definition was brought up to date"),
            Ok(Done::LeftNewer(version)) => {
                info!(
                    version,
                    "the custom resource definition is of a newer release, and is left as it is"
                );
            }
            Ok(Done::Nothing) => {}
            Err(ClusterError::Unavailable(why)) => {
                warn!("the custom resource definition could not be looked at, and is again: {why}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(ClusterError::Gone(_)) => {
                warn!(
                    "the API server does not know AWSAssumeRole: install the definition (`aws-assume-role crd` prints it)"
                );
            }
            Err(error) => warn!("the custom resource definition was not brought up to date: {error}"),
        }
        return;
    }
}

async fn try_upgrade(client: Client) -> Result<Done, ClusterError> {
    let mut definition = api::definition();
    let name = definition.name_any();
    let hash = digest::hash(&serde_json::to_vec(&definition).unwrap_or_default());
    definition
        .annotations_mut()
        .insert(HASH_ANNOTATION.to_owned(), hash.clone());
    let own = serde_json::to_value(&definition).map_err(unreadable)?;
    // As it came: a field that this operator's libraries do not know yet stays too.
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let definitions: Api<DynamicObject> = Api::all_with(client, &kind);
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let decided = |metadata: &ObjectMeta| {
        let annotation = |key: &str| metadata.annotations.as_ref()?.get(key).cloned();
        match annotation(DEFINITION_VERSION_ANNOTATION) {
            Some(version) if is_newer(&version, env!("CARGO_PKG_VERSION")) => Some(Done::LeftNewer(version)),
            _ if annotation(HASH_ANNOTATION).as_ref() == Some(&hash) => Some(Done::Nothing),
            _ => None,
        }
    };
    // Mostly there is nothing to do, and no need for the whole of it.
    if let Some(done) = decided(&definitions.get_metadata(&name).await?.metadata) {
        return Ok(done);
    }
    let mut round = 1;
    loop {
        let stored = definitions.get(&name).await?;
        if let Some(done) = decided(&stored.metadata) {
            return Ok(done);
        }
        let stored = serde_json::to_value(stored).map_err(unreadable)?;
        let merged = serde_json::from_value(merge(stored, &own)).map_err(unreadable)?;
        let written = definitions.replace(&name, &parameters, &merged).await;
        match written.map_err(ClusterError::from) {
            Ok(_) => return Ok(Done::Upgraded),
            // Most likely another replica did the same.
            Err(ClusterError::Changed(_)) if round < ROUNDS => round += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The release that the definition in the cluster says it is of, and whether that comes after this one.
///
/// # Errors
/// [`ClusterError::Forbidden`] when the client may not look at definitions.
pub async fn release(client: Client) -> Result<Option<(String, bool)>, ClusterError> {
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    let definitions: Api<DynamicObject> = Api::all_with(client, &kind);
    let found = definitions.get_metadata(&api::definition().name_any()).await?;
    let version = found.annotations().get(DEFINITION_VERSION_ANNOTATION).cloned();
    Ok(version.map(|version| {
        let newer = is_newer(&version, env!("CARGO_PKG_VERSION"));
        (version, newer)
    }))
}

fn unreadable(_: serde_json::Error) -> ClusterError {
    ClusterError::Refused("the definition could not be read".to_owned())
}

/// Whether a release comes after another. What is no version at all does not.
/// <https://semver.org/#spec-item-11>
fn is_newer(version: &str, than: &str) -> bool {
    match (Release::of(version), Release::of(than)) {
        (Some(version), Some(than)) => version > than,
        _ => false,
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Release<'a> {
    numbers: [u64; 3],
    /// A release comes after its own candidates.
    is_final: bool,
    candidate: &'a str,
}

impl<'a> Release<'a> {
    fn of(version: &'a str) -> Option<Self> {
        let version = version.split_once('+').map_or(version, |(version, _)| version);
        let (numbers, candidate) = version.split_once('-').unwrap_or((version, ""));
        let numbers: Result<Vec<u64>, _> = numbers.split('.').map(str::parse).collect();
        Some(Self {
            numbers: numbers.ok()?.try_into().ok()?,
            is_final: candidate.is_empty(),
            candidate,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_follow_each_other() {
        for (newer, older) in [
            ("2.0.1", "2.0.0"),
            ("2.1.0", "2.0.9"),
            ("10.0.0", "9.9.9"),
            ("2.1.0", "2.1.0-rc.1"),
            ("2.1.0-rc.2", "2.1.0-rc.1"),
        ] {
            assert!(is_newer(newer, older) && !is_newer(older, newer), "{newer} {older}");
        }
        for other in ["2.0.0", "2.0.0+build", "", "latest", "3", "3.0"] {
            assert!(!is_newer(other, "2.0.0"), "{other}");
        }
    }
}
