use serde_json::{Value, json};

use super::*;
use crate::api::AWSAssumeRoleSpec;
use crate::spec::fixtures;
use UnlistedNamespaces::{Allow, Deny};

pub(super) const ROLE: &str = "arn:aws:iam::123456789012:role/team-a/x";

pub(super) fn read(spec: Value) -> Result<Policy, InvalidPolicy> {
    Policy::from_api(&AWSAssumeRolePolicy::new("p", serde_json::from_value(spec).unwrap()))
}

/// A policy that permits the namespace `team-a` its roles, with something changed.
pub(super) fn policy(changes: &Value) -> Value {
    let mut spec = json!({"namespaces": ["team-a"], "roles": ["arn:aws:iam::123456789012:role/${namespace}/*"]});
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

pub(super) fn selecting(labels: &Value, changes: &Value) -> Value {
    let mut spec = policy(changes);
    spec.as_object_mut().unwrap().remove("namespaces");
    spec["namespaceSelector"] = json!({"matchLabels": labels});
    spec
}

pub(super) fn policies(specs: &[Value]) -> Policies {
    let readable = specs.iter().enumerate().map(|(number, spec)| {
        let name = format!("policy-{number}");
        (Arc::from(name), Arc::new(read(spec.clone()).unwrap()))
    });
    Policies {
        readable: readable.collect(),
        ..Policies::default()
    }
}

pub(super) fn unreadable(mut policies: Policies) -> Policies {
    policies
        .unreadable
        .insert("broken".into(), "spec.roles is empty".into());
    policies
}

/// Who asks for what.
pub(super) struct Asker {
    pub(super) namespace: &'static str,
    pub(super) labels: Option<BTreeMap<String, String>>,
    pub(super) role_arn: String,
    pub(super) spec: Value,
    pub(super) operator: Option<&'static str>,
}

/// A resource of `team-a` that asks for a role of its own and for nothing else.
pub(super) fn asker() -> Asker {
    Asker {
        namespace: "team-a",
        labels: Some(BTreeMap::new()),
        role_arn: ROLE.into(),
        spec: json!({}),
        operator: None,
    }
}

impl Asker {
    pub(super) fn of(role_arn: &str) -> Self {
        Self {
            role_arn: role_arn.into(),
            ..asker()
        }
    }

    pub(super) fn with(spec: Value) -> Self {
        Self { spec, ..asker() }
    }

    fn session(session: Value) -> Self {
        Self::with(json!({"session": session}))
    }

    pub(super) fn asks(&self, policies: &Policies, unlisted: UnlistedNamespaces) -> Ruling {
        let mut spec = json!({"roleName": "r", "secretName": "s", "secretType": "Map"});
        for (key, value) in self.spec.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let spec: AWSAssumeRoleSpec = serde_json::from_value(spec).unwrap();
        let mut key = fixtures::key();
        key.namespace = self.namespace.into();
        let operator = self.operator.map(|arn| Identity::new("123456789012", arn));
        let demand = Demand {
            namespace: self.namespace,
            labels: self.labels.as_ref(),
            role_arn: &self.role_arn,
            spec: &Spec::from_api(&key, &spec).unwrap(),
            operator: operator.as_ref(),
        };
        rule(policies, unlisted, &demand)
    }

    /// Whether a policy with those changes permits it.
    fn is_permitted(&self, changes: &Value) -> bool {
        match self.asks(&policies(&[policy(changes)]), Allow) {
            Ruling::Permitted => true,
            Ruling::Denied(_) => false,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&self, changes: &Value) -> String {
        match self.asks(&policies(&[policy(changes)]), Allow) {
            Ruling::Denied(denial) => denial.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn labels(pairs: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    let pairs = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Some(pairs.collect())
}

#[test]
fn without_any_policy_everything_is_as_before() {
    let anything = Asker {
        labels: None,
        operator: Some("arn:aws:sts::123456789012:assumed-role/x/s"),
        ..Asker::of("nonsense")
    };
    assert_eq!(anything.asks(&Policies::default(), Allow), Ruling::Permitted);
    assert_eq!(Asker::of(ROLE).asks(&Policies::default(), Allow), Ruling::Permitted);
}

#[test]
fn a_resource_is_permitted_when_one_policy_permits_all_that_it_asks_for() {
    let long = Asker::with(json!({"durationSeconds": 3600, "session": {"externalId": "an-id"}}));
    let short = policy(&json!({"maxDurationSeconds": 900, "session": {"externalIds": ["an-id"]}}));
    let without_id = policy(&json!({"maxDurationSeconds": 3600}));
    let both = policy(&json!({"maxDurationSeconds": 3600, "session": {"externalIds": ["an-id"]}}));
    let told = match long.asks(&policies(&[short.clone(), without_id.clone()]), Allow) {
        Ruling::Denied(denial) => denial.to_string(),
        other => panic!("{other:?}"),
    };
    for part in [
        ROLE,
        "the namespace team-a",
        "policy policy-0: its maxDurationSeconds is 900, and durationSeconds is 3600",
        "policy policy-1: its session.externalIds lack \"an-id\"",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert_eq!(
        long.asks(&policies(&[short, without_id, both]), Allow),
        Ruling::Permitted
    );
}

#[test]
fn a_namespace_that_some_policy_names_gets_that_and_nothing_else() {
    for unlisted in [Allow, Deny] {
        assert_eq!(
            asker().asks(&policies(&[policy(&json!({}))]), unlisted),
            Ruling::Permitted
        );
        let other =
            Asker::of("arn:aws:iam::123456789012:role/team-b/x").asks(&policies(&[policy(&json!({}))]), unlisted);
        assert!(matches!(other, Ruling::Denied(Denial::Lacking { .. })), "{other:?}");
    }
}

#[test]
fn a_namespace_that_none_names_gets_what_the_flag_says() {
    let stranger = || Asker {
        namespace: "team-b",
        ..Asker::of("nonsense")
    };
    let listed = policies(&[policy(&json!({}))]);
    assert_eq!(stranger().asks(&listed, Allow), Ruling::Unlisted);
    for policies in [listed, Policies::default()] {
        let Ruling::Denied(denial) = stranger().asks(&policies, Deny) else {
            panic!()
        };
        let told = denial.to_string();
        assert!(
            told.contains("namespace team-b") && told.contains("whose roles match \"nonsense\""),
            "{told}"
        );
    }
}

#[test]
fn taking_a_namespaces_last_policy_away_opens_it_under_allow() {
    let other = policies(&[policy(&json!({"namespaces": ["other"]}))]);
    assert_eq!(Asker::of("nonsense").asks(&other, Allow), Ruling::Unlisted);
}

#[test]
fn globs_are_anchored_and_cannot_be_fooled_by_paths_or_case_or_partitions() {
    for good in [ROLE, "arn:aws:iam::123456789012:role/team-a/deep/x"] {
        assert!(Asker::of(good).is_permitted(&json!({})), "{good}");
    }
    for bad in [
        "arn:aws:iam::123456789012:role/team-a",
        "arn:aws:iam::123456789012:role/team-ab/x",
        "arn:aws:iam::123456789012:role/x/team-a/x",
        "arn:aws:iam::123456789012:role//team-a/x",
        "arn:aws:iam::123456789012:role/team-a/../team-b/x",
        "arn:aws:iam::123456789012:role/team-a//x",
        "arn:aws:iam::123456789012:role/Team-A/x",
        "arn:aws:iam::123456789012:Role/team-a/x",
        "arn:aws-cn:iam::123456789012:role/team-a/x",
        "arn:aws:iam::210987654321:role/team-a/x",
        "arn:aws:iam::123456789012:role/team-a/x:role/team-b/x",
        "arn:aws:iam:::123456789012:role/team-a/x",
        "ARN:aws:iam::123456789012:role/team-a/x",
        "team-a/x",
        "",
    ] {
        assert!(!Asker::of(bad).is_permitted(&json!({})), "{bad}");
    }
    let everything = json!({"roles": ["arn:*:*:*:*:*"]});
    let more = Asker::of("arn:aws:iam::123456789012:role/a:b/x");
    assert!(asker().is_permitted(&everything) && more.refusal(&everything).contains("six fields"));
}

#[test]
fn namespaces_are_named_by_globs_too() {
    let named = |glob: &str| {
        let listed = policies(&[policy(&json!({"namespaces": ["nobody", glob]}))]);
        asker().asks(&listed, Allow) == Ruling::Permitted
    };
    assert!(named("team-a") && named("team-*") && named("*") && named("team-?"));
    assert!(!named("team") && !named("eam-a") && !named("team-a-*") && !named("team-a?"));
}

#[test]
fn a_dash_behind_the_namespace_is_no_boundary_and_a_slash_is_one() {
    let role = "arn:aws:iam::123456789012:role/team-a-x";
    let team = |globs: Value| {
        let listed = policies(&[json!({"namespaces": ["team"], "roles": globs})]);
        let asker = Asker {
            namespace: "team",
            ..Asker::of(role)
        };
        asker.asks(&listed, Allow) == Ruling::Permitted
    };
    assert!(team(json!(["arn:aws:iam::123456789012:role/${namespace}-*"])));
    assert!(!team(json!(["arn:aws:iam::123456789012:role/${namespace}/*"])));
}

#[test]
fn a_session_name_that_is_given_begins_with_the_namespace_and_a_dot() {
    assert!(asker().is_permitted(&json!({})), "the default one");
    assert!(Asker::session(json!({"name": "team-a.anything"})).is_permitted(&json!({})));
    for name in ["team-b.x", "team-a", "team-ax", "team-a-x", "Team-A.x", "x.team-a."] {
        let told = Asker::session(json!({"name": name})).refusal(&json!({}));
        assert!(
            told.contains(&format!("session.name is {name:?}")) && told.contains("team-a. "),
            "{told}"
        );
    }
    let long = Asker {
        namespace: "a-namespace-whose-name-is-so-long-that-no-session-name-has-room",
        ..asker()
    };
    let listed = policies(&[policy(
        &json!({"namespaces": ["*"], "roles": ["arn:aws:iam::*:role/*"]}),
    )]);
    assert_eq!(long.asks(&listed, Allow), Ruling::Permitted);
}

#[test]
fn tags_under_kubernetes_and_eks_are_refused_in_whatever_case() {
    for key in [
        "kubernetes-namespace",
        "KUBERNETES-Namespace",
        "eks-cluster-arn",
        "EkS-x",
        "e\u{212a}s-x",
        "ek\u{17f}-x",
    ] {
        let permitted = json!({"session": {"tagKeys": [key]}});
        let told = Asker::session(json!({"tags": {key: "v"}})).refusal(&permitted);
        assert!(told.contains(&format!("session.tags has {key:?}")), "{told}");
    }
    let others = ["kubernetes", "my-eks-x", "eks"];
    for key in others {
        assert!(Asker::session(json!({"tags": {key: "v"}})).is_permitted(&json!({"session": {"tagKeys": others}})));
    }
}

#[test]
fn the_operators_own_role_can_be_had_in_no_namespace() {
    let everything = policies(&[json!({"namespaces": ["*"], "roles": ["arn:*:*:*:*:*"]})]);
    let elsewhere = policies(&[json!({"namespaces": ["other"], "roles": ["arn:*:*:*:*:*"]})]);
    let own = |role_arn: &str| Asker {
        operator: Some("arn:aws:sts::123456789012:assumed-role/Operator/session"),
        ..Asker::of(role_arn)
    };
    for role_arn in [
        "arn:aws:iam::123456789012:role/Operator",
        "arn:aws:iam::123456789012:role/operator",
        "arn:aws:iam::123456789012:role/any/path/OPERATOR",
        "arn:aws:iam::123456789012:role/a:b/Operator",
    ] {
        for (policies, unlisted) in [
            (&everything, Allow),
            (&everything, Deny),
            (&elsewhere, Allow),
            (&unreadable(Policies::default()), Allow),
            (&Policies::default(), Deny),
        ] {
            let ruling = own(role_arn).asks(policies, unlisted);
            assert_eq!(ruling, Ruling::Denied(Denial::OwnRole(role_arn.into())), "{role_arn}");
        }
    }
    for role_arn in [
        "arn:aws:iam::210987654321:role/Operator",
        "arn:aws:iam::123456789012:role/Operator2",
        "arn:aws:iam::123456789012:role/Operator/x",
    ] {
        assert_eq!(own(role_arn).asks(&everything, Deny), Ruling::Permitted, "{role_arn}");
    }
    let role_arn = "arn:aws:iam::123456789012:role/Operator";
    assert_eq!(
        Asker::of(role_arn).asks(&everything, Deny),
        Ruling::Permitted,
        "not known"
    );
    let user = Asker {
        operator: Some("arn:aws:iam::123456789012:user/Operator"),
        ..Asker::of(role_arn)
    };
    assert_eq!(user.asks(&everything, Deny), Ruling::Permitted, "a user");
}

#[test]
fn session_policies_have_to_be_permitted_and_the_operators_own_need_not() {
    let permitted = json!({"session": {"policies": true}});
    for session in [
        json!({"policy": "{\"Statement\": []}"}),
        json!({"policyArns": ["arn:aws:iam::aws:policy/P"]}),
    ] {
        assert!(Asker::session(session.clone()).is_permitted(&permitted));
        for changes in [
            json!({}),
            json!({"session": {}}),
            json!({"session": {"policies": false}}),
        ] {
            assert!(
                Asker::session(session.clone())
                    .refusal(&changes)
                    .contains("session.policies is not true")
            );
        }
    }
    let url = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
    let login = Asker::with(json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": url}));
    assert!(login.is_permitted(&json!({})));
}

#[test]
fn what_the_session_names_is_refused_unless_it_is_named() {
    let limits = json!({"session": {"tagKeys": ["team"], "externalIds": ["an-id"], "sourceIdentities": ["alice"]}});
    for (good, bad) in [
        (
            json!({"tags": {"team": "v"}}),
            json!({"tags": {"team": "v", "tier": "v"}}),
        ),
        (json!({"tags": {"Team": "v"}}), json!({"tags": {"t\u{e9}am": "v"}})),
        (json!({"externalId": "an-id"}), json!({"externalId": "AN-ID"})),
        (json!({"sourceIdentity": "alice"}), json!({"sourceIdentity": "alice2"})),
    ] {
        assert!(Asker::session(good.clone()).is_permitted(&limits), "{good}");
        assert!(!Asker::session(good.clone()).is_permitted(&json!({})), "{good}");
        assert!(!Asker::session(bad.clone()).is_permitted(&limits), "{bad}");
    }
}

#[test]
fn the_duration_and_the_keys_of_the_secret_have_limits_where_there_are_any() {
    let hour = Asker::with(json!({"durationSeconds": 3600}));
    assert!(hour.is_permitted(&json!({})) && hour.is_permitted(&json!({"maxDurationSeconds": 3600})));
    assert!(!hour.is_permitted(&json!({"maxDurationSeconds": 3599})));
    for field in ["labels", "annotations"] {
        let keyed = Asker::with(json!({"secretTemplate": {field: {"example.com/a": "v"}}}));
        assert!(keyed.is_permitted(&json!({})));
        assert!(keyed.is_permitted(&json!({"secretMetadataPrefixes": ["x/", "example.com/"]})));
        for prefixes in [json!([]), json!(["example.com/b"]), json!(["xample.com/"])] {
            let told = keyed.refusal(&json!({"secretMetadataPrefixes": prefixes}));
            assert!(
                told.contains("\"example.com/a\", which is a key of secretTemplate"),
                "{told}"
            );
        }
    }
}
