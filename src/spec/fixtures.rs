//! A resource and a spec for unit tests, as plain as can be.

use std::collections::BTreeMap;
use std::time::Duration;

use super::role::RoleReference;
use super::{Format, Resource, ResourceKey, SessionRequest, Spec};

/// The key of a resource.
pub(crate) fn key() -> ResourceKey {
    ResourceKey {
        namespace: "team".into(),
        name: "mine".into(),
        uid: "uid-1".into(),
    }
}

/// The spec of a resource with that Secret format.
pub(crate) fn spec(format: Format) -> Spec {
    Spec {
        role: RoleReference::Name("r".into()),
        session: SessionRequest::default(),
        service_account_name: None,
        region: None,
        duration: Duration::from_secs(900),
        refresh_before: None,
        secret_name: "secret".into(),
        format,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        suspend: false,
        spec_hash: "hash".into(),
    }
}

/// A resource with that spec, of generation 1, that carries no status.
pub(crate) fn resource(spec: Spec) -> Resource {
    Resource {
        key: key(),
        generation: 1,
        version: None,
        spec: Ok(spec),
        refresh_request: None,
        status: None,
        terminating: false,
    }
}
