//! `AWSAssumeRolePolicy`, `pincette.net/v1alpha1`: which namespaces may have which roles, as an administrator writes it.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Which namespaces may have which roles.
///
/// What is written here and not understood may be a restriction, and to ignore it would permit more than was asked for. So a field that the
/// types do not know makes a policy unreadable. They see only what the API server stores, though, and it takes off whatever its definition
/// does not know (structural pruning) before it stores anything: then this finds only the field of a newer definition than the operator's.
/// What is taken off the API server tells the client, and kubectl refuses such an object unless it is told not to validate; other clients
/// get a warning. The one field that people can expect here from elsewhere, `matchExpressions` beside `matchLabels`, is therefore in the
/// definition, only to be refused.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "pincette.net",
    version = "v1alpha1",
    kind = "AWSAssumeRolePolicy",
    plural = "awsassumerolepolicies",
    singular = "awsassumerolepolicy",
    shortname = "aarp",
    category = "aws",
    derive = "PartialEq",
    doc = "Which namespaces may have which AWS IAM roles. An AWSAssumeRole is permitted when one policy permits all that it asks for. A namespace that some policy names gets that and nothing else.",
    printcolumn(name = "Namespaces", type_ = "string", json_path = ".spec.namespaces"),
    printcolumn(name = "Roles", type_ = "string", json_path = ".spec.roles"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[schemars(description = "The namespaces, and what each of them may have.")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("has(self.namespaces) != has(self.namespaceSelector)",
    "give exactly one of namespaces (names and globs) and namespaceSelector (with matchLabels)"))]
pub struct AWSAssumeRolePolicySpec {
    /// Names of namespaces and globs over them: `team-a`, `team-a-*`. `*` stands for any characters and `?` for one. Give either these or
    /// `namespaceSelector`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 63)))]
    #[x_kube(validation = ("self.all(n, n.matches('^[-a-z0-9*?]+$'))",
        "each of namespaces is the name of a namespace or a glob over names, of lower case letters, digits, '-', '*' and '?': team-a or team-a-*"))]
    pub namespaces: Vec<String>,

    /// The namespaces with these labels. Give either this or `namespaces`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,

    /// Globs over the whole ARN of a role: `arn:aws:iam::123456789012:role/${namespace}/*`. `*` stands for any characters but `:`, `?` for
    /// one such, and `${namespace}` for the name of the resource's namespace. Upper and lower case differ. The path of a role is a part of its
    /// ARN. End `${namespace}` with a `/`: a `-` may occur in the name of a namespace, so that `${namespace}-*` of the namespace `team` has
    /// the roles of `team-a` too.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 2048)))]
    #[x_kube(validation = ("self.all(r, r.matches('^arn(:[!-9;-~]+){2}:[!-9;-~]*(:[!-9;-~]+){2}$'))",
        "each of roles is a glob over a role's whole ARN, with its six fields: arn:aws:iam::123456789012:role/team-a/* ('*' and '?' match no ':')"),
        validation = ("self.all(r, !r.replace('${namespace}', '').contains('${'))",
        "roles know ${namespace} only: leave any other ${...} out"))]
    pub roles: Vec<String>,

    /// The most `durationSeconds`: 900 to 43200. Without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 900, max = 43200))]
    pub max_duration_seconds: Option<i32>,

    /// What `session` of a resource may have. What is not named here is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionLimits>,

    /// What the keys of `secretTemplate.labels` and `secretTemplate.annotations` must begin with: `example.com/`. Without it they may be any;
    /// with an empty list there may be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 317)))]
    #[x_kube(validation = ("self.all(p, p.matches('^[-A-Za-z0-9._/]+$'))",
        "each of secretMetadataPrefixes is the beginning of a key as it is, and no glob: example.com/"))]
    pub secret_metadata_prefixes: Option<Vec<String>>,
}

/// Selects namespaces by their labels.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = ("!has(self.matchExpressions)",
    "namespaceSelector takes matchLabels only: leave matchExpressions out"))]
pub struct NamespaceSelector {
    /// The labels that a namespace must have, all of them. Whoever may set them may open the namespace: leave that to administrators.
    #[schemars(schema_with = "match_labels_schema")]
    #[x_kube(validation = ("size(self) > 0",
        "matchLabels needs at least one label: for all namespaces write namespaces: [\"*\"] in place of namespaceSelector"))]
    pub match_labels: BTreeMap<String, String>,

    /// Refused: there is `matchLabels` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "match_expressions_schema")]
    pub match_expressions: Vec<serde_json::Value>,
}

/// What a resource may have in `session`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionLimits {
    /// Whether `session.policy` and `session.policyArns` are permitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policies: Option<bool>,

    /// The keys that `session.tags` may have. As to AWS, upper and lower case are the same in them. Those under `kubernetes-` and `eks-` are
    /// refused all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 128)))]
    #[x_kube(validation = ("self.all(k, !k.contains('*'))",
        "session.tagKeys are keys as they are, and no globs: team"))]
    pub tag_keys: Vec<String>,

    /// The values that `session.externalId` may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 1224)))]
    #[x_kube(validation = ("self.all(i, i.matches('^[A-Za-z0-9_+=,.@:/-]+$'))",
        "each of session.externalIds is an external ID as it is, and no glob: 2 to 1224 letters, digits or characters of _+=,.@:/-"))]
    pub external_ids: Vec<String>,

    /// The values that `session.sourceIdentity` may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 64)))]
    #[x_kube(validation = ("self.all(i, i.matches('^[A-Za-z0-9_+=,.@-]+$'))",
        "each of session.sourceIdentities is a source identity as it is, and no glob: 2 to 64 letters, digits or characters of _+=,.@-"))]
    pub source_identities: Vec<String>,
}

fn match_labels_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 63}
    })
}

fn match_expressions_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(spec: Value) -> Result<AWSAssumeRolePolicySpec, serde_json::Error> {
        serde_json::from_value(spec)
    }

    #[test]
    fn the_fields_are_as_they_are_documented() {
        let spec = read(json!({
            "namespaces": ["team-a", "team-a-*"],
            "roles": ["arn:aws:iam::123456789012:role/${namespace}/*"],
            "maxDurationSeconds": 3600,
            "session": {"policies": true, "tagKeys": ["team"], "externalIds": ["an-id"], "sourceIdentities": []},
            "secretMetadataPrefixes": ["example.com/"]
        }))
        .unwrap();
        assert_eq!(spec.max_duration_seconds, Some(3600));
        assert_eq!(spec.session.unwrap().tag_keys, ["team"]);
        let nulls = json!({"namespaceSelector": {"matchLabels": {"a": "b"}}, "roles": ["r"], "session": null, "maxDurationSeconds": null});
        assert_eq!(read(nulls).unwrap().namespace_selector.unwrap().match_labels["a"], "b");
    }

    #[test]
    fn a_restriction_that_is_not_known_makes_a_policy_unreadable() {
        for spec in [
            json!({"namespaces": ["a"], "roles": ["r"], "regions": ["eu-west-1"]}),
            json!({"namespaceSelector": {"matchLabels": {"a": "b"}, "matchFields": []}, "roles": ["r"]}),
            json!({"namespaces": ["a"], "roles": ["r"], "session": {"names": []}}),
        ] {
            let error = read(spec.clone()).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{spec}: {error}");
        }
    }
}
