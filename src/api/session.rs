//! The parts of the spec that say more about the session and the Secret.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What a session is to be, beyond its role. The limits are those of `AssumeRole`:
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("!has(self.transitiveTagKeys) || self.transitiveTagKeys.all(k, has(self.tags) && k in self.tags)",
        "each of session.transitiveTagKeys must be a key of session.tags"),
    validation = ("(has(self.policy) ? size(self.policy) : 0) + (has(self.policyArns) ? self.policyArns.map(a, size(a)).sum() : 0) <= 2048",
        "session.policy and session.policyArns must have at most 2048 characters together")
)]
pub struct SessionSpec {
    /// `RoleSessionName`, which CloudTrail shows. `<namespace>.<name>` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+=,.@-]{2,64}$')",
        "session.name must have 2 to 64 letters, digits or characters of _+=,.@-"))]
    pub name: Option<String>,

    /// An inline session policy, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = ("self.matches('^\\\\s*[{]')", "session.policy must be an IAM policy in JSON"))]
    pub policy: Option<String>,

    /// ARNs of managed policies that limit the session, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(max = 2048)))]
    #[x_kube(validation = ("self.all(a, a.matches('^arn:aws[a-zA-Z-]*:iam::(aws|[0-9]{12}):policy/.+$'))",
        "each of session.policyArns is the ARN of a managed policy: arn:aws:iam::aws:policy/ReadOnlyAccess"))]
    pub policy_arns: Vec<String>,

    /// Session tags, at most 50.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags_schema")]
    #[x_kube(validation = ("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.startsWith('aws:'))",
        "a key of session.tags has 1 to 128 characters and does not begin with aws:"))]
    pub tags: BTreeMap<String, String>,

    /// Keys of `tags` that sessions assumed from this one inherit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 128)))]
    pub transitive_tag_keys: Vec<String>,

    /// The external id that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+=,.@:/-]{2,}$')",
        "session.externalId must have 2 to 1224 letters, digits or characters of _+=,.@:/-"))]
    pub external_id: Option<String>,

    /// `SourceIdentity`, which stays with the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+=,.@-]{2,64}$') && !self.startsWith('aws:')",
        "session.sourceIdentity must have 2 to 64 letters, digits or characters of _+=,.@-"))]
    pub source_identity: Option<String>,
}

/// The content of a Secret of type `Template`.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TemplateSpec {
    /// The Secret's keys, each with a Jinja template over `accessKeyId`, `secretAccessKey`, `sessionToken`, `expiration`, `region`,
    /// `roleArn` and `accountId`.
    #[schemars(schema_with = "templates_schema")]
    #[x_kube(validation = ("self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$'))",
        "a key of template.data has 1 to 253 letters, digits or characters of -._"))]
    pub data: BTreeMap<String, String>,
}

/// Labels and annotations for a Secret, for programs that act on them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SecretTemplate {
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    #[x_kube(validation = ("self.all(k, !k.startsWith('pincette.net/'))",
        "labels under pincette.net/ are the operator's own: use another prefix"),
        validation = ("self.all(k, k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "a label's key is a name of at most 63 letters, digits, '-', '_' and '.', with a DNS prefix if it has one: example.com/team"),
        validation = ("self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))",
        "a label's value has at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"))]
    pub labels: BTreeMap<String, String>,

    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    #[x_kube(validation = ("self.all(k, !k.startsWith('pincette.net/'))",
        "annotations under pincette.net/ are the operator's own: use another prefix"),
        validation = ("self.all(k, k.matches('^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "an annotation's key is a name of at most 63 letters, digits, '-', '_' and '.', with a DNS prefix if it has one: example.com/team"))]
    pub annotations: BTreeMap<String, String>,
}

/// A map of strings with limits, without which the API server cannot bound the cost of the rules on it.
fn map_of_strings(most: u32, longest: u32) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": most,
        "additionalProperties": {"type": "string", "maxLength": longest}
    })
}

fn tags_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    map_of_strings(50, 256)
}

fn templates_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = map_of_strings(64, 65_536);
    schema.insert("minProperties".to_owned(), 1.into());
    schema
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    map_of_strings(64, 63)
}

fn annotations_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    map_of_strings(64, 16_384)
}
