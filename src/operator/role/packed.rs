//! A value in as few bytes as it takes. Most of what an operator of many resources keeps is looked at once in many minutes.

use std::marker::PhantomData;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What statuses and Secrets have in common, so that only what tells them apart takes room. Another text makes them larger and nothing else:
/// what is packed never leaves the process.
const DICTIONARY: &[u8] = br#"{"metadata":{"annotations":{"pincette.net/expiration":"2026-01-01T12:00:00Z","pincette.net/region":"eu-west-1","pincette.net/refresh":"","pincette.net/spec-hash":"","pincette.net/secret-template":"{\"labels\":[],\"annotations\":[]}"},"creationTimestamp":"2026-01-01T12:00:00Z","labels":{"app.kubernetes.io/managed-by":"aws-assume-role","aws-assume-role":"true"},"name":"","namespace":"","ownerReferences":[{"apiVersion":"pincette.net/v1","blockOwnerDeletion":true,"controller":true,"kind":"AWSAssumeRole","name":"","uid":""}],"resourceVersion":"1","uid":""},"provenance":{"ours":[".dockerconfigjson","awsAccessKeyId","awsSecretAccessKey","awsSessionToken","config","credentials","credentials.json"],"others":[],"annotations":true,"our_last_write":"2026-01-01T12:00:00Z","their_last_write":null,"their_writes":0},"forged":false}{"observedGeneration":1,"conditions":[{"type":"Ready","status":"False","reason":"Pending","message":"","lastTransitionTime":"2026-01-01T12:00:00Z","observedGeneration":1},{"type":"Refreshed","status":"True","reason":"Issued","message":"The Secret holds credentials of arn:aws:iam::123456789012:role/","lastTransitionTime":"2026-01-01T12:00:00Z","observedGeneration":1}],"roleArn":"arn:aws:iam::123456789012:role/","secretName":"","expiration":"2026-01-01T12:15:00Z","lastRefreshTime":"2026-01-01T12:00:00Z","nextRefreshTime":"2026-01-01T12:07:00Z","failures":0,"phase":"Ready","health":{"status":"Healthy"}}"#;

/// A value, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed<T>(Box<[u8]>, PhantomData<fn() -> T>);

impl<T: Serialize + DeserializeOwned> Packed<T> {
    /// Packs a value. `None` for one that JSON cannot hold, of which the operator has none.
    #[must_use]
    pub fn new(value: &T) -> Option<Self> {
        let bytes = serde_json::to_vec(value).ok()?;
        let packed = compress_prepend_size_with_dict(&bytes, DICTIONARY);
        // As long as it is, without what was set aside for it.
        Some(Self(packed.as_slice().into(), PhantomData))
    }

    /// The value. `None` for one that does not survive it, of which the operator has none.
    #[must_use]
    pub fn unpack(&self) -> Option<T> {
        let bytes = decompress_size_prepended_with_dict(&self.0, DICTIONARY).ok()?;
        serde_json::from_slice(&bytes).ok()
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

    /// How many bytes a value takes, and how many as JSON.
    fn sizes<T: Serialize + DeserializeOwned>(value: &T) -> (usize, usize) {
        (
            Packed::new(value).unwrap().0.len(),
            serde_json::to_vec(value).unwrap().len(),
        )
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
    fn what_all_have_in_common_takes_no_room() {
        let condition = |type_: &str| {
            json!({
                "type": type_, "status": "True", "reason": "Issued", "observedGeneration": 1,
                "message": "The Secret holds credentials of arn:aws:iam::210987654321:role/reader-of-something.",
                "lastTransitionTime": "2027-03-04T05:06:07Z",
            })
        };
        let status: AWSAssumeRoleStatus = serde_json::from_value(json!({
            "observedGeneration": 1, "conditions": [condition("Ready"), condition("Refreshed")],
            "roleArn": "arn:aws:iam::210987654321:role/reader-of-something", "secretName": "reader-of-something",
            "expiration": "2027-03-04T05:21:07Z", "lastRefreshTime": "2027-03-04T05:06:07Z",
            "nextRefreshTime": "2027-03-04T05:13:04Z", "failures": 0, "phase": "Ready", "health": {"status": "Healthy"},
        }))
        .unwrap();
        let (packed, plain) = sizes(&status);
        assert!(packed < plain / 3, "{packed} of {plain}");

        let metadata: ObjectMeta = serde_json::from_value(json!({
            "namespace": "some-team", "name": "reader-of-something", "uid": "d9b5c1a0-3f7e-4a55-9a27-6c0f4b1e8d21",
            "resourceVersion": "1234567", "creationTimestamp": "2027-03-04T05:06:07Z",
            "labels": {"app.kubernetes.io/managed-by": "aws-assume-role", "aws-assume-role": "true"},
            "annotations": {"pincette.net/expiration": "2027-03-04T05:21:07Z", "pincette.net/spec-hash": "0123456789abcdef0123456789abcdef"},
            "ownerReferences": [{"apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole", "name": "reader-of-something",
                "uid": "6b1f6f52-7d0e-4bd1-8d7e-0a8e0ce1b6f3", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "aws-assume-role", "operation": "Update", "time": "2027-03-04T05:06:07Z",
                "fieldsV1": {"f:data": {"f:credentials": {}}}}],
        }))
        .unwrap();
        let (packed, plain) = sizes(&ObservedSecret::new(metadata));
        assert!(packed < plain / 2, "{packed} of {plain}");
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
