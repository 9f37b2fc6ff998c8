//! What the operator's writes make of a stored Secret, and who is then said to have written what.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use aws_assume_role::credentials::ExposeSecret;
use aws_assume_role::secret::{DesiredSecret, ObservedSecret, Provenance, Repair, SPEC_HASH_ANNOTATION};

use super::{ApiServer, Stored};

impl ApiServer {
    /// A Secret as the operator writes it, in place of one that may be there. What somebody touched and set back stays in that other's name,
    /// since the operator's write does not change it.
    pub(super) fn written(&self, secret: &DesiredSecret, before: Option<&Stored>) -> Stored {
        let texts = || secret.data.0.values().map(|value| value.expose_secret());
        let content = texts().filter_map(identity).next().unwrap_or_default();
        let hashed = |text: &str| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            hasher.finish()
        };
        let values: BTreeMap<String, u64> = secret.data.0.keys().cloned().zip(texts().map(hashed)).collect();
        let metadata = secret.object_metadata(before.map(|before| &before.seen));
        let known = before
            .and_then(|before| before.seen.provenance.clone())
            .unwrap_or_default();
        let stays = |key: &&String| {
            known.others.contains(*key) && before.is_some_and(|before| before.values.get(*key) == values.get(*key))
        };
        let others: BTreeSet<String> = values.keys().filter(stays).cloned().collect();
        let hash = |metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
            let annotations = metadata.annotations.as_ref();
            annotations.and_then(|annotations| annotations.get(SPEC_HASH_ANNOTATION).cloned())
        };
        let touched = before.filter(|_| !known.annotations);
        let stays_theirs = touched.is_some_and(|before| hash(&before.seen.metadata) == hash(&metadata));
        let foreign_label = before.is_some_and(|before| before.foreign_label);
        let theirs_is_empty = others.is_empty() && !stays_theirs && !foreign_label;
        let provenance = Provenance {
            ours: values.keys().filter(|key| !others.contains(*key)).cloned().collect(),
            others,
            annotations: !stays_theirs,
            our_last_write: Some(self.second()),
            their_last_write: known.their_last_write.filter(|_| !theirs_is_empty),
            their_writes: if theirs_is_empty { 0 } else { known.their_writes },
        };
        Stored {
            seen: ObservedSecret {
                metadata,
                provenance: Some(provenance),
                forged: false,
            },
            type_: secret.type_.to_owned(),
            content,
            values,
            spoilt: None,
            forged_unseen: false,
            unclaimed: false,
            foreign_label,
        }
    }

    /// A Secret with what the operator puts right on it. Only who writes something is recorded, not who takes something off.
    pub(super) fn repaired(&self, mut stored: Stored, repair: &Repair) -> Stored {
        let before = (
            stored.seen.metadata.labels.clone(),
            stored.seen.metadata.annotations.clone(),
        );
        let labels = stored.seen.metadata.labels.get_or_insert_default();
        labels.extend(repair.metadata.labels.clone());
        let annotations = stored.seen.metadata.annotations.get_or_insert_default();
        annotations.extend(repair.metadata.annotations.clone());
        let wrote = before != (Some(labels.clone()), Some(annotations.clone()));
        labels.retain(|key, _| !repair.gone.labels.contains_key(key));
        annotations.retain(|key, _| !repair.gone.annotations.contains_key(key));
        if let Some(provenance) = &mut stored.seen.provenance {
            provenance.others.retain(|key| !repair.foreign_keys.contains(key));
            provenance.ours.retain(|key| !repair.foreign_keys.contains(key));
            for key in repair.emptied.keys() {
                provenance.others.remove(key);
                provenance.ours.insert(key.clone());
            }
            if wrote || !repair.emptied.is_empty() {
                provenance.our_last_write = Some(self.second());
            }
        }
        if !repair.emptied.is_empty() {
            stored.content = String::new();
            stored.spoilt = None;
            stored.values = repair.emptied.keys().map(|key| (key.clone(), 0)).collect();
        }
        stored
    }
}

/// What tells credentials apart, found in the value of a key.
fn identity(text: &str) -> Option<String> {
    let found = |mark: &str, length: usize| text.find(mark).map(|at| text[at..at + length].to_owned());
    found("ASIA", 20).or_else(|| found("ecr-token-", 18 + 65))
}
