use super::*;
use crate::secret::Provenance;
use crate::spec::Format;
use crate::spec::fixtures::{key, spec};
use crate::spec::template::Template;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use std::collections::BTreeMap;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn secret(hash: &str, expiration: &str, controller: Option<bool>, uid: &str) -> ObservedSecret {
    ObservedSecret {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([
                ("pincette.net/spec-hash".into(), hash.into()),
                ("pincette.net/expiration".into(), expiration.into()),
            ])),
            labels: Some(SecretMetadata::of(&spec(Format::Map)).labels),
            owner_references: Some(vec![OwnerReference {
                api_version: "pincette.net/v1".into(),
                kind: "AWSAssumeRole".into(),
                name: "mine".into(),
                uid: uid.into(),
                controller,
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        provenance: None,
        forged: false,
    }
}

fn ours(hash: &str, expiration: &str) -> ObservedSecret {
    secret(hash, expiration, Some(true), "uid-1")
}

/// What is planned for a spec, under a status, in a situation that differs in something from the plain one.
fn planned_for(
    spec: &Spec,
    status: &AWSAssumeRoleStatus,
    observed: Option<&ObservedSecret>,
    now: Timestamp,
    change: impl FnOnce(&mut Situation<'_>),
) -> Plan {
    let resource = key();
    let mut situation = Situation {
        resource: &resource,
        generation: 1,
        spec,
        refresh_request: None,
        status,
        region: None,
        overdue: None,
        now,
    };
    change(&mut situation);
    plan(situation, observed)
}

/// The same for the plain spec, under no status.
fn planned_in(observed: Option<&ObservedSecret>, now: Timestamp, change: impl FnOnce(&mut Situation<'_>)) -> Plan {
    planned_for(
        &spec(Format::Map),
        &AWSAssumeRoleStatus::default(),
        observed,
        now,
        change,
    )
}

fn planned(observed: Option<&ObservedSecret>, now: Timestamp) -> Plan {
    planned_in(observed, now, |_| ())
}

const FULL: fn() -> Validity = || Validity {
    issued: at(0),
    expiration: at(900),
};

#[test]
fn what_is_missing_is_made() {
    assert_eq!(planned(None, at(0)), Plan::Issue(IssueReason::New));
    let status = AWSAssumeRoleStatus {
        secret_name: Some("secret".into()),
        ..Default::default()
    };
    let planned = planned_for(&spec(Format::Map), &status, None, at(0), |_| ());
    assert_eq!(planned, Plan::Issue(IssueReason::Deleted));
}

#[test]
fn a_valid_secret_of_the_same_spec_is_kept_until_it_is_due() {
    let valid = ours("hash", &at(900).to_string());
    assert_eq!(planned(Some(&valid), at(0)), Plan::Keep(FULL()));
    assert_eq!(planned(Some(&valid), at(404)), Plan::Keep(FULL()));
    assert_eq!(planned(Some(&valid), at(450)), Plan::Issue(IssueReason::Due));
    assert_eq!(planned(Some(&valid), at(2000)), Plan::Issue(IssueReason::Due));
    let overdue = planned_in(Some(&valid), at(0), |situation| situation.overdue = Some(at(900)));
    assert_eq!(overdue, Plan::Issue(IssueReason::Due));
}

#[test]
fn another_spec_or_no_end_asks_for_new_credentials() {
    let end = at(900).to_string();
    for (stale, reason) in [
        (ours("other", &end), IssueReason::SpecChanged),
        (ours("hash", "tomorrow"), IssueReason::UnknownEnd),
        (ours("hash", ""), IssueReason::UnknownEnd),
        (ours("hash", &at(5000).to_string()), IssueReason::UnknownEnd),
    ] {
        assert_eq!(planned(Some(&stale), at(0)), Plan::Issue(reason));
    }
}

#[test]
fn what_an_earlier_resource_left_is_collected_after_a_while() {
    let earlier = secret("hash", &at(900).to_string(), Some(true), "uid-0");
    let after = |failures: i32, observed: &ObservedSecret| {
        let status = AWSAssumeRoleStatus {
            observed_generation: Some(1),
            failures: Some(failures),
            ..AWSAssumeRoleStatus::default()
        };
        planned_for(&spec(Format::Map), &status, Some(observed), at(0), |_| ())
    };
    assert_eq!(after(1, &earlier), Plan::Terminating);
    assert_eq!(after(2, &earlier), Plan::Collect);
    let mut deleted = earlier;
    deleted.metadata.deletion_timestamp = Some(Time(at(0)));
    assert_eq!(after(9, &deleted), Plan::Terminating);
}

#[test]
fn a_secret_is_written_only_by_its_owner() {
    let end = at(900).to_string();
    let mentioned = secret("hash", &end, None, "uid-1");
    assert_eq!(planned(Some(&mentioned), at(0)), Plan::Issue(IssueReason::Adopted));
    assert_eq!(
        planned(Some(&secret("hash", &end, Some(true), "uid-0")), at(0)),
        Plan::Terminating
    );
    assert!(matches!(
        planned(Some(&ObservedSecret::default()), at(0)),
        Plan::Foreign(_)
    ));
}

#[test]
fn a_request_is_answered_once() {
    let mut valid = ours("hash", &at(900).to_string());
    let requested = |secret: &ObservedSecret, request: &'static str| {
        planned_in(Some(secret), at(1), |situation| {
            situation.refresh_request = Some(request)
        })
    };
    assert_eq!(requested(&valid, "1"), Plan::Issue(IssueReason::Requested));
    let annotations = valid.metadata.annotations.as_mut().unwrap();
    annotations.insert("pincette.net/refresh".into(), "1".into());
    assert_eq!(requested(&valid, "1"), Plan::Keep(FULL()));
    assert_eq!(requested(&valid, "2"), Plan::Issue(IssueReason::Requested));
}

#[test]
fn a_template_that_shows_another_region_is_rendered_anew() {
    let template = spec(Format::Template(Template {
        data: BTreeMap::from([("key".into(), "{{ region }}".into())]),
        ..Template::default()
    }));
    let elsewhere = Spec {
        region: Some("eu-central-1".into()),
        ..template.clone()
    };
    let mut rendered = ours("hash", &at(900).to_string());
    let annotations = rendered.metadata.annotations.as_mut().unwrap();
    annotations.insert("pincette.net/region".into(), "us-east-1".into());
    let has_another = |spec: &Spec, region| has_another_region(spec, &rendered, region);
    assert!(has_another(&template, Some("eu-west-1")));
    assert!(!has_another(&template, Some("us-east-1")));
    assert!(!has_another(&template, None), "one that is not known replaces none");
    assert!(!has_another(&elsewhere, Some("eu-west-1")));
    assert!(!has_another(&spec(Format::Map), Some("eu-west-1")));
    let silent = ours("hash", &at(900).to_string());
    assert!(
        !has_another_region(&template, &silent, Some("eu-west-1")),
        "an upgrade changes nothing"
    );
}

#[test]
fn what_is_wrong_beside_the_credentials_is_repaired_without_new_ones() {
    let mut unlabelled = ours("hash", &at(900).to_string());
    unlabelled.metadata.labels = None;
    let repaired = |secret: &ObservedSecret, generation| {
        planned_in(Some(secret), at(1), |situation| situation.generation = generation)
    };
    // The plain status speaks of no generation: what is wrong may come from another spec.
    assert_eq!(
        repaired(&unlabelled, 1),
        Plan::Repair(FULL(), RepairReason::SpecChanged)
    );

    let mut crowded = ours("hash", &at(900).to_string());
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
    crowded.provenance = Some(Provenance {
        ours: keys(&Format::Map.keys()),
        others: keys(&["extra"]),
        annotations: true,
        ..Provenance::default()
    });
    assert_eq!(repaired(&crowded, 1), Plan::Repair(FULL(), RepairReason::SpecChanged));
    let status = AWSAssumeRoleStatus {
        observed_generation: Some(1),
        ..Default::default()
    };
    let by_generation = planned_for(&spec(Format::Map), &status, Some(&crowded), at(1), |_| ());
    assert_eq!(by_generation, Plan::Repair(FULL(), RepairReason::Edited));

    crowded.provenance.as_mut().unwrap().ours.remove("awsSessionToken");
    assert_eq!(planned(Some(&crowded), at(1)), Plan::Issue(IssueReason::Edited));
}

#[test]
fn nothing_is_done_while_suspended() {
    let mut suspended = spec(Format::Map);
    suspended.suspend = true;
    for observed in [None, Some(&ObservedSecret::default())] {
        let status = AWSAssumeRoleStatus::default();
        let planned = planned_for(&suspended, &status, observed, at(0), |situation| {
            situation.refresh_request = Some("now");
            situation.overdue = Some(at(900));
        });
        assert_eq!(planned, Plan::Suspended);
    }
}

#[test]
fn the_status_tells_the_beginning_of_a_short_life() {
    // AWS gave 60 s only; without the status one would take it for the end of 900 s, and overdue.
    let status = AWSAssumeRoleStatus {
        expiration: Some(Time(at(60))),
        last_refresh_time: Some(Time(at(0))),
        ..Default::default()
    };
    let short = ours("hash", &at(60).to_string());
    let with = |status: &AWSAssumeRoleStatus| planned_for(&spec(Format::Map), status, Some(&short), at(20), |_| ());
    let validity = Validity {
        issued: at(0),
        expiration: at(60),
    };
    assert_eq!(with(&status), Plan::Keep(validity));
    assert_eq!(planned(Some(&short), at(20)), Plan::Issue(IssueReason::Due));

    // A status that speaks of other credentials tells nothing.
    let other = AWSAssumeRoleStatus {
        expiration: Some(Time(at(61))),
        ..status
    };
    assert_eq!(with(&other), Plan::Issue(IssueReason::Due));
}
