//! The schema of a kind as the API server publishes it to everybody, compared with the operator's own. No right to look at definitions is
//! needed for it (`system:discovery`).
//! <https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3>

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::Value;

use super::unreadable;
use crate::cluster::ClusterError;

/// Where a schema has its validation rules.
const RULES: &str = "x-kubernetes-validations";

/// How a kind is known to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Not at all.
    NotInstalled,
    /// By a schema that has all of the operator's own.
    Complete,
    /// By one that lacks these fields and rules.
    Lacking(Vec<String>),
}

/// How the kind of a definition is known to the API server.
///
/// # Errors
/// [`ClusterError`] when it does not tell.
pub async fn published(client: &Client, own: CustomResourceDefinition) -> Result<Published, ClusterError> {
    let own = serde_json::to_value(own).map_err(unreadable)?;
    let (group, kind) = (&own["spec"]["group"], &own["spec"]["names"]["kind"]);
    let version = &own["spec"]["versions"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let path = format!("/openapi/v3/apis/{}/{}", text(group), text(&version["name"]));
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| ClusterError::Refused(error.to_string()))?;
    let document: Value = match client.request(request).await.map_err(ClusterError::from) {
        Ok(document) => document,
        Err(ClusterError::Gone(_)) => return Ok(Published::NotInstalled),
        Err(error) => return Err(error),
    };
    Ok(compare(&document, kind, &version["schema"]["openAPIV3Schema"]))
}

/// What a document of OpenAPI says of a kind, beside the operator's own schema of it.
fn compare(document: &Value, kind: &Value, own: &Value) -> Published {
    let schemas = document["components"]["schemas"].as_object();
    let is_of_kind = |schema: &&Value| {
        let kinds = schema["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.iter().any(|one| one["kind"] == *kind))
    };
    let Some(found) = schemas.and_then(|schemas| schemas.values().find(is_of_kind)) else {
        return Published::NotInstalled;
    };
    let mut lacking = Vec::new();
    lacks(own, found, "", &mut lacking);
    match lacking.is_empty() {
        true => Published::Complete,
        false => Published::Lacking(lacking),
    }
}

fn lacks(own: &Value, found: &Value, path: &str, lacking: &mut Vec<String>) {
    for rule in own[RULES].as_array().into_iter().flatten() {
        let mut there = found[RULES].as_array().into_iter().flatten();
        if !there.any(|other| other["rule"] == rule["rule"]) {
            let place = if path.is_empty() { "the whole" } else { path };
            lacking.push(format!("a rule about {place}"));
        }
    }
    for (name, property) in own["properties"].as_object().into_iter().flatten() {
        // These are those of every kind.
        if path.is_empty() && ["apiVersion", "kind", "metadata"].contains(&name.as_str()) {
            continue;
        }
        let place = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        match found["properties"].get(name) {
            None => lacking.push(place),
            Some(found) => lacks(property, found, &place, lacking),
        }
    }
    for below in ["items", "additionalProperties"] {
        if own[below].is_object() {
            lacks(&own[below], &found[below], path, lacking);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(schema: &Value) -> Value {
        let mut schema = schema.clone();
        schema["x-kubernetes-group-version-kind"] = json!([{"group": "pincette.net", "kind": "A", "version": "v1"}]);
        json!({"components": {"schemas": {"net.pincette.v1.A": schema, "other": {}}}})
    }

    #[test]
    fn what_an_older_schema_lacks_is_named() {
        let own = json!({"properties": {
            "kind": {},
            "spec": {
                "x-kubernetes-validations": [{"rule": "r1", "message": "m"}],
                "properties": {"a": {}, "b": {"items": {"properties": {"c": {}}}}},
            },
        }});
        let compared = |stored: &Value| compare(&document(stored), &json!("A"), &own);
        assert_eq!(compared(&own), Published::Complete);
        let mut older = own.clone();
        older["properties"]["spec"]["x-kubernetes-validations"] = json!([{"rule": "r0"}]);
        older["properties"]["spec"]["properties"] = json!({"b": {"items": {}}, "theirs": {}});
        let lacking = ["a rule about spec", "spec.a", "spec.b.c"].map(str::to_owned).to_vec();
        assert_eq!(compared(&older), Published::Lacking(lacking));
        assert_eq!(compare(&document(&own), &json!("B"), &own), Published::NotInstalled);
    }
}
