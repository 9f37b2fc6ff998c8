//! The requests to the API server, and what is read of its answers: metadata only.

use http::HeaderValue;
use http::header::ACCEPT;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event as EventObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use kube::api::{PatchParams, PostParams};
use kube::core::{PartialObjectMeta, Request};
use serde::Deserialize;

use super::ClusterError;
use crate::api::AWSAssumeRole;
use crate::secret::FIELD_MANAGER;
use crate::spec::ResourceKey;

/// All metadata of an object.
pub(super) type Metadata<K> = PartialObjectMeta<K>;

/// What is read of an answer where only the version counts: most of the metadata is about who manages which field.
#[derive(Deserialize)]
pub(super) struct Written {
    /// Of the object, as it is now.
    pub metadata: WrittenMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenMetadata {
    resource_version: Option<String>,
}

impl From<WrittenMetadata> for ObjectMeta {
    fn from(WrittenMetadata { resource_version }: WrittenMetadata) -> Self {
        Self {
            resource_version,
            ..Self::default()
        }
    }
}

pub(super) fn secret_request(namespace: &str) -> Request {
    Request::new(Secret::url_path(&(), Some(namespace)))
}

pub(super) fn event_request(resource: &ResourceKey) -> Request {
    Request::new(EventObject::url_path(&(), Some(&resource.namespace)))
}

pub(super) fn resource_request(resource: &ResourceKey) -> Request {
    Request::new(AWSAssumeRole::url_path(&(), Some(&resource.namespace)))
}

/// A request that takes no more than metadata for an answer, so that no content of a Secret comes back, and no status that this operator cannot
/// read stands in the way.
pub(super) fn metadata_only(
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> Result<http::Request<Vec<u8>>, ClusterError> {
    let mut request = request.map_err(unbuilt)?;
    let accept = HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    request.headers_mut().insert(ACCEPT, accept);
    Ok(request)
}

/// A request that could not be put together. What was to be in it is not said.
pub(super) fn unbuilt(_: impl std::error::Error) -> ClusterError {
    ClusterError::Refused("the request could not be put together".to_owned())
}

pub(super) fn post_params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

pub(super) fn patch_params() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}
