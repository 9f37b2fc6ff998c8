//! A resource as the operator sees it: which one it is, what it asks for, and the status that it carries.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{InvalidSpec, Spec, excerpt};
use crate::api::{AWSAssumeRole, AWSAssumeRoleStatus};
use crate::digest;

/// The annotation that asks for a refresh: a value not seen before causes one.
pub const REFRESH_ANNOTATION: &str = "pincette.net/refresh";

/// A resource, narrowed to what the operator acts on.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Which one.
    pub key: ResourceKey,
    /// `metadata.generation`, which counts the changes of the spec.
    pub generation: i64,
    /// `metadata.resourceVersion`, which grows with every change. Unknown where it is no number.
    pub version: Option<ResourceVersion>,
    /// What it asks for, or why that cannot be read.
    pub spec: Result<Spec, InvalidSpec>,
    /// The value of [`REFRESH_ANNOTATION`], or the hash of one that is long.
    pub refresh_request: Option<String>,
    /// The status that was stored with it, until somebody takes it.
    pub status: Option<Box<AWSAssumeRoleStatus>>,
    /// Whether it is being deleted (`metadata.deletionTimestamp`).
    pub terminating: bool,
}

/// A version of an object: a whole number that grows.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceVersion(NonZeroU64);

impl ResourceVersion {
    /// That of an object, where it is a number.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let version = metadata.resource_version.as_deref()?;
        version.parse().ok().map(Self)
    }
}

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A resource's name, and the identity that a resource of the same name made later does not have. It goes wherever the resource goes, so a
/// copy shares its texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceKey {
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: Arc<str>,
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Resource {
    /// Whether it asks for the same as another version of it: then nothing has to be done.
    #[must_use]
    pub fn asks_for_the_same_as(&self, other: &Self) -> bool {
        self.generation == other.generation && self.spec == other.spec
    }

    /// Whether it asks for nothing that another version of it, which came before, did not ask for.
    #[must_use]
    pub fn asks_for_nothing_new(&self, before: &Self) -> bool {
        let asks_for_a_refresh = self.refresh_request.is_some() && self.refresh_request != before.refresh_request;
        self.asks_for_the_same_as(before) && !asks_for_a_refresh
    }

    /// Whether its spec says not to refresh.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.spec.as_ref().is_ok_and(|spec| spec.suspend)
    }

    /// The name of the Secret that it asks for, where that can be read.
    #[must_use]
    pub fn secret_name(&self) -> Option<&str> {
        self.spec.as_ref().ok().map(|spec| spec.secret_name.as_str())
    }

    /// Narrows a resource.
    #[must_use]
    pub fn from_resource(resource: &AWSAssumeRole) -> Self {
        let key = ResourceKey::of(resource);
        Self {
            spec: Spec::from_api(&key, &resource.spec),
            generation: resource.metadata.generation.unwrap_or_default(),
            version: ResourceVersion::of(&resource.metadata),
            refresh_request: resource
                .annotations()
                .get(REFRESH_ANNOTATION)
                .map(|value| request(value)),
            status: resource.status.clone().map(Box::new),
            terminating: resource.metadata.deletion_timestamp.is_some(),
            key,
        }
    }

    /// What is left of an object that could not be read as an `AWSAssumeRole`.
    #[must_use]
    pub fn unreadable(object: &impl kube::Resource, error: &str) -> Self {
        Self {
            key: ResourceKey::of(object),
            generation: object.meta().generation.unwrap_or_default(),
            version: ResourceVersion::of(object.meta()),
            // It may quote what could not be read, however much that is.
            spec: Err(InvalidSpec::Unreadable(excerpt(error))),
            refresh_request: None,
            status: None,
            terminating: object.meta().deletion_timestamp.is_some(),
        }
    }
}

impl ResourceKey {
    /// The key of an object. The API server gives every stored object a namespace and a UID.
    #[must_use]
    pub fn of(object: &impl kube::Resource) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default().into(),
            name: object.name_any().into(),
            uid: object.uid().unwrap_or_default().into(),
        }
    }
}

/// The longest request for a refresh that is written on the Secret as it is. A timestamp is much shorter.
const REQUEST_MAX: usize = 128;

/// A request for a refresh, as it is compared and written on the Secret.
fn request(value: &str) -> String {
    match value.len() <= REQUEST_MAX {
        true => value.to_owned(),
        false => digest::hash(value.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_request_is_told_by_its_hash() {
        assert_eq!(request("1700000000"), "1700000000");
        let long = request(&"x".repeat(5000));
        assert_eq!(long.len(), 32);
        assert_ne!(long, request(&"x".repeat(5001)));
    }
}
