//! A value in as few bytes as it takes. Most of what an operator of many resources keeps is looked at once in many minutes.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed<T>(Box<[u8]>, PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Packed<T> {
    /// Packs a value. `None` for one that JSON cannot hold, of which the operator has none.
    #[must_use]
    pub fn new(value: &T) -> Option<Self> {
        let bytes = serde_json::to_vec(value).ok()?;
        Some(Self(bytes.into(), PhantomData))
    }

    /// The value. `None` for one that does not survive it, of which the operator has none.
    #[must_use]
    pub fn unpack(&self) -> Option<T> {
        serde_json::from_slice(&self.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::api::AWSAssumeRoleStatus;
    use crate::secret::ObservedSecret;

    fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
        assert_eq!(Packed::new(value).unwrap().unpack().as_ref(), Some(value));
    }

    #[test]
    fn what_is_kept_of_a_secret_survives() {
        let metadata: ObjectMeta = serde_json::from_value(json!({
            "namespace": "team", "name": "s", "uid": "u", "resourceVersion": "12",
            "labels": {"aws-assume-role": "true"}, "annotations": {"pincette.net/expiration": "2026-01-01T12:00:00Z"},
            "ownerReferences": [{"apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole", "name": "r", "uid": "v", "controller": true}],
            "managedFields": [
                {"manager": "aws-assume-role", "operation": "Update", "time": "2026-01-01T12:00:00Z", "fieldsV1": {"f:data": {"f:credentials": {}}}},
                {"manager": "other", "operation": "Update", "time": "2026-01-01T12:00:01Z", "fieldsV1": {"f:data": {"f:theirs": {}}}},
            ],
        }))
        .unwrap();
        let seen = ObservedSecret::new(metadata);
        survives(&seen);
        survives(&ObservedSecret { forged: true, ..seen });
        survives(&ObservedSecret::default());
    }

    #[test]
    fn a_status_survives() {
        let time = |second| Some(Time(Timestamp::from_second(second).unwrap()));
        survives(&AWSAssumeRoleStatus {
            observed_generation: Some(3),
            role_arn: Some("arn:aws:iam::123456789012:role/näme".into()),
            expiration: time(1_800_000_000),
            failures: Some(0),
            ..AWSAssumeRoleStatus::default()
        });
        survives(&AWSAssumeRoleStatus::default());
    }
}
