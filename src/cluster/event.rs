//! Events, `events.k8s.io/v1`: what one says, and the object that the API server takes.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as EventObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Resource as _;
use serde_json::{Value, json};

use crate::api::AWSAssumeRole;
use crate::spec::ResourceKey;

/// The reporting controller, by which people filter.
const CONTROLLER: &str = "pincette.net/aws-assume-role";

/// The longest note that the API server takes, in bytes.
/// <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>
const NOTE_MAX: usize = 1024;

/// What an event of a resource says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should look.
    pub severity: Severity,
    /// Why, in one CamelCase word.
    pub reason: &'static str,
    /// What was being done, in one CamelCase word.
    pub action: &'static str,
    /// What happened, in a sentence or two.
    note: String,
}

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::AsRefStr)]
pub enum Severity {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Event {
    /// An event. A note that is too long for the API server is cut.
    #[must_use]
    pub fn new(severity: Severity, reason: &'static str, action: &'static str, note: impl Into<String>) -> Self {
        let note: String = note.into();
        let note = match note.len() > NOTE_MAX {
            true => format!("{}…", &note[..note.floor_char_boundary(NOTE_MAX - '…'.len_utf8())]),
            false => note,
        };
        Self {
            severity,
            reason,
            action,
            note,
        }
    }

    /// What happened.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// How much of a resource's name goes into that of its event: that may have 253 characters, with a dot and sixteen digits.
const NAME_MAX: usize = 230;

/// The longest name of an instance that the API server takes.
const INSTANCE_MAX: usize = 128;

/// An event that happens for the first time.
pub(super) fn object(resource: &ResourceKey, event: &Event, instance: &str, now: Timestamp) -> EventObject {
    EventObject {
        metadata: ObjectMeta {
            name: Some(name(resource, now)),
            namespace: Some(resource.namespace.to_string()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some(AWSAssumeRole::api_version(&()).into_owned()),
            kind: Some(AWSAssumeRole::kind(&()).into_owned()),
            namespace: Some(resource.namespace.to_string()),
            name: Some(resource.name.to_string()),
            uid: Some(resource.uid.to_string()),
            ..ObjectReference::default()
        }),
        type_: Some(event.severity.as_ref().to_owned()),
        reason: Some(event.reason.to_owned()),
        action: Some(event.action.to_owned()),
        note: Some(event.note.clone()),
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.chars().take(INSTANCE_MAX).collect()),
        ..EventObject::default()
    }
}

/// What changes on an event that happens once more.
pub(super) fn repeated(count: i32, now: Timestamp) -> Value {
    json!({"series": {"count": count, "lastObservedTime": MicroTime(now)}})
}

/// A name as client-go makes it: that of the resource, and the time.
fn name(resource: &ResourceKey, now: Timestamp) -> String {
    // A resource's name is a DNS subdomain, and so ASCII; what is left of one must not end in a dot or a hyphen.
    let stem: String = resource.name.chars().take(NAME_MAX).collect();
    format!("{}.{:x}", stem.trim_end_matches(['.', '-']), now.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::fixtures::key;

    #[test]
    fn a_note_fits() {
        let event = |note: String| Event::new(Severity::Normal, "Issued", "Refresh", note);
        let long = event("ä".repeat(2000));
        assert!(long.note().len() <= NOTE_MAX && long.note().len() > NOTE_MAX - 5);
        assert_eq!(event("short".into()).note(), "short");
    }

    #[test]
    fn a_name_fits_and_is_one() {
        let resource = |name: String| ResourceKey {
            name: name.into(),
            ..key()
        };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(name(&resource("mine".into()), now), "mine.18fae27693b40000");
        let long = name(&resource(format!("{}.{}", "a".repeat(229), "b".repeat(23))), now);
        assert!(long.len() <= 253 && !long.contains(".."), "{long}");
    }
}
