//! `AWSAssumeRole`, `pincette.net/v1`: what people write, and the status that the operator answers with. `AWSAssumeRolePolicy`,
//! `pincette.net/v1alpha1`: which namespaces may have which roles.
//!
//! Everything that OpenAPI or CEL can say about a field is said here, so that `kubectl apply` refuses a wrong resource
//! at once. `aws-assume-role crd` prints the definitions that follow from these types; `crds/` holds its output.

// Each printer column has a name, a type and a path; Clippy takes the second column's for a repetition.
#![allow(clippy::duplicated_attributes)]

mod definition;
mod policy;
mod session;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::{DEFINITION_VERSION_ANNOTATION, definition, policy_definition};
pub use policy::{AWSAssumeRolePolicy, AWSAssumeRolePolicySpec, NamespaceSelector, SessionLimits};
pub use session::{SecretTemplate, SessionSpec, TemplateSpec, TemplateType};
pub use status::{AWSAssumeRoleStatus, Condition, ConditionStatus, ConditionType, Health, Phase, Reason};

/// What the URL of a private ECR repository or registry looks like, as CEL's `matches` takes it.
macro_rules! ecr_url {
    () => {
        "^(https://)?[0-9]{12}[.](dkr[.]ecr(-fips)?[.][a-z0-9][a-z0-9-]*[.](amazonaws[.](com([.]cn)?|eu)|c2s[.]ic[.]gov|sc2s[.]sgov[.]gov|cloud[.]adc-e[.]uk|csp[.]hci[.]ic[.]gov)|dkr-ecr(-fips)?[.][a-z0-9][a-z0-9-]*[.]on[.](aws|amazonwebservices[.](com[.]cn|eu)))((/v2)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+|(/v2)?/)?$"
    };
}

/// The role to assume, and the Secret to keep filled with its credentials.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Deserialize, Serialize)]
#[kube(
    group = "pincette.net",
    version = "v1",
    kind = "AWSAssumeRole",
    plural = "awsassumeroles",
    singular = "awsassumerole",
    shortname = "aar",
    category = "aws",
    category = "controllers",
    namespaced,
    status = "AWSAssumeRoleStatus",
    derive = "PartialEq",
    doc = "An AWS IAM role to assume, and the Secret that is kept filled with its short-lived credentials.",
    printcolumn(name = "Role", type_ = "string", json_path = ".status.roleArn"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.secretType"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".spec.secretName"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    // Not a date: kubectl shows how long ago a date was, and "<invalid>" for one to come.
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiration"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Refreshed",
        type_ = "date",
        json_path = ".status.lastRefreshTime",
        priority = 1
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", priority = 1),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health.status", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.roleName) != has(self.roleArn)",
        "give exactly one of roleName (a role in the operator's own account) and roleArn (a full ARN, for any account)"),
    validation = ("self.secretType != 'EcrDockerConfigJson' || has(self.ecrRepositoryUrl)",
        "secretType EcrDockerConfigJson needs ecrRepositoryUrl: https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>"),
    validation = ("self.secretType in ['EcrDockerConfigJson', 'Template'] || !has(self.ecrRepositoryUrl)",
        "ecrRepositoryUrl goes with secretType EcrDockerConfigJson or Template only: change secretType, or leave ecrRepositoryUrl out"),
    validation = ("self.secretType == 'EcrDockerConfigJson' || !has(self.ecrRepositoryUrls)",
        "ecrRepositoryUrls goes with secretType EcrDockerConfigJson only: change secretType, or leave ecrRepositoryUrls out"),
    validation = ("self.secretType != 'Template' || has(self.template)",
        "secretType Template needs template.data: the Secret's keys, each with a Jinja template"),
    validation = ("self.secretType == 'Template' || !has(self.template)",
        "template goes with secretType Template only: change secretType, or leave template out"),
    validation = ("!has(self.refreshBeforeSeconds) || self.refreshBeforeSeconds < (has(self.durationSeconds) ? self.durationSeconds : 900)",
        "refreshBeforeSeconds must be less than durationSeconds (900 when not given)"),
    validation = ("!has(self.serviceAccountName) || !has(self.session) || !has(self.session.tags)",
        "session.tags does not go with serviceAccountName, since AssumeRoleWithWebIdentity takes none: leave session.tags out"),
    validation = ("!has(self.serviceAccountName) || !has(self.session) || !has(self.session.transitiveTagKeys)",
        "session.transitiveTagKeys does not go with serviceAccountName, since AssumeRoleWithWebIdentity takes none: leave session.transitiveTagKeys out"),
    validation = ("!has(self.serviceAccountName) || !has(self.session) || !has(self.session.externalId)",
        "session.externalId does not go with serviceAccountName, since AssumeRoleWithWebIdentity takes none: leave session.externalId out, and let the role's trust policy ask for the ServiceAccount instead, by the condition key <issuer>:sub"),
    validation = ("!has(self.serviceAccountName) || !has(self.session) || !has(self.session.sourceIdentity)",
        "session.sourceIdentity does not go with serviceAccountName, since AssumeRoleWithWebIdentity takes none: leave session.sourceIdentity out")
)]
pub struct AWSAssumeRoleSpec {
    /// Name of a role in the operator's own account, with its path if it has one: `team/my-role`. Give either this or `roleArn`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 576))]
    #[x_kube(validation = ("!self.startsWith('arn:') && self.matches('^([!-.0-~][!-~]*/)?[A-Za-z0-9_+=,.@-]{1,64}$')",
        "roleName is the name of an IAM role, with its path if it has one: my-role or team/my-role (for a role in another account use roleArn)"))]
    pub role_name: Option<String>,

    /// Full ARN of the role, which may be in another account: `arn:aws:iam::123456789012:role/my-role`. Give either this or `roleName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = ("self.matches('^arn:aws[a-zA-Z-]*:iam::[0-9]{12}:role/[!-~]+$')",
        "roleArn is the full ARN of an IAM role: arn:aws:iam::123456789012:role/my-role"))]
    pub role_arn: Option<String>,

    /// Name of the Secret. It is always in the namespace of this resource.
    #[schemars(length(max = 253))]
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "secretName must be a DNS subdomain name: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub secret_name: String,

    /// The form in which the Secret holds the credentials.
    pub secret_type: SecretType,

    /// With `secretType: EcrDockerConfigJson` or `Template` only: the repository that the registry login is for, together with those whose
    /// names begin with its own and a `/`: `https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>`. You may leave out `https://` and
    /// `/v2`. The host alone means every repository of the registry. Hosts of FIPS and dual-stack endpoints are taken as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = (concat!("self.matches('", ecr_url!(), "')"),
        "ecrRepositoryUrl must name a private ECR repository: https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>, or the host alone for all repositories"))]
    pub ecr_repository_url: Option<String>,

    /// With `secretType: EcrDockerConfigJson` only: up to 20 further repositories or registries for the same docker config, in the forms of
    /// `ecrRepositoryUrl`. Each Region that occurs costs a call to ECR at each refresh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(max = 512)))]
    #[x_kube(validation = (concat!("self.all(u, u.matches('", ecr_url!(), "'))"),
        "each of ecrRepositoryUrls must name a private ECR repository: https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>, or the host alone for all repositories"))]
    pub ecr_repository_urls: Vec<String>,

    /// How long the credentials last, in seconds: 900 (the default) to 43200. AWS refuses more than the role's own maximum, and more than
    /// 3600 if the operator itself runs with an assumed role (role chaining).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 900, max = 43200))]
    pub duration_seconds: Option<i32>,

    /// How many seconds before they expire the credentials are replaced: at least 60, and less than `durationSeconds`. The default is a third
    /// of the lifetime or 480, whichever is larger, but never more than half the lifetime: a mounted Secret takes up to two minutes to reach
    /// a pod, and AWS SDKs read a credentials file again every five.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 43199))]
    pub refresh_before_seconds: Option<i32>,

    /// Region of the STS endpoint to call. The default is the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = ("self.matches('^[a-z]{2,}(-[a-z]+)+-[0-9]+$')", "region is an AWS Region: eu-west-1"))]
    pub region: Option<String>,

    /// Further settings of the session: its name, policies, tags and external ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionSpec>,

    /// With `secretType: Template` only: the content of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateSpec>,

    /// Labels and annotations to put on the Secret, up to 65536 characters together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_template: Option<SecretTemplate>,

    /// A ServiceAccount in the namespace of this resource. The role is assumed as that ServiceAccount, with a token of it
    /// (`AssumeRoleWithWebIdentity`), and not as the operator. The role's trust policy decides by `system:serviceaccount:<namespace>:<name>` who
    /// may have it, and a session may last up to 43200 seconds. `session.tags`, `session.transitiveTagKeys`, `session.externalId` and
    /// `session.sourceIdentity` do not go with it. The operator needs the right to ask for tokens: `serviceAccountTokens.enabled` of its chart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = ("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
        "serviceAccountName is the name of a ServiceAccount in the namespace of this resource: lower case letters, digits, '-' and '.', beginning and ending with a letter or digit"))]
    pub service_account_name: Option<String>,

    /// `true` stops refreshing. The Secret is left as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// The forms in which a Secret can hold the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
pub enum SecretType {
    /// `awsAccessKeyId`, `awsSecretAccessKey` and `awsSessionToken`, a key each.
    Map,
    /// `credentials`: an AWS shared credentials file.
    File,
    /// `.dockerconfigjson`: a login for ECR repositories or registries.
    EcrDockerConfigJson,
    /// `config` and `credentials.json`: a configuration whose `credential_process` prints the credentials, which AWS SDKs run again
    /// when they run out.
    CredentialProcess,
    /// The keys of `template.data`.
    Template,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_of_the_predecessors_is_read() {
        let resource: AWSAssumeRole = serde_json::from_value(json!({
            "apiVersion": "pincette.net/v1",
            "kind": "AWSAssumeRole",
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"roleName": "r", "secretName": "s", "secretType": "Map", "ecrRepositoryUrl": null},
            "status": {
                "phase": "Ready",
                "health": {"status": "Healthy"},
                "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": "yesterday, about noon"},
                    {"type": "Ready", "status": "False", "message": null}
                ]
            }
        }))
        .unwrap();
        let status = resource.status.unwrap();
        assert_eq!(status.phase.as_deref(), Some("Ready"));
        assert_eq!(status.conditions.len(), 2);
        assert_eq!(status.conditions[1].message, "");
    }

    #[test]
    fn a_status_that_makes_no_sense_does_not_hide_the_resource() {
        let status: AWSAssumeRoleStatus = serde_json::from_value(json!({
            "expiration": "soon",
            "failures": "many",
            "health": "fine",
            "conditions": {"not": "a list"},
            "roleArn": "arn:aws:iam::123456789012:role/r"
        }))
        .unwrap();
        assert_eq!(
            status,
            AWSAssumeRoleStatus {
                role_arn: Some("arn:aws:iam::123456789012:role/r".into()),
                ..Default::default()
            }
        );
    }
}
