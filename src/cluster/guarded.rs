//! An object of a watch, read once and leniently: one whose spec makes no sense is told by its metadata and stands in nobody's way.
//!
//! kube's `DeserializeGuard` does that for any kind. It reads each object into a tree, managed fields and all, copies that, and reads it a
//! second time, which was a tenth of what ten thousand new resources cost.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::api::{AWSAssumeRole, AWSAssumeRoleSpec, AWSAssumeRoleStatus};
use crate::spec;

/// An object of kind `K`, with a spec `S` and a status `T`.
#[derive(Clone, Debug)]
pub struct Guarded<K, S, T> {
    /// What the operator reads of it: no labels, no managed fields.
    pub metadata: ObjectMeta,
    /// What it asks for, or why that cannot be read.
    pub spec: Result<S, String>,
    /// Its status, where it has one that can be read.
    pub status: Option<T>,
    kind: PhantomData<fn() -> K>,
}

/// A resource as the watch shows it.
pub type WatchedResource = Guarded<AWSAssumeRole, AWSAssumeRoleSpec, AWSAssumeRoleStatus>;

impl WatchedResource {
    /// Narrows it.
    #[must_use]
    pub fn into_resource(self) -> spec::Resource {
        match self.spec {
            Ok(spec) => spec::Resource::from_resource(&AWSAssumeRole {
                metadata: self.metadata,
                spec,
                status: self.status,
            }),
            Err(ref error) => spec::Resource::unreadable(&self, error),
        }
    }
}

/// The metadata that the operator reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    annotations: Option<BTreeMap<String, String>>,
    deletion_timestamp: Option<Time>,
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        Self {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            annotations: metadata.annotations,
            deletion_timestamp: metadata.deletion_timestamp,
            ..Self::default()
        }
    }
}

impl<'de, K, S: DeserializeOwned, T: DeserializeOwned> Deserialize<'de> for Guarded<K, S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields::<Self>(PhantomData))
    }
}

/// Reads the fields of an object.
struct Fields<O>(PhantomData<O>);

impl<'de, K, S: DeserializeOwned, T: DeserializeOwned> Visitor<'de> for Fields<Guarded<K, S, T>> {
    type Value = Guarded<K, S, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of Kubernetes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let (mut metadata, mut spec, mut status) = (None, None, None);
        while let Some(name) = fields.next_key::<Cow<'de, str>>()? {
            match &*name {
                "metadata" => metadata = Some(fields.next_value::<Metadata>()?),
                // What makes no sense is found out behind this: the reader has passed it by then, and can go on.
                "spec" => spec = Some(fields.next_value::<Value>()?),
                "status" => status = Some(fields.next_value::<Value>()?),
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        let metadata = metadata.ok_or_else(|| A::Error::missing_field("metadata"))?;
        let spec = spec.ok_or_else(|| "missing field `spec`".to_owned());
        Ok(Guarded {
            metadata: metadata.into(),
            spec: spec.and_then(|spec| serde_json::from_value(spec).map_err(|error| error.to_string())),
            status: status.and_then(|status| serde_json::from_value(status).ok()),
            kind: PhantomData,
        })
    }
}

impl<K: Resource, S, T> Resource for Guarded<K, S, T> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::core::WatchEvent;
    use serde_json::json;

    use super::*;

    type Read = WatchedResource;

    fn object(spec: Value) -> Value {
        json!({
            "apiVersion": "pincette.net/v1",
            "kind": "AWSAssumeRole",
            "metadata": {
                "name": "mine", "namespace": "team", "uid": "u", "resourceVersion": "7", "generation": 3, "annotations": {"a": "b"},
                "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}], "labels": {"l": "v"},
            },
            "spec": spec,
            "status": {"failures": 2},
        })
    }

    fn good() -> Value {
        json!({"roleName": "r", "secretName": "s", "secretType": "Map"})
    }

    #[test]
    fn what_the_operator_reads_is_there_and_nothing_else() {
        let text = object(good()).to_string();
        let read: Read = serde_json::from_str(&text).unwrap();
        let whole: AWSAssumeRole = serde_json::from_str(&text).unwrap();
        assert_eq!((read.spec.unwrap(), read.status), (whole.spec, whole.status));
        let kept = ObjectMeta {
            labels: None,
            managed_fields: None,
            ..whole.metadata
        };
        assert_eq!(read.metadata, kept);
    }

    #[test]
    fn a_spec_that_makes_no_sense_does_not_hide_the_object_or_its_neighbours() {
        let specs = [
            json!({"roleName": ["nested", {"deep": [1, 2]}]}),
            json!("text"),
            Value::Null,
        ];
        for spec in specs {
            let list = json!([object(spec), object(good())]).to_string();
            let read: Vec<Read> = serde_json::from_str(&list).unwrap();
            assert!(read[0].spec.is_err(), "{list}");
            assert_eq!(read[0].metadata.name.as_deref(), Some("mine"));
            assert!(read[1].spec.is_ok());
        }
        let mut without = object(good());
        without.as_object_mut().unwrap().remove("spec");
        let read: Read = serde_json::from_value(without).unwrap();
        assert_eq!(read.spec.unwrap_err(), "missing field `spec`");
    }

    #[test]
    fn it_is_read_from_a_line_of_a_watch() {
        let line = json!({"type": "MODIFIED", "object": object(good())}).to_string();
        let event: WatchEvent<Read> = serde_json::from_str(&line).unwrap();
        assert!(matches!(event, WatchEvent::Modified(read) if read.metadata.resource_version.as_deref() == Some("7")));
        // serde_json puts the fields of a tree in the order of their names.
        let event: WatchEvent<Read> =
            serde_json::from_str(&format!(r#"{{"object":{},"type":"ADDED"}}"#, object(good()))).unwrap();
        assert!(matches!(event, WatchEvent::Added(read) if read.spec.is_ok()));
    }
}
