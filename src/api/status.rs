//! The status that the operator answers with, and the words it uses.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// What the operator says about a resource. Each field is read leniently: a status is only ever replaced, and one that another
/// program wrote must not make the resource unreadable.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[schemars(description = "What the operator says about the resource.")]
#[serde(rename_all = "camelCase", default)]
pub struct AWSAssumeRoleStatus {
    /// The generation of the spec that this status is about.
    #[serde(deserialize_with = "lenient")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the Secret holds credentials that are valid now. `Refreshed`: the last attempt to refresh them succeeded.
    #[serde(deserialize_with = "lenient")]
    pub conditions: Vec<Condition>,
    /// The role that was assumed.
    #[serde(deserialize_with = "lenient")]
    pub role_arn: Option<String>,
    /// The Secret that was written.
    #[serde(deserialize_with = "lenient")]
    pub secret_name: Option<String>,
    /// When the credentials in the Secret expire.
    #[serde(deserialize_with = "lenient_time")]
    #[schemars(schema_with = "time_schema")]
    pub expiration: Option<Time>,
    /// When the credentials in the Secret were issued.
    #[serde(deserialize_with = "lenient_time")]
    #[schemars(schema_with = "time_schema")]
    pub last_refresh_time: Option<Time>,
    /// When the next attempt is due.
    #[serde(deserialize_with = "lenient_time")]
    #[schemars(schema_with = "time_schema")]
    pub next_refresh_time: Option<Time>,
    /// How many attempts have failed since the last success.
    #[serde(deserialize_with = "lenient_count")]
    pub failures: Option<i32>,
    /// `Ready`, `Pending` or `Error`.
    #[serde(deserialize_with = "lenient")]
    pub phase: Option<String>,
    /// The health that Argo CD shows.
    #[serde(deserialize_with = "lenient")]
    pub health: Option<Health>,
}

impl AWSAssumeRoleStatus {
    /// Whether the status speaks of that generation of the spec.
    #[must_use]
    pub fn is_of_generation(&self, generation: i64) -> bool {
        self.observed_generation == Some(generation)
    }

    /// The condition of that type.
    #[must_use]
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_.as_ref())
    }

    /// Whether the condition of that type is `True`, `False` or `Unknown`. `None` where there is no such condition.
    #[must_use]
    pub fn condition_status(&self, type_: ConditionType) -> Option<ConditionStatus> {
        self.condition(type_)?.status.parse().ok()
    }

    /// Whether the Secret held valid credentials when the status was written.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition_status(ConditionType::Ready) == Some(ConditionStatus::True)
    }

    /// Whether the last attempt failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.condition_status(ConditionType::Refreshed) == Some(ConditionStatus::False)
    }

    /// Why the last attempt failed, if it did.
    #[must_use]
    pub fn failure_reason(&self) -> Option<Reason> {
        let refreshed = self.condition(ConditionType::Refreshed).filter(|_| self.has_failed())?;
        refreshed.reason.parse().ok()
    }

    /// Whether the resource was suspended when the status was written.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.condition(ConditionType::Ready)
            .is_some_and(|ready| ready.reason == Reason::Suspended.as_ref())
    }

    /// The phase, where it is one of the three.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.phase.as_deref()?.parse().ok()
    }

    /// How many attempts failed since the last success, by a status of that generation. Another spec is a new beginning.
    #[must_use]
    pub fn failures_of_generation(&self, generation: i64) -> u32 {
        let failures = self.failures.filter(|_| self.is_of_generation(generation));
        failures
            .and_then(|failures| u32::try_from(failures).ok())
            .unwrap_or_default()
    }
}

/// A time, or none. k8s-openapi could say so itself, but makes schemas for all of Kubernetes' types then, which takes a minute to build.
fn time_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": ["string", "null"], "format": "date-time"})
}

/// The types of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr)]
pub enum ConditionType {
    /// The Secret holds credentials that are valid now.
    Ready,
    /// The last attempt succeeded.
    Refreshed,
}

/// What a condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr, strum::EnumString)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It is not known.
    Unknown,
}

/// The phases of the predecessors' status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr, strum::EnumString)]
pub enum Phase {
    /// The Secret holds valid credentials.
    Ready,
    /// The first attempt is under way, or something passes by itself.
    Pending,
    /// The Secret holds no valid credentials.
    Error,
}

/// Health in Argo CD's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Health {
    /// `Healthy`, `Progressing` or `Degraded`.
    #[serde(default, deserialize_with = "lenient")]
    pub status: Option<String>,
}

/// A condition with the fields of `metav1.Condition`. No field is required and no string has a format, because resources carry
/// the conditions of earlier operators until the first status write replaces them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[schemars(description = "One aspect of how the resource stands, as in metav1.Condition.")]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `Ready` or `Refreshed`.
    #[serde(rename = "type", deserialize_with = "lenient")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    #[serde(deserialize_with = "lenient")]
    pub status: String,
    /// Why it is so, in one CamelCase word.
    #[serde(deserialize_with = "lenient")]
    pub reason: String,
    /// What happened and, where that is known, what to do next.
    #[serde(deserialize_with = "lenient")]
    pub message: String,
    /// When `status` last changed: RFC 3339, in UTC.
    #[serde(deserialize_with = "lenient")]
    pub last_transition_time: String,
    /// The generation of the spec that the condition is about.
    #[serde(deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Why a condition is what it is. The words are stable: people write alerts on them.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::AsRefStr,
    strum::Display,
    strum::EnumIter,
    strum::EnumString,
    strum::IntoStaticStr,
)]
pub enum Reason {
    /// The Secret holds credentials, and the last attempt wrote them.
    Issued,
    /// The first attempt is under way, or a Secret of that name is being deleted.
    Pending,
    /// AWS refused: the role does not exist or does not trust the operator.
    AccessDenied,
    /// A value in the spec cannot be used, or AWS refused it.
    InvalidRequest,
    /// AWS asked to slow down, or the credentials ended while the call for others waited for its turn.
    Throttled,
    /// AWS could not be reached or answered with an error of its own.
    AwsUnavailable,
    /// The operator itself has no AWS credentials that work.
    NoIdentity,
    /// A policy of the operator's own role does not let it assume the role.
    NotPermitted,
    /// No `AWSAssumeRolePolicy` permits the role, or not as it is asked for.
    PolicyDenied,
    /// A Secret of that name exists and does not belong to this resource.
    SecretConflict,
    /// The API server does not let the operator write the Secret.
    SecretForbidden,
    /// A template of the spec cannot be rendered.
    TemplateError,
    /// The spec says not to refresh.
    Suspended,
    /// The API server could not be reached or failed, or the Secret kept changing.
    ClusterUnavailable,
}

/// Reads a value if it is one, and takes the default where it is not.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Reads a time, and takes none where there is none that could be written again: RFC 3339 has years of four digits.
fn lenient_time<'de, D>(deserializer: D) -> Result<Option<Time>, D::Error>
where
    D: Deserializer<'de>,
{
    const YEAR_0001: i64 = -62_135_596_800;
    let time: Option<Time> = lenient(deserializer)?;
    Ok(time.filter(|time| time.0.as_second() >= YEAR_0001))
}

/// Reads a number, and takes none where it is negative.
fn lenient_count<'de, D>(deserializer: D) -> Result<Option<i32>, D::Error>
where
    D: Deserializer<'de>,
{
    let count: Option<i32> = lenient(deserializer)?;
    Ok(count.filter(|count| *count >= 0))
}
