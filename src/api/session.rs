//! The parts of the spec that say more about the session and the Secret.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Further settings of the session. Their limits are those of `AssumeRole`:
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
    /// The role session name, which CloudTrail shows. The default is `<namespace>.<name>` of this resource, shortened if that is too long for
    /// AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+=,.@-]{2,64}$')",
        "session.name must have 2 to 64 letters, digits or characters of _+=,.@-"))]
    pub name: Option<String>,

    /// A session policy, as JSON text. The session can do only what both the role and this policy allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = ("self.matches('^\\\\s*[{]')", "session.policy must be an IAM policy in JSON"))]
    pub policy: Option<String>,

    /// ARNs of up to 10 managed policies that restrict the session in the same way. Together with `policy` they may have up to 2048
    /// characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(max = 2048)))]
    #[x_kube(validation = ("self.all(a, a.matches('^arn:aws[a-zA-Z-]*:iam::(aws|[0-9]{12}):policy/.+$'))",
        "each of session.policyArns is the ARN of a managed policy: arn:aws:iam::aws:policy/ReadOnlyAccess"))]
    pub policy_arns: Vec<String>,

    /// Up to 50 session tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags_schema")]
    #[x_kube(validation = ("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.startsWith('aws:'))",
        "a key of session.tags has 1 to 128 characters and does not begin with aws:"))]
    pub tags: BTreeMap<String, String>,

    /// The keys of those `tags` that are passed on to sessions assumed from this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 128)))]
    pub transitive_tag_keys: Vec<String>,

    /// The external ID that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+=,.@:/-]{2,}$')",
        "session.externalId must have 2 to 1224 letters, digits or characters of _+=,.@:/-"),
        validation = ("!self.matches('^[kK]8[sS]:')",
        "session.externalId must not begin with k8s:, as the operator's own do, which name a cluster and a namespace: leave it out, or agree on another with the owner of the role"))]
    pub external_id: Option<String>,

    /// The source identity. It stays with the session and with every session assumed from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9_+=,.@-]{2,64}$') && !self.startsWith('aws:')",
        "session.sourceIdentity must have 2 to 64 letters, digits or characters of _+=,.@-"))]
    pub source_identity: Option<String>,
}

/// The content of a Secret of type `Template`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[x_kube(
    validation = ("!has(self.type) || self.type != 'kubernetes.io/dockerconfigjson' || '.dockerconfigjson' in self.data",
        "a Secret of template.type kubernetes.io/dockerconfigjson needs the key .dockerconfigjson in template.data"),
    validation = ("!has(self.type) || self.type != 'kubernetes.io/basic-auth' || 'username' in self.data || 'password' in self.data",
        "a Secret of template.type kubernetes.io/basic-auth needs the key username or password in template.data")
)]
pub struct TemplateSpec {
    /// The keys of the Secret, each with a Jinja template over `accessKeyId`, `secretAccessKey`, `sessionToken`, `expiration`, `region`,
    /// `roleArn` and `accountId`, and with `ecrRepositoryUrl` also `registry`, `registryUsername`, `registryPassword` and `registryToken`. A
    /// template may have up to 16 KiB, and all templates together up to 64 KiB.
    #[schemars(schema_with = "templates_schema")]
    #[x_kube(validation = ("self.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$') && k != '.' && !k.startsWith('..'))",
        "a key of template.data has 1 to 253 letters, digits or characters of -._ and is neither . nor begins with .."),
        validation = ("self.map(k, size(self[k])).sum() <= 65536",
        "the templates of template.data must have at most 65536 characters (64 KiB) together"))]
    pub data: BTreeMap<String, String>,

    /// The type of the Secret. The default is `Opaque`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<TemplateType>,
}

/// The type of a Secret that is made of templates. The default is `Opaque`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TemplateType {
    /// Any content.
    #[default]
    Opaque,
    /// `username` and `password`.
    #[serde(rename = "kubernetes.io/basic-auth")]
    BasicAuth,
    /// `.dockerconfigjson`: a docker config.
    #[serde(rename = "kubernetes.io/dockerconfigjson")]
    DockerConfigJson,
}

impl TemplateType {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opaque => "Opaque",
            Self::BasicAuth => "kubernetes.io/basic-auth",
            Self::DockerConfigJson => "kubernetes.io/dockerconfigjson",
        }
    }
}

/// Labels and annotations for a Secret, for programs that act on them.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[x_kube(validation = ("(has(self.labels) ? self.labels.map(k, size(k) + size(self.labels[k])).sum() : 0) + (has(self.annotations) ? self.annotations.map(k, size(k) + size(self.annotations[k])).sum() : 0) <= 65536",
    "the labels and annotations of secretTemplate must have at most 65536 characters (64 KiB) together"))]
pub struct SecretTemplate {
    /// Labels to put on the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    #[x_kube(validation = ("self.all(k, !k.startsWith('pincette.net/'))",
        "labels under pincette.net/ are the operator's own: use another prefix"),
        validation = ("self.all(k, k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "a label's key is a name of at most 63 letters, digits, '-', '_' and '.', with a DNS prefix if it has one: example.com/team"),
        validation = ("self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$'))",
        "a label's value has at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"))]
    pub labels: BTreeMap<String, String>,

    /// Annotations to put on the Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    #[x_kube(validation = ("self.all(k, !k.startsWith('pincette.net/'))",
        "annotations under pincette.net/ are the operator's own: use another prefix"),
        validation = ("self.all(k, k.matches('^([a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
        "an annotation's key is a name of at most 63 letters, digits, '-', '_' and '.', with a DNS prefix if it has one: example.com/team"))]
    pub annotations: BTreeMap<String, String>,
}

/// A map of strings with limits, without which the API server cannot bound the cost of the rules on it. It counts characters; the operator
/// counts bytes where they matter.
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
    let mut schema = map_of_strings(64, 16_384);
    schema.insert("minProperties".to_owned(), 1.into());
    schema
}

fn labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    map_of_strings(64, 63)
}

fn annotations_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    map_of_strings(64, 16_384)
}
