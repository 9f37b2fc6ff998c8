//! [`rule`] against a model of it that is slow and obvious: it speaks of what was written, of policies and resources, by quantifiers, and goes
//! through all labels that a namespace of unknown ones could have.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::cases::{Case, Labels, all_labels, case};
use super::glob::obviously_matches;
use super::*;
use crate::api::AWSAssumeRolePolicySpec;
use crate::spec::fixtures;

impl Case {
    fn rule(&self, labels: Option<&Labels>) -> Ruling {
        let policies = self.policies.iter().enumerate().map(|(number, spec)| {
            let policy = AWSAssumeRolePolicy::new("p", spec.clone());
            let parsed = Policy::from_api(&policy).unwrap();
            (Arc::from(format!("p{number}")), Arc::new(parsed))
        });
        let policies = Policies {
            readable: policies.collect(),
            unreadable: self.unreadable.then(|| ("u".into(), "no".into())).into_iter().collect(),
        };
        let mut key = fixtures::key();
        key.namespace = self.namespace.as_str().into();
        let demand = Demand {
            namespace: &self.namespace,
            labels,
            role_arn: &self.role_arn,
            spec: &Spec::from_api(&key, &self.spec).unwrap(),
            operator: self.operator.as_ref(),
        };
        rule(&policies, self.unlisted, &demand)
    }

    fn asks_for_own_role(&self) -> bool {
        let Some(operator) = &self.operator else { return false };
        let parts: Vec<&str> = operator.arn.split([':', '/']).collect();
        let (account, name) = (parts[4], parts[6]);
        parts[5] == "assumed-role"
            && self.role_arn.split(':').nth(4) == Some(account)
            && self.role_arn.to_lowercase().split('/').next_back() == Some(&name.to_lowercase())
    }

    /// Whether a policy, if it names the namespace, permits everything.
    fn is_permitted_by(&self, policy: &AWSAssumeRolePolicySpec) -> bool {
        let session = self.spec.session.clone().unwrap_or_default();
        let limits = policy.session.clone().unwrap_or_default();
        let metadata = self.spec.secret_template.clone().unwrap_or_default();
        let parts: Vec<&str> = self.role_arn.splitn(6, ':').collect();
        let odd = parts.get(5).is_some_and(|resource| {
            let around = format!("/{resource}/");
            around.contains("/../") || around.contains("/./") || around.contains("//")
        });
        let role = !odd
            && policy.roles.iter().any(|glob| {
                let characters = |text: &str| text.chars().collect::<Vec<_>>();
                obviously_matches(&characters(glob), &characters(&self.role_arn), &self.namespace)
            });
        // No namespace has a dot in its name.
        let name = session.name.iter().all(|name| {
            let dot = name.find('.');
            dot.is_some_and(|dot| name[..dot] == self.namespace)
        });
        let is_of_eks = |key: &str| {
            let folded = key.to_lowercase().replace('ſ', "s");
            folded.starts_with("kubernetes-") || folded.starts_with("eks-")
        };
        let tags = session.tags.keys().all(|key| {
            let permitted = limits.tag_keys.iter();
            let mut permitted = permitted.map(|permitted| permitted.to_ascii_lowercase());
            !is_of_eks(key) && permitted.any(|permitted| permitted == key.to_ascii_lowercase())
        });
        let mut keys = metadata.labels.keys().chain(metadata.annotations.keys());
        let keys = keys.all(|key| match &policy.secret_metadata_prefixes {
            None => true,
            Some(prefixes) => prefixes.iter().any(|prefix| key.find(prefix.as_str()) == Some(0)),
        });
        let has_policies = session.policy.is_some() || !session.policy_arns.is_empty();
        role && name
            && tags
            && keys
            && self.role_arn.matches(':').count() == 5
            && (!has_policies || limits.policies == Some(true))
            && session.external_id.iter().all(|id| limits.external_ids.contains(id))
            && session
                .source_identity
                .iter()
                .all(|id| limits.source_identities.contains(id))
            && self.spec.duration_seconds.unwrap_or(900) <= policy.max_duration_seconds.unwrap_or(i32::MAX)
    }

    /// Whether a policy names the namespace under those labels.
    fn is_named_by(&self, policy: &AWSAssumeRolePolicySpec, labels: &Labels) -> bool {
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let by_name = |glob: &String| obviously_matches(&characters(glob), &characters(&self.namespace), "");
        let selector = policy.namespace_selector.iter();
        let mut selector = selector.map(|selector| &selector.match_labels);
        policy.namespaces.iter().any(by_name)
            || selector.any(|wanted| wanted.iter().all(|(k, v)| labels.get(k) == Some(v)))
    }

    /// What holds if exactly those policies name the namespace.
    fn word(&self, naming: &[&AWSAssumeRolePolicySpec]) -> Word {
        let deny = self.unlisted == UnlistedNamespaces::Deny;
        if self.policies.is_empty() && !self.unreadable && !deny {
            return Word::Permitted;
        }
        if self.asks_for_own_role() {
            return Word::Denied;
        }
        match (naming.is_empty(), self.unreadable) {
            (false, _) if naming.iter().any(|policy| self.is_permitted_by(policy)) => Word::Permitted,
            (false, _) => Word::Denied,
            (true, true) => Word::Held,
            (true, false) if deny => Word::Denied,
            (true, false) => Word::Unlisted,
        }
    }

    /// The model.
    fn obvious_word(&self) -> Word {
        let labels = match &self.labels {
            Some(labels) => vec![labels.clone()],
            None => all_labels(&self.namespace),
        };
        // Each policy whose labels some have and some have not names the namespace or does not, whatever the others do.
        let mut possible: Vec<Vec<&AWSAssumeRolePolicySpec>> = vec![Vec::new()];
        for policy in &self.policies {
            let by: Vec<bool> = labels.iter().map(|labels| self.is_named_by(policy, labels)).collect();
            let with = possible.iter().filter(|_| by.contains(&true));
            let mut next: Vec<_> = with.map(|naming| [naming.as_slice(), &[policy]].concat()).collect();
            if by.contains(&false) {
                next.extend(possible);
            }
            possible = next;
        }
        let words: Vec<Word> = possible.iter().map(|naming| self.word(naming)).collect();
        match words.as_slice() {
            [first, others @ ..] if others.iter().all(|other| other == first) => *first,
            words if words.iter().all(|word| word.lets_through()) => Word::Permitted,
            _ => Word::Held,
        }
    }
}

/// A ruling without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Permitted,
    Unlisted,
    Denied,
    Held,
}

impl Word {
    fn lets_through(self) -> bool {
        matches!(self, Self::Permitted | Self::Unlisted)
    }
}

impl From<Ruling> for Word {
    fn from(ruling: Ruling) -> Self {
        match ruling {
            Ruling::Permitted => Self::Permitted,
            Ruling::Unlisted => Self::Unlisted,
            Ruling::Denied(_) => Self::Denied,
            Ruling::Held(_) => Self::Held,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_ruling_is_the_obvious_one(case in case()) {
        prop_assert_eq!(Word::from(case.rule(case.labels.as_ref())), case.obvious_word());
    }

    #[test]
    fn what_is_said_without_the_labels_holds_for_all_labels(case in case()) {
        let before = Word::from(case.rule(None));
        if before != Word::Held {
            for labels in all_labels(&case.namespace) {
                let after = Word::from(case.rule(Some(&labels)));
                prop_assert_eq!(after.lets_through(), before.lets_through(), "{:?} {:?}", before, after);
                prop_assert!(after != Word::Held);
            }
        }
    }

    #[test]
    fn what_is_said_is_short(case in case()) {
        match case.rule(case.labels.as_ref()) {
            Ruling::Denied(denial) => prop_assert!(denial.to_string().len() <= 1000),
            Ruling::Held(why) => prop_assert!(why.len() <= 1000),
            Ruling::Permitted | Ruling::Unlisted => {}
        }
    }
}

#[test]
fn the_cases_reach_every_ruling_often() {
    let mut runner = TestRunner::deterministic();
    let mut count = [0; 4];
    for _ in 0..2000 {
        let case = case().new_tree(&mut runner).unwrap().current();
        if !case.policies.is_empty() {
            count[case.obvious_word() as usize] += 1;
        }
    }
    assert!(count.iter().all(|count| *count > 100), "{count:?}");
}
