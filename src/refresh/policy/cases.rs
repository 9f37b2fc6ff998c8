//! Cases for the property tests: few names, so that globs and lists often have what is asked for, and sometimes just not.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::api::{AWSAssumeRolePolicySpec, AWSAssumeRoleSpec, NamespaceSelector, SessionLimits, SessionSpec};

pub(super) type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) policies: Vec<AWSAssumeRolePolicySpec>,
    pub(super) unreadable: bool,
    pub(super) unlisted: UnlistedNamespaces,
    pub(super) namespace: String,
    pub(super) labels: Option<Labels>,
    pub(super) role_arn: String,
    pub(super) spec: AWSAssumeRoleSpec,
    pub(super) operator: Option<Identity>,
}

/// All labels that a namespace can have here.
pub(super) fn all_labels(namespace: &str) -> Vec<Labels> {
    let choices = [None, Some("a"), Some("b")];
    let pairs = choices
        .iter()
        .flat_map(|team| choices.iter().map(move |tier| (team, tier)));
    let labels = pairs.map(|(team, tier)| {
        let chosen = [("team", *team), ("tier", *tier), (NAME_LABEL, Some(namespace))].into_iter();
        let chosen = chosen.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
        chosen.collect()
    });
    labels.collect()
}

fn texts(from: &[&str], most: usize) -> impl Strategy<Value = Vec<String>> + use<> {
    let from: Vec<String> = from.iter().map(|text| (*text).to_owned()).collect();
    proptest::collection::vec(select(from), 0..=most)
}

fn text(from: &[&str]) -> impl Strategy<Value = String> + use<> {
    select(from.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

fn perhaps<T: Strategy>(percent: u32, strategy: T) -> impl Strategy<Value = Option<T::Value>> {
    proptest::option::weighted(f64::from(percent) / 100.0, strategy)
}

fn arn() -> impl Strategy<Value = String> {
    let partition = text(&["aws", "aws", "aws", "aws-cn"]);
    let account = text(&["111111111111", "111111111111", "222222222222"]);
    let path = text(&[
        "",
        "team/",
        "team-a/",
        "team-a/",
        "team-b/",
        "Team-A/",
        "x/team-a/",
        "team-a/../team-b/",
        "team:a/",
    ]);
    let name = text(&["x", "x", "X", "xy", "operator", "Operator", "team-a-x"]);
    (partition, account, path, name)
        .prop_map(|(partition, account, path, name)| format!("arn:{partition}:iam::{account}:role/{path}{name}"))
}

/// An ARN that is made a glob at some places, or one that is often there.
fn role_glob() -> impl Strategy<Value = String> {
    let usual = text(&[
        "arn:aws:iam::111111111111:role/${namespace}/*",
        "arn:aws:iam::111111111111:role/*",
        "arn:*:iam::*:role/${namespace}/?",
        "arn:aws:iam::111111111111:role/${namespace}-*",
        "arn:aws:iam::*:*/x",
        "arn:aws*:iam::111111111111:role/*${namespace}*",
        "arn:*:*:*:*:*",
    ]);
    let places = text(&["x", "team-a", "111111111111", "role/", "aws", "a", "1", ""]);
    let marks = text(&["*", "?", "**", "${namespace}"]);
    let made = (arn(), places, marks).prop_map(|(arn, place, mark)| match place.is_empty() {
        true => arn,
        false => format!("arn:{}", arn["arn:".len()..].replacen(&place, &mark, 1)),
    });
    let made = made.prop_filter("six fields", |arn| {
        arn.matches(':').count() == 5 && !arn.contains("::*:::")
    });
    prop_oneof![usual, made]
}

fn policy() -> impl Strategy<Value = AWSAssumeRolePolicySpec> {
    let named = texts(
        &["team", "team-a", "team-b", "*", "team*", "team-?", "t*-a", "?", "b"],
        2,
    );
    let named = named.prop_map(|mut names| {
        names.push("team-a".to_owned());
        (names, None)
    });
    let label = |from: &[&str]| perhaps(50, text(from));
    let labels = (
        label(&["a", "b"]),
        label(&["a", "b"]),
        perhaps(15, text(&["team-a", "team"])),
    );
    let labelled = labels.prop_filter_map("none", |(team, tier, name)| {
        let labels = [("team", team), ("tier", tier), (NAME_LABEL, name)].into_iter();
        let match_labels: Labels = labels
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect();
        let selector = NamespaceSelector {
            match_labels,
            match_expressions: Vec::new(),
        };
        (!selector.match_labels.is_empty()).then_some((Vec::new(), Some(selector)))
    });
    let limits = (
        perhaps(80, select(vec![true, true, false])),
        texts(
            &["team", "TIER", "kubernetes-namespace", "eks-x", "e\u{212a}ſ-x", "team"],
            4,
        ),
        texts(&["id-1", "id-2"], 2),
        texts(&["alice", "bob"], 2),
    );
    let limits = limits.prop_map(|(policies, tag_keys, external_ids, source_identities)| SessionLimits {
        policies,
        tag_keys,
        external_ids,
        source_identities,
    });
    (
        prop_oneof![named, labelled],
        proptest::collection::vec(role_glob(), 1..4),
        perhaps(40, select(vec![900, 3600])),
        perhaps(80, limits),
        perhaps(30, texts(&["example.com/", "plain"], 2)),
    )
        .prop_map(
            |((namespaces, namespace_selector), roles, max_duration_seconds, session, prefixes)| {
                AWSAssumeRolePolicySpec {
                    namespaces,
                    namespace_selector,
                    roles,
                    max_duration_seconds,
                    session,
                    secret_metadata_prefixes: prefixes,
                }
            },
        )
}

fn spec() -> impl Strategy<Value = AWSAssumeRoleSpec> {
    let tags = text(&[
        "team",
        "Team",
        "tier",
        "other",
        "kubernetes-namespace",
        "KuberneteS-x",
        "EKS-x",
        "e\u{212a}ſ-x",
        "te\u{e4}m",
    ]);
    let session = (
        perhaps(
            30,
            text(&["team-a.x", "team-a.x", "team.x", "team-ax", "team-a", "team-b.team-a."]),
        ),
        perhaps(20, Just(r#"{"Statement": []}"#.to_owned())),
        perhaps(10, Just("arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned())),
        perhaps(25, tags),
        perhaps(25, text(&["id-1", "id-2", "ID-1"])),
        perhaps(20, text(&["alice", "bob", "Alice"])),
    );
    let session = session.prop_map(
        |(name, policy, policy_arn, tag, external_id, source_identity)| SessionSpec {
            name,
            policy,
            policy_arns: policy_arn.into_iter().collect(),
            tags: tag.into_iter().map(|key| (key, "v".to_owned())).collect(),
            transitive_tag_keys: Vec::new(),
            external_id,
            source_identity,
        },
    );
    let duration = select(vec![None, None, Some(900), Some(3600), Some(3601)]);
    let key = || perhaps(20, text(&["example.com/a", "plain", "plain-er", "other.org/plain"]));
    (perhaps(60, session), duration, key(), key(), any::<bool>()).prop_map(|(session, duration, label, annotation, registry)| {
        let metadata = |key: Option<String>| key.into_iter().map(|key| (key, "v".to_owned())).collect::<Labels>();
        let url = registry.then_some("111111111111.dkr.ecr.eu-west-1.amazonaws.com");
        serde_json::from_value(serde_json::json!({
            "roleName": "x", "secretName": "s", "session": session, "durationSeconds": duration, "ecrRepositoryUrl": url,
            "secretType": if registry { "EcrDockerConfigJson" } else { "Map" },
            "secretTemplate": {"labels": metadata(label), "annotations": metadata(annotation)},
        }))
        .unwrap()
    })
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let operator = text(&[
        "arn:aws:sts::111111111111:assumed-role/operator/s",
        "arn:aws:sts::222222222222:assumed-role/OPERATOR/x",
        "arn:aws:iam::111111111111:user/x",
    ]);
    let operator = operator.prop_map(|arn| Identity::new(arn.split(':').nth(4).unwrap(), &arn));
    (
        proptest::collection::vec(policy(), 0..5),
        proptest::bool::weighted(0.15),
        select(vec![UnlistedNamespaces::Allow, UnlistedNamespaces::Deny]),
        text(&["team-a", "team-a", "team-a", "team", "team-b", "b"]),
        perhaps(60, select(all_labels("")).boxed()),
        arn(),
        spec(),
        perhaps(80, operator),
    )
        .prop_map(
            |(policies, unreadable, unlisted, namespace, labels, role_arn, spec, operator)| Case {
                labels: labels.map(|mut labels| {
                    labels.insert(NAME_LABEL.to_owned(), namespace.clone());
                    labels
                }),
                policies,
                unreadable,
                unlisted,
                namespace,
                role_arn,
                spec,
                operator,
            },
        )
}
