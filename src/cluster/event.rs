//! Events as the API server takes them, `events.k8s.io/v1`.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event as EventObject;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use serde_json::{Value, json};

use crate::refresh::event::Event;
use crate::resource::AWSAssumeRole;
use crate::wanted::ResourceKey;

/// Who reports, in the word that people filter by.
const CONTROLLER: &str = "pincette.net/aws-assume-role";

/// How much of a resource's name goes into that of its event: that may have 253 characters, with a dot and sixteen digits.
const NAME_MAX: usize = 230;

/// The longest name of an instance that the API server takes.
const INSTANCE_MAX: usize = 128;

/// An event that happens for the first time.
pub(super) fn object(resource: &ResourceKey, event: &Event, instance: &str, now: Timestamp) -> EventObject {
    EventObject {
        metadata: ObjectMeta {
            name: Some(name(resource, now)),
            namespace: Some(resource.namespace.clone()),
            ..ObjectMeta::default()
        },
        regarding: Some(ObjectReference {
            api_version: Some(AWSAssumeRole::api_version(&()).into_owned()),
            kind: Some(AWSAssumeRole::kind(&()).into_owned()),
            namespace: Some(resource.namespace.clone()),
            name: Some(resource.name.clone()),
            uid: Some(resource.uid.clone()),
            ..ObjectReference::default()
        }),
        type_: Some(if event.is_warning() { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(event.reason.to_string()),
        action: Some(event.action().to_owned()),
        note: Some(event.note.clone()),
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.chars().take(INSTANCE_MAX).collect()),
        ..EventObject::default()
    }
}

/// What changes on an event that happens once more.
pub(super) fn once_more(count: i32, now: Timestamp) -> Value {
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

    #[test]
    fn a_name_fits_and_is_one() {
        let resource = |name: String| ResourceKey {
            namespace: "n".into(),
            name,
            uid: "u".into(),
        };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        assert_eq!(name(&resource("mine".into()), now), "mine.18fae27693b40000");
        let long = name(&resource(format!("{}.{}", "a".repeat(229), "b".repeat(23))), now);
        assert!(long.len() <= 253 && !long.contains(".."), "{long}");
    }
}
