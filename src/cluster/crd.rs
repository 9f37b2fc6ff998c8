//! The custom resource definition, brought up to the operator's own version.
//!
//! Helm installs what is in a chart's `crds/` folder and never changes it again, so that after an upgrade the API server would drop the
//! fields that it does not know. The operator puts that right when it starts, if it may.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use tracing::{info, warn};

use super::ClusterError;
use crate::api;
use crate::digest;
use crate::secret::FIELD_MANAGER;

/// The hash of the definition that was applied.
const HASH_ANNOTATION: &str = "pincette.net/definition-hash";

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// The pause before another attempt when the API server is away.
const PAUSE: Duration = Duration::from_secs(30);

/// Brings the definition up to date, as soon as the API server is there. What else keeps it from doing so is logged: the operator works with
/// an older one, less well.
pub async fn upgrade(client: Client) {
    loop {
        let attempt = tokio::time::timeout(ATTEMPT_TIMEOUT, try_upgrade(client.clone()));
        let result = attempt
            .await
            .unwrap_or_else(|_| Err(ClusterError::Unavailable("no answer".to_owned())));
        match result {
            Ok(true) => info!("the custom resource definition was brought up to date"),
            Ok(false) => {}
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

async fn try_upgrade(client: Client) -> Result<bool, ClusterError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let mut definition = api::definition();
    let text = serde_json::to_vec(&definition).unwrap_or_default();
    let hash = digest::hash(&text);
    let name = definition.name_any();
    let stored = definitions.get_metadata(&name).await?;
    if stored.annotations().get(HASH_ANNOTATION) == Some(&hash) {
        return Ok(false);
    }
    definition.annotations_mut().insert(HASH_ANNOTATION.to_owned(), hash);
    // Its fields belong to whoever installed it; they are the operator's to say all the same.
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    // The whole of it would come back otherwise.
    definitions
        .patch_metadata(&name, &parameters, &Patch::Apply(&definition))
        .await?;
    Ok(true)
}
