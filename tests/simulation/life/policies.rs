//! The administrator of a life: policies come, are narrowed, cannot be read, and go.

use std::sync::Arc;

use aws_assume_role::cluster::ObservedPolicy;
use serde_json::json;

use super::Life;
use crate::checks::Refusal;
use crate::place::{HOSTILE, NAMESPACES, Place};
use support::fixtures::ACCOUNT;

/// An account in which nobody has roles.
const NOBODYS: &str = "000000000000";

/// The permission that a resource has in common with others, for those who mean well.
pub(super) fn permission_of(place: &Place) -> Option<&'static str> {
    let namespace = NAMESPACES.into_iter().find(|name| *name == place.namespace)?;
    Some(permission(namespace, place.is_of_other_account()))
}

/// What those have in common who are permitted or refused together.
fn permission(namespace: &str, other_account: bool) -> &'static str {
    match (namespace, other_account) {
        ("alpha", false) => "alpha's roles",
        ("alpha", true) => "alpha's roles of the other account",
        ("beta", false) => "beta's roles",
        ("beta", true) => "beta's roles of the other account",
        ("gamma", false) => "gamma's roles",
        ("gamma", true) => "gamma's roles of the other account",
        (_, false) => "delta's roles",
        (_, true) => "delta's roles of the other account",
    }
}

fn policy(namespace: &'static str, account: &str) -> ObservedPolicy {
    let spec = json!({
        "namespaces": [namespace],
        "roles": [format!("arn:aws:iam::{account}:role/${{namespace}}-*")],
        "secretMetadataPrefixes": ["team"],
    });
    ObservedPolicy {
        name: namespace.into(),
        spec: Ok(Box::new(serde_json::from_value(spec).unwrap())),
    }
}

impl Life {
    /// Two of the namespaces have policies from the start.
    pub(super) fn set_policies(&mut self) {
        for namespace in [NAMESPACES[0], NAMESPACES[1]] {
            self.policies.lock().unwrap().insert(namespace);
            self.api.put_policy(policy(namespace, "*"));
        }
    }

    pub(super) fn policies_change(&mut self) {
        match self.random.u8(0..4) {
            0 | 1 => self.policy_is_narrowed_for_a_while(),
            2 => self.policy_comes_or_goes(),
            _ => self.policy_cannot_be_read_for_a_while(),
        }
    }

    /// A policy that changes nothing of what a namespace has: all of its roles.
    fn policy_comes_or_goes(&mut self) {
        let namespace = NAMESPACES[self.random.usize(0..NAMESPACES.len())];
        if self.going_on.lock().unwrap().contains("policies") {
            return;
        }
        let mut policies = self.policies.lock().unwrap();
        if policies.remove(namespace) {
            self.checks.count("policy: gone");
            self.api.delete_policy(namespace);
        } else {
            self.checks.count("policy: come");
            policies.insert(namespace);
            self.api.put_policy(policy(namespace, "*"));
        }
    }

    /// The roles of another account are withdrawn, or all, of which those of the operator's account are named without it.
    fn policy_is_narrowed_for_a_while(&mut self) {
        let namespace = NAMESPACES[self.random.usize(0..NAMESPACES.len())];
        let other_account = self.random.bool();
        let refusal = Refusal {
            namespace,
            other_account,
        };
        let policies = self.policies.clone();
        let restore = move |api: &crate::api_server::ApiServer| match policies.lock().unwrap().contains(namespace) {
            true => api.put_policy(policy(namespace, "*")),
            false => api.delete_policy(namespace),
        };
        if self.refuse_for_a_while(vec![refusal], restore) {
            let (narrowed, account) = match other_account {
                true => ("policy: narrowed", ACCOUNT),
                false => ("policy: emptied", NOBODYS),
            };
            self.checks.count(narrowed);
            self.api.put_policy(policy(namespace, account));
        }
    }

    /// Whoever no other policy names has to wait.
    fn policy_cannot_be_read_for_a_while(&mut self) {
        const BROKEN: &str = "broken";
        let named = self.policies.lock().unwrap().clone();
        let unnamed = NAMESPACES.into_iter().chain([HOSTILE]);
        let unnamed = unnamed.filter(|namespace| !named.contains(namespace));
        let refusals = unnamed.map(|namespace| Refusal {
            namespace,
            other_account: false,
        });
        if self.refuse_for_a_while(refusals.collect(), |api| api.delete_policy(BROKEN)) {
            self.checks.count("policy: unreadable");
            self.api.put_policy(ObservedPolicy {
                name: Arc::from(BROKEN),
                spec: Err("planted".to_owned()),
            });
        }
    }

    /// Those whom it concerns get nothing until the policies are restored, and a while later everything must be in order.
    fn refuse_for_a_while(
        &mut self,
        refusals: Vec<Refusal>,
        restore: impl FnOnce(&crate::api_server::ApiServer) + Send + 'static,
    ) -> bool {
        let seconds = self.random.u64(5..20_000);
        let shared: Vec<&'static str> = refusals
            .iter()
            .filter(|refusal| refusal.namespace != HOSTILE)
            .flat_map(|refusal| {
                let other = Some(permission(refusal.namespace, true));
                let own = (!refusal.other_account).then(|| permission(refusal.namespace, false));
                other.into_iter().chain(own)
            })
            .collect();
        let (api, checks) = (self.api.clone(), self.checks.clone());
        let (ended, over) = (refusals.clone(), shared.clone());
        let begun = self.for_a_while("policies", seconds, move || {
            for refusal in &ended {
                checks.permit(*refusal);
            }
            for (place, resource) in api.resources() {
                let Some(uid) = resource.metadata.uid else { continue };
                if ended.iter().any(|refusal| refusal.namespace == place.namespace) {
                    checks.allow_call(&uid);
                }
            }
            restore(&api);
            tokio::spawn(async move {
                // One that was held is tried again after a minute at the latest.
                tokio::time::sleep(std::time::Duration::from_secs(120)).await;
                for permission in over {
                    checks.end_outage_for_sharers(permission);
                }
            });
        });
        if begun {
            for permission in shared {
                self.checks.begin_outage_for_sharers(permission);
            }
            for refusal in refusals {
                self.checks.refuse(refusal);
            }
        }
        begun
    }
}
