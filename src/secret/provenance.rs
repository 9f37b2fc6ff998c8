//! Who wrote what of a Secret.
//!
//! The API server keeps account of it for every field, so that an edit by hand shows in the metadata, also one that was made while the
//! operator was away, and the content need not be looked at.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{EXPIRATION_ANNOTATION, SPEC_HASH_ANNOTATION};

/// The name under which the API server records the operator's writes.
pub const FIELD_MANAGER: &str = "aws-assume-role";

/// The annotations on which the operator relies.
const RELIED_ON: [&str; 2] = [EXPIRATION_ANNOTATION, SPEC_HASH_ANNOTATION];

/// The most keys of one writer that are remembered of a Secret. The operator writes 64 at most; foreign ones are taken off by and by.
const KEYS_MAX: usize = 256;

/// Who wrote what of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Provenance {
    /// The keys of the content whose values are the operator's.
    pub ours: BTreeSet<String>,
    /// The keys of the content whose values somebody else wrote.
    pub others: BTreeSet<String>,
    /// Whether the annotations on which the operator relies are its own.
    pub annotations: bool,
    /// When something was last written under the operator's name, in whole seconds.
    pub our_last_write: Option<Timestamp>,
    /// When somebody else last wrote something, in whole seconds.
    pub their_last_write: Option<Timestamp>,
    /// Changes whenever somebody else writes something, at the latest a second later.
    pub their_writes: u64,
}

impl Provenance {
    pub(super) fn of(entries: &[ManagedFieldsEntry]) -> Self {
        let mut provenance = Self::default();
        let mut annotations = BTreeSet::new();
        let mut their_writes = DefaultHasher::new();
        for entry in entries {
            let time = entry.time.as_ref().map(|time| time.0);
            let keys = entry.fields_v1.as_ref().map(|fields| &fields.0["f:data"]);
            let keys = keys.into_iter().flat_map(names);
            if is_ours(entry) {
                let fields = entry.fields_v1.as_ref();
                annotations.extend(
                    fields
                        .into_iter()
                        .flat_map(|fields| names(&fields.0["f:metadata"]["f:annotations"])),
                );
                provenance.ours.extend(keys.take(KEYS_MAX));
                provenance.our_last_write = provenance.our_last_write.max(time);
            } else {
                provenance.others.extend(keys.take(KEYS_MAX));
                provenance.their_last_write = provenance.their_last_write.max(time);
                let fields = entry.fields_v1.as_ref().map(|fields| fields.0.to_string());
                (&entry.manager, &entry.operation, time, fields).hash(&mut their_writes);
            }
        }
        provenance.annotations = RELIED_ON.iter().all(|key| annotations.contains(*key));
        provenance.their_writes = their_writes.finish();
        provenance
    }

    /// Whether somebody wrote under the operator's own name since `before`, when the operator itself did not. `in_the_same_second` says that the
    /// operator has just written, and that nothing that it knows of was taken off since: whoever only takes off leaves no trace of a name.
    #[must_use]
    pub fn is_forged_since(&self, before: &Self, in_the_same_second: bool) -> bool {
        let nobody_else_wrote = self.their_writes == before.their_writes;
        let later = self.our_last_write > before.our_last_write;
        // Times are in whole seconds. What changed without a trace of anybody, so soon after the operator's own write, was done under its name.
        // Later there are innocent reasons: an API server that encrypts its store with another key, a label that went.
        let unexplained = in_the_same_second && self.ours == before.ours && self.their_last_write < self.our_last_write;
        nobody_else_wrote && (later || unexplained)
    }
}

/// The managed fields of a Secret with what the operator relies on in its own name alone, or nothing where they are so already.
///
/// A write takes over only the fields that it changes. One that somebody touched and set back stays theirs however often the operator writes
/// the same value again, so that it would count as edited for ever.
#[must_use]
pub fn claimed<'a>(
    entries: &[ManagedFieldsEntry],
    data_keys: impl Iterator<Item = &'a str>,
    now: Timestamp,
) -> Option<Vec<ManagedFieldsEntry>> {
    let data: BTreeSet<String> = data_keys.map(|key| format!("f:{key}")).collect();
    let annotations: BTreeSet<String> = RELIED_ON.iter().map(|key| format!("f:{key}")).collect();
    let ours = entries.iter().filter(|entry| is_ours(entry));
    let owned = |path: &str, wanted: &BTreeSet<String>| {
        wanted.iter().all(|name| {
            let mut sets = ours
                .clone()
                .filter_map(|entry| entry.fields_v1.as_ref()?.0.pointer(path));
            sets.any(|set| set.get(name).is_some())
        })
    };
    if owned("/f:data", &data) && owned("/f:metadata/f:annotations", &annotations) {
        return None;
    }
    let mut claimed = entries.to_vec();
    // A list that somebody wiped out begins anew. The API server tracks no writes to a Secret that has none.
    let is_ours_by_update = |entry: &ManagedFieldsEntry| is_ours(entry) && entry.operation.as_deref() == Some("Update");
    let ours = claimed.iter().position(is_ours_by_update).unwrap_or_else(|| {
        claimed.push(own_entry(now));
        claimed.len() - 1
    });
    let fields = &mut claimed[ours].fields_v1.as_mut()?.0;
    for (path, wanted) in [
        (&["f:data"][..], &data),
        (&["f:metadata", "f:annotations"][..], &annotations),
    ] {
        let set = descend(fields, path)?;
        for name in wanted {
            set.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        }
    }
    for (_, entry) in claimed.iter_mut().enumerate().filter(|(index, _)| *index != ours) {
        let Some(fields) = &mut entry.fields_v1 else {
            continue;
        };
        for (path, taken) in [("/f:data", &data), ("/f:metadata/f:annotations", &annotations)] {
            if let Some(Value::Object(set)) = fields.0.pointer_mut(path) {
                set.retain(|name, _| !taken.contains(name));
                // An empty set would mean the whole.
                if set.is_empty()
                    && let Some((above, name)) = path.rsplit_once('/')
                    && let Some(Value::Object(above)) = fields.0.pointer_mut(above)
                {
                    above.remove(name);
                }
            }
        }
    }
    Some(claimed)
}

/// An entry of the operator that owns nothing yet.
fn own_entry(now: Timestamp) -> ManagedFieldsEntry {
    ManagedFieldsEntry {
        manager: Some(FIELD_MANAGER.to_owned()),
        operation: Some("Update".to_owned()),
        api_version: Some("v1".to_owned()),
        fields_type: Some("FieldsV1".to_owned()),
        fields_v1: Some(FieldsV1(Value::Object(Map::new()))),
        time: Some(Time(now)),
        subresource: None,
    }
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
}

/// The set of fields at a path, made where there is none.
fn descend<'a>(fields: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut set = fields.as_object_mut()?;
    for name in path {
        let below = set.entry(*name).or_insert_with(|| Value::Object(Map::new()));
        set = below.as_object_mut()?;
    }
    Some(set)
}

/// The names of the fields in a set of the form `{"f:name": {}, ".": {}}`.
fn names(fields: &Value) -> impl Iterator<Item = String> {
    fields
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys())
        .filter_map(|key| key.strip_prefix("f:"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entries(entries: Value) -> Vec<ManagedFieldsEntry> {
        serde_json::from_value(entries).unwrap()
    }

    fn entry(manager: &str, time: &str, data: &[&str], annotations: &[&str]) -> Value {
        let set = |names: &[&str]| {
            names
                .iter()
                .map(|name| (format!("f:{name}"), json!({})))
                .collect::<Map<_, _>>()
        };
        json!({"manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": {
            "f:data": set(data), "f:metadata": {"f:annotations": set(annotations)},
        }})
    }

    const NOON: &str = "2026-01-01T12:00:00Z";
    const LATER: &str = "2026-01-01T12:00:07Z";

    #[test]
    fn a_field_that_somebody_touched_and_set_back_is_claimed_and_the_rest_is_left() {
        let touched = entries(json!([
            entry("aws-assume-role", NOON, &["credentials.json"], &[EXPIRATION_ANNOTATION]),
            entry(
                "kubectl-annotate",
                LATER,
                &["config", "theirs"],
                &[SPEC_HASH_ANNOTATION, "theirs"]
            ),
        ]));
        let keys = ["config", "credentials.json"];
        let claimed_entries = claimed(&touched, keys.into_iter(), at(NOON)).unwrap();
        let provenance = Provenance::of(&claimed_entries);
        assert!(provenance.annotations);
        assert_eq!(provenance.ours, keys.map(str::to_owned).into());
        assert_eq!(provenance.others, ["theirs".to_owned()].into());
        assert_eq!(
            claimed_entries[1].fields_v1.as_ref().unwrap().0["f:metadata"]["f:annotations"],
            json!({"f:theirs": {}})
        );
        assert_eq!(
            claimed(&claimed_entries, keys.into_iter(), at(NOON)),
            None,
            "once is enough"
        );
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn who_wrote_what_is_written_anew_where_somebody_wiped_it_out() {
        let claimed = claimed(&[], ["credentials"].into_iter(), at(NOON)).unwrap();
        let provenance = Provenance::of(&claimed);
        assert!(provenance.annotations && provenance.ours.contains("credentials"));
        assert_eq!(provenance.our_last_write, Some(at(NOON)));
    }

    #[test]
    fn an_entry_of_another_operation_counts_as_well() {
        let mut applied = entry("aws-assume-role", NOON, &["credentials"], &RELIED_ON);
        applied["operation"] = json!("Apply");
        assert_eq!(
            claimed(&entries(json!([applied])), ["credentials"].into_iter(), at(NOON)),
            None
        );
    }

    #[test]
    fn a_version_that_nobody_made_long_after_a_write_is_no_forgery() {
        let written = Provenance::of(&entries(json!([entry(
            "aws-assume-role",
            NOON,
            &["credentials"],
            &RELIED_ON
        )])));
        assert!(!written.is_forged_since(&written, false), "stored anew");
        assert!(written.is_forged_since(&written, true));
    }

    #[test]
    fn a_write_under_the_operators_own_name_is_told_from_others() {
        let ours = |time: &str| entry("aws-assume-role", time, &["credentials"], &RELIED_ON);
        let theirs = |time: &str| entry("controller", time, &[], &["theirs"]);
        let provenance = |list: Value| Provenance::of(&entries(list));
        let written = provenance(json!([ours(NOON)]));
        assert!(provenance(json!([ours(LATER)])).is_forged_since(&written, true));
        assert!(
            provenance(json!([ours(NOON)])).is_forged_since(&written, true),
            "in the same second"
        );
        assert!(
            !provenance(json!([ours(NOON)])).is_forged_since(&written, false),
            "something was taken off"
        );
        assert!(!provenance(json!([ours(NOON), theirs(LATER)])).is_forged_since(&written, true));
        let beside = provenance(json!([ours(NOON), theirs(NOON)]));
        assert!(!provenance(json!([ours(NOON), theirs(LATER)])).is_forged_since(&beside, true));
        assert!(
            !beside.is_forged_since(&beside, true),
            "perhaps the other once more in that second"
        );
        assert!(provenance(json!([ours(LATER), theirs(NOON)])).is_forged_since(&beside, true));
    }
}
