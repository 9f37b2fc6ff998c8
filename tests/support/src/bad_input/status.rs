//! A status that somebody else wrote.

use std::time::Duration;

use aws_assume_role::api::{AWSAssumeRoleStatus, ConditionType};
use aws_assume_role::refresh::outcome::{Failure, Outcome};
use aws_assume_role::refresh::schedule::Validity;
use aws_assume_role::refresh::status::{Facts, ended_waiting, judge, pending};
use aws_assume_role::spec::{InvalidSpec, Resource, Spec};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::choices::Choices;
use super::{Input, json, spec};
use crate::fixtures::{map_spec, resource};

/// The present, in seconds since 1970.
const NOW: i64 = 1_767_225_600;

/// Whether any object is read as a status, and what is read is stable: written and read again it is the same, and so is what is made of it.
pub fn holds(data: &[u8]) {
    let object = match Input::of(data) {
        Input::Text(text) => match serde_json::from_str(&text) {
            Ok(value @ Value::Object(_)) => value,
            _ => return,
        },
        Input::Choices(mut choices) => made(&mut choices),
    };
    let read: AWSAssumeRoleStatus = serde_json::from_value(object.clone()).unwrap();
    let text = object.to_string();
    let from_text: Result<AWSAssumeRoleStatus, _> = serde_json::from_str(&text);
    assert!(from_text.is_ok_and(|from_text| from_text == read), "{text}");
    let known = written_and_read(&read);
    assert_eq!(written_and_read(&known), known);
    for type_ in [ConditionType::Ready, ConditionType::Refreshed] {
        assert_eq!(known.condition(type_), read.condition(type_));
    }
    assert!(!(known.is_ready() && known.condition(ConditionType::Ready).is_none()));
    what_is_made_of_it_is_stable(&read);
}

fn what_is_made_of_it_is_stable(previous: &AWSAssumeRoleStatus) {
    let mut object = resource("mine", &map_spec("mine"));
    object["metadata"]["generation"] = 2.into();
    let Resource { key, spec, .. } = spec::read(&object.to_string()).unwrap();
    let spec: Spec = spec.unwrap();
    let now = Timestamp::from_second(NOW).unwrap();
    let end = now + Duration::from_secs(600);
    let validity = Validity {
        issued: now - Duration::from_secs(300),
        expiration: end,
    };
    let failures = [
        Failure::InvalidSpec(InvalidSpec::Role),
        Failure::SecretConflict {
            secret: "mine".to_owned(),
            holder: "belongs to somebody".to_owned(),
        },
    ];
    let outcomes = failures.into_iter().map(Outcome::Failed);
    let outcomes = outcomes.chain([Outcome::Kept(validity), Outcome::Suspended(None)]);
    for outcome in outcomes {
        for current_expiration in [None, Some(end), Some(now - Duration::from_secs(1))] {
            let facts = Facts {
                resource: &key,
                generation: 2,
                spec: Some(&spec),
                current_expiration,
                unlisted: false,
                now,
            };
            let (status, next) = judge(previous, facts, &outcome);
            can_be_stored(&status);
            assert!(next.is_none_or(|next| next > validity.issued), "{next:?}");
            // Nothing is written again that says nothing new, but that there was one more failure.
            let (again, _) = judge(&written_and_read(&status), facts, &outcome);
            let uncounted = |status: &AWSAssumeRoleStatus| AWSAssumeRoleStatus {
                failures: None,
                next_refresh_time: None,
                ..written_and_read(status)
            };
            assert_eq!(uncounted(&again), uncounted(&status), "{outcome:?}");
            can_be_stored(&pending(previous, facts));
            can_be_stored(&ended_waiting(previous, facts));
        }
    }
}

/// What the operator writes is what it will read, and is such that the definition's schema takes it.
fn can_be_stored(status: &AWSAssumeRoleStatus) {
    let read = written_and_read(status);
    assert_eq!(written_and_read(&read), read);
    assert_eq!(read.conditions, status.conditions);
    let written = serde_json::to_value(status).unwrap();
    for field in ["expiration", "lastRefreshTime", "nextRefreshTime"] {
        if let Some(time) = written[field].as_str() {
            let digits = time.split('-').next().unwrap_or_default();
            assert!(
                digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()),
                "{field}: {time}"
            );
        }
    }
    assert!(written["failures"].as_i64().unwrap_or_default() >= 0);
}

fn written_and_read(status: &AWSAssumeRoleStatus) -> AWSAssumeRoleStatus {
    serde_json::from_str(&serde_json::to_string(status).unwrap()).unwrap()
}

/// A status, or something in its place.
pub fn made(choices: &mut Choices<'_>) -> Value {
    let mut status = json!({});
    for _ in 0..choices.below(8) {
        let field = choices.of(&[
            "observedGeneration",
            "conditions",
            "roleArn",
            "secretName",
            "expiration",
            "lastRefreshTime",
            "nextRefreshTime",
            "failures",
            "phase",
            "health",
            "health.status",
            "unknown",
        ]);
        let value = match (field, choices.below(3)) {
            (_, 0) => json::value(choices, 3),
            ("conditions", _) => {
                let number = choices.below(4);
                (0..number).map(|_| condition(choices)).collect()
            }
            ("expiration" | "lastRefreshTime" | "nextRefreshTime", _) => time(choices),
            ("observedGeneration" | "failures", _) => {
                choices.of(&[json!(2), json!(1), json!(-1), json!(2_147_483_647)])
            }
            ("secretName", _) => choices.of(&["mine", "other", "../other", "a?b"]).into(),
            ("phase", _) => choices.of(&["Ready", "Pending", "Error", "ready"]).into(),
            ("roleArn", _) => choices
                .of(&["arn:aws:iam::123456789012:role/mine", "arn:aws:iam::1:role/x:role/mine"])
                .into(),
            _ => json::text(choices).into(),
        };
        json::put(&mut status, field, value);
    }
    status
}

fn condition(choices: &mut Choices<'_>) -> Value {
    let mut condition = json!({
        "type": choices.of(&["Ready", "Refreshed", "ready", ""]),
        "status": choices.of(&["True", "False", "Unknown", "true", ""]),
        "reason": choices.of(&["Issued", "Suspended", "AccessDenied", "Because", ""]),
        "message": json::text(choices),
        "lastTransitionTime": time(choices),
    });
    if choices.one_in(3) {
        let field = choices.of(&[
            "type",
            "status",
            "reason",
            "message",
            "lastTransitionTime",
            "observedGeneration",
        ]);
        condition[field] = json::value(choices, 2);
    }
    condition
}

/// Moments, and what is none.
fn time(choices: &mut Choices<'_>) -> Value {
    choices
        .of(&[
            json!("2026-01-01T00:10:00Z"),
            json!("2026-01-01T00:10:00.999999999Z"),
            json!("2026-01-01T02:10:00+02:00"),
            json!("2026-01-01t00:10:60z"),
            json!("1970-01-01T00:00:00Z"),
            json!("0000-01-01T00:00:00Z"),
            json!("-000001-01-01T00:00:00Z"),
            json!("-009999-01-02T01:59:59Z"),
            json!("9999-12-30T22:00:00Z"),
            json!("9999-12-31T23:59:59Z"),
            json!("+010000-01-01T00:00:00Z"),
            json!("2026-01-01"),
            json!("yesterday"),
            json!(1_767_225_600),
            json!(null),
        ])
        .clone()
}
