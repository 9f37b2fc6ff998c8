//! What the operator must be allowed to do in the cluster, rule by rule, as the chart's roles have it.

use super::report::Check;
use crate::cluster::inquiry::Right;

/// The name of the checks.
pub(super) const NAME: &str = "rights";

const OWN_GROUP: &str = "pincette.net";

/// The verbs on one kind of object, in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    group: &'static str,
    /// With its subresource, as RBAC writes it: `awsassumeroles/status`.
    resource: &'static str,
    verbs: &'static [&'static str],
    namespace: Option<String>,
    name: Option<String>,
    /// What is not done without it.
    purpose: &'static str,
    /// What in the chart gives it, where that is not its role as it is.
    value: Option<&'static str>,
}

/// On what the rules depend.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs<'a> {
    /// The namespaces that are watched. None: all.
    pub(super) watch_namespaces: &'a [String],
    /// Whether the operator keeps its definition up to date.
    pub(super) upgrades_definition: bool,
    /// The namespace and the name of the Lease, if there is one.
    pub(super) lease: Option<(&'a str, &'a str)>,
    /// The namespace in which tokens of a ServiceAccount are wanted.
    pub(super) tokens_in: Option<&'a str>,
}

fn rule(group: &'static str, resource: &'static str, verbs: &'static [&'static str], purpose: &'static str) -> Rule {
    Rule {
        group,
        resource,
        verbs,
        namespace: None,
        name: None,
        purpose,
        value: None,
    }
}

/// All rules that are needed.
pub(super) fn rules(needs: &Needs<'_>) -> Vec<Rule> {
    let namespaces: Vec<Option<&String>> = match needs.watch_namespaces {
        [] => vec![None],
        some => some.iter().map(Some).collect(),
    };
    let mut rules = Vec::new();
    for namespace in namespaces {
        let here = |rule: Rule| Rule {
            namespace: namespace.cloned(),
            ..rule
        };
        rules.push(here(rule(
            OWN_GROUP,
            "awsassumeroles",
            &["get", "list", "watch"],
            "find resources",
        )));
        rules.push(here(rule(
            OWN_GROUP,
            "awsassumeroles/status",
            &["patch"],
            "write statuses",
        )));
        let verbs = &["get", "list", "watch", "create", "patch", "delete"];
        rules.push(here(rule("", "secrets", verbs, "write Secrets")));
        rules.push(here(rule(
            "events.k8s.io",
            "events",
            &["create", "patch"],
            "publish events",
        )));
        let labels = rule("", "namespaces", &["list", "watch"], "read the labels of namespaces");
        rules.push(Rule {
            name: namespace.cloned(),
            ..labels
        });
    }
    rules.push(rule(
        OWN_GROUP,
        "awsassumerolepolicies",
        &["list", "watch"],
        "know the policies",
    ));
    if needs.upgrades_definition {
        let verbs = &["get", "update"];
        rules.push(Rule {
            name: Some("awsassumeroles.pincette.net".to_owned()),
            value: Some("crd.upgrade"),
            ..rule(
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                verbs,
                "keep the definition up to date",
            )
        });
    }
    if let Some((namespace, name)) = needs.lease {
        let lease = |verbs| Rule {
            namespace: Some(namespace.to_owned()),
            ..rule(
                "coordination.k8s.io",
                "leases",
                verbs,
                "agree with other replicas on who acts",
            )
        };
        rules.push(lease(&["create"]));
        rules.push(Rule {
            name: Some(name.to_owned()),
            ..lease(&["get", "list", "watch", "patch"])
        });
    }
    if let Some(namespace) = needs.tokens_in {
        rules.push(Rule {
            namespace: Some(namespace.to_owned()),
            value: Some("serviceAccountTokens.enabled"),
            ..rule(
                "",
                "serviceaccounts/token",
                &["create"],
                "assume a role as a ServiceAccount",
            )
        });
    }
    rules
}

impl Rule {
    /// What has to be asked, verb by verb.
    pub(super) fn rights(&self) -> Vec<Right> {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource, None),
        };
        let right = |verb: &&str| Right {
            verb: (*verb).to_owned(),
            group: self.group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        };
        self.verbs.iter().map(right).collect()
    }

    /// `secrets in all namespaces`, and the like.
    fn object(&self) -> String {
        let group = match self.group {
            "" => String::new(),
            group => format!(".{group}"),
        };
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let is_cluster_scoped = ["awsassumerolepolicies", "customresourcedefinitions", "namespaces"];
        let place = match &self.namespace {
            Some(namespace) => format!(" in the namespace {namespace}"),
            None if is_cluster_scoped.contains(&self.resource) => String::new(),
            None => " in all namespaces".to_owned(),
        };
        // As kubectl writes it.
        match self.resource.split_once('/') {
            Some((resource, subresource)) => format!("{resource}{group}/{subresource}{name}{place}"),
            None => format!("{}{group}{name}{place}", self.resource),
        }
    }

    /// What follows from the answers, one for each verb: whether it is allowed, or why that is not known.
    pub(super) fn check(&self, who: &str, answers: &[Result<bool, String>]) -> Check {
        let object = self.object();
        if let Some(why) = answers.iter().find_map(|answer| answer.as_ref().err()) {
            return Check::unknown(
                NAME,
                format!(
                    "Whether {who} may {} {object} is not known: {why}",
                    self.verbs.join(", ")
                ),
            );
        }
        let verbs = self.verbs.iter().zip(answers);
        let missing: Vec<&str> = verbs
            .filter(|(_, answer)| **answer == Ok(false))
            .map(|(verb, _)| *verb)
            .collect();
        if missing.is_empty() {
            return Check::ok(NAME, format!("{who} may {} {object}.", self.verbs.join(", ")));
        }
        let advice = match self.value {
            Some(value) => format!(
                "To {} the operator needs it: set {value} to true in the values of its chart, or leave out what needs it.",
                self.purpose
            ),
            None => format!(
                "To {} the operator needs it: install the chart's roles and bindings anew, with helm upgrade.",
                self.purpose
            ),
        };
        Check::failed(NAME, format!("{who} may not {} {object}.", missing.join(", ")), advice)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Outcome;
    use super::*;

    fn needs(watch_namespaces: &[String]) -> Needs<'_> {
        Needs {
            watch_namespaces,
            upgrades_definition: true,
            lease: Some(("system", "lease")),
            tokens_in: Some("team"),
        }
    }

    #[test]
    fn with_some_namespaces_rights_in_them_are_enough() {
        let all = rules(&needs(&[]));
        assert!(all.iter().any(|rule| rule.object() == "secrets in all namespaces"));
        let some = rules(&needs(&["a".to_owned(), "b".to_owned()]));
        let objects: Vec<String> = some.iter().map(Rule::object).collect();
        for object in [
            "secrets in the namespace a",
            "secrets in the namespace b",
            "namespaces b",
            "awsassumerolepolicies.pincette.net",
            "leases.coordination.k8s.io in the namespace system",
            "leases.coordination.k8s.io lease in the namespace system",
            "serviceaccounts/token in the namespace team",
        ] {
            assert!(objects.iter().any(|found| found == object), "{object}: {objects:#?}");
        }
        assert!(!objects.iter().any(|object| object.contains("all namespaces")));
        let least = Needs {
            upgrades_definition: false,
            lease: None,
            tokens_in: None,
            ..needs(&[])
        };
        assert_eq!(rules(&least).len(), 6);
    }

    #[test]
    fn the_verbs_that_are_missing_are_named() {
        let rules = rules(&needs(&[]));
        let secrets = rules.iter().find(|rule| rule.resource == "secrets").unwrap();
        let mut answers = vec![Ok(true); 6];
        assert_eq!(secrets.check("It", &answers).outcome, Outcome::Ok);
        answers[3] = Ok(false);
        let check = secrets.check("It", &answers);
        assert_eq!(
            (check.outcome, check.message.as_str()),
            (Outcome::Failed, "It may not create secrets in all namespaces.")
        );
        assert!(check.advice.unwrap().contains("helm upgrade"));
        answers[0] = Err("away".to_owned());
        assert_eq!(secrets.check("It", &answers).outcome, Outcome::Unknown);
    }

    #[test]
    fn a_subresource_is_asked_for_as_such() {
        let rules = rules(&needs(&[]));
        let token = rules.last().unwrap().rights().remove(0);
        assert_eq!(
            (token.resource.as_str(), token.subresource.as_deref()),
            ("serviceaccounts", Some("token"))
        );
        let denied = rules.last().unwrap().check("It", &[Ok(false)]);
        assert!(denied.advice.unwrap().contains("serviceAccountTokens.enabled"));
    }
}
