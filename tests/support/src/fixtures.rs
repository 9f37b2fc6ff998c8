//! What the tests are made of: the account, the keys, specs and resources.

use serde_json::{Value, json};

/// The account that every AWS of the tests stands for.
pub const ACCOUNT: &str = "123456789012";

/// Where the resources of the stories are.
pub const NAMESPACE: &str = "default";

/// The id of the operator's own access key, where it has a plain one.
pub const ACCESS_KEY_ID: &str = "AKIAOPERATOR00000000";

/// The secret part of the operator's own access key.
pub const SECRET_ACCESS_KEY: &str = "the-secret-of-the-operator";

/// A repository of the account.
pub const ECR_URL: &str = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/team/app";

/// The ARN of a role in the account.
pub fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

/// The spec of a Map whose role and Secret have that name.
pub fn map_spec(name: &str) -> Value {
    json!({"roleName": name, "secretName": name, "secretType": "Map"})
}

/// The spec of a registry login whose role and Secret have that name.
pub fn ecr_spec(name: &str) -> Value {
    json!({"roleName": name, "secretName": name, "secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": ECR_URL})
}

/// A spec with some of its fields changed: `null` takes a field away.
pub fn with(mut spec: Value, changes: &Value) -> Value {
    let fields = spec.as_object_mut().unwrap();
    for (field, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => fields.remove(field),
            value => fields.insert(field.clone(), value.clone()),
        };
    }
    spec
}

/// A resource of that name and spec.
pub fn resource(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "pincette.net/v1",
        "kind": "AWSAssumeRole",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    })
}

/// All of them, as kubectl takes them at once.
pub fn list(resources: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": resources})
}
