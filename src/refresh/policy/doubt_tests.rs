use serde_json::{Value, json};

use super::UnlistedNamespaces::{Allow, Deny};
use super::tests::{Asker, ROLE, asker, labels, policies, policy, read, selecting, unreadable};
use super::*;

#[test]
fn a_policy_selects_namespaces_by_all_of_its_labels() {
    let by_label = policies(&[selecting(&json!({"team": "a", "tier": "1"}), &json!({}))]);
    assert!(by_label.readable.values().all(|policy| policy.selects_by_label()));
    let under = |labels| Asker { labels, ..asker() }.asks(&by_label, Allow);
    assert_eq!(
        under(labels(&[("team", "a"), ("tier", "1"), ("x", "y")])),
        Ruling::Permitted
    );
    for other in [&[("team", "a")][..], &[("team", "a"), ("tier", "2")], &[]] {
        assert_eq!(under(labels(other)), Ruling::Unlisted);
    }
}

#[test]
fn labels_that_are_not_known_hold_what_depends_on_them() {
    let unknown = |role_arn: &str| Asker {
        labels: None,
        ..Asker::of(role_arn)
    };
    let by_label = selecting(&json!({"team": "a"}), &json!({}));
    let other = "arn:aws:iam::123456789012:role/team-b/x";
    let by_name = policy(&json!({"roles": [other]}));
    let named_and_labelled = policies(&[by_name, by_label.clone()]);
    let labelled = policies(&[by_label]);
    assert_eq!(unknown(other).asks(&named_and_labelled, Allow), Ruling::Permitted);
    assert!(matches!(
        unknown("nonsense").asks(&named_and_labelled, Allow),
        Ruling::Denied(_)
    ));
    assert!(matches!(
        unknown(ROLE).asks(&named_and_labelled, Allow),
        Ruling::Held(_)
    ));
    assert_eq!(
        unknown(ROLE).asks(&labelled, Allow),
        Ruling::Permitted,
        "whether it is listed or not"
    );
    assert!(
        matches!(unknown(other).asks(&labelled, Deny), Ruling::Denied(_)),
        "whether it is listed or not"
    );
    let Ruling::Held(why) = unknown(ROLE).asks(&labelled, Deny) else {
        panic!()
    };
    assert!(
        why.contains("labels of the namespace team-a") && why.contains("policy-0"),
        "{why}"
    );
    assert!(matches!(unknown(other).asks(&labelled, Allow), Ruling::Held(_)));
    let by_label_of_name = policies(&[selecting(&json!({(NAME_LABEL): "team-b"}), &json!({}))]);
    assert_eq!(
        unknown(other).asks(&by_label_of_name, Allow),
        Ruling::Unlisted,
        "that label is known"
    );
}

#[test]
fn while_a_policy_cannot_be_read_namespaces_that_no_readable_one_names_get_no_new_call() {
    let broken = unreadable(policies(&[policy(&json!({}))]));
    assert_eq!(asker().asks(&broken, Deny), Ruling::Permitted);
    let Ruling::Denied(denial) = Asker::of("nonsense:").asks(&broken, Deny) else {
        panic!()
    };
    assert!(denial.to_string().contains("six fields"));
    let Ruling::Denied(denial) = Asker::of("arn:aws:iam::1:role/x").asks(&broken, Deny) else {
        panic!()
    };
    assert!(denial.to_string().contains("cannot be read"), "{denial}");
    for unlisted in [Allow, Deny] {
        let stranger = Asker {
            namespace: "team-b",
            ..asker()
        };
        let Ruling::Held(why) = stranger.asks(&broken, unlisted) else {
            panic!()
        };
        assert!(
            why.contains("broken cannot be read") && why.contains("spec.roles is empty"),
            "{why}"
        );
        assert!(matches!(
            asker().asks(&unreadable(Policies::default()), unlisted),
            Ruling::Held(_)
        ));
    }
}

#[test]
fn a_policy_that_cannot_be_acted_on_is_said_to_be_such() {
    let selector = json!({"matchLabels": {"a": "b"}});
    for (spec, part) in [
        (json!({"roles": [ROLE]}), "exactly one"),
        (policy(&json!({"namespaceSelector": selector})), "exactly one"),
        (policy(&json!({"namespaces": [""]})), "names of namespaces"),
        (policy(&json!({"namespaces": ["Team"]})), "\"Team\""),
        (policy(&json!({"namespaces": ["${namespace}"]})), "names of namespaces"),
        (selecting(&json!({}), &json!({})), "at least one label"),
        (policy(&json!({"roles": []})), "spec.roles is empty"),
        (policy(&json!({"roles": [""]})), "six fields"),
        (policy(&json!({"roles": ["role/x"]})), "six fields"),
        (policy(&json!({"roles": ["arn:aws:iam::1:role/x y"]})), "six fields"),
        (
            policy(&json!({"roles": ["arn:aws:iam::1:role/${name}/x"]})),
            "there is ${namespace} only",
        ),
        (policy(&json!({"maxDurationSeconds": 899})), "900 to 43200"),
        (policy(&json!({"maxDurationSeconds": 43_201})), "900 to 43200"),
        (policy(&json!({"secretMetadataPrefixes": [""]})), "empty text"),
    ] {
        let told = read(spec.clone()).unwrap_err().to_string();
        assert!(told.contains(part), "{spec}: {told}");
    }
    let mut expressions =
        policy(&json!({"namespaceSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c"}]}}));
    expressions.as_object_mut().unwrap().remove("namespaces");
    assert_eq!(read(expressions), Err(InvalidPolicy::MatchExpressions));
}

#[test]
fn a_refusal_forges_no_line_and_is_short() {
    let many: Vec<Value> = (0..300).map(|_| policy(&json!({"maxDurationSeconds": 900}))).collect();
    let hostile = Asker {
        role_arn: format!("arn:aws:iam::1:role/\n{}", "\u{202e}\n".repeat(700)),
        ..Asker::with(
            json!({"durationSeconds": 3600, "session": {"tags": {("\n".repeat(128)): "v"}, "externalId": "x".repeat(1224)}}),
        )
    };
    let Ruling::Denied(denial) = hostile.asks(&policies(&many), Deny) else {
        panic!()
    };
    let told = denial.to_string();
    assert!(told.len() <= 1000 && format!("{denial:?}").len() < 8000, "{told}");
    assert!(told.chars().all(|c| (' '..='~').contains(&c)), "{told}");
}
