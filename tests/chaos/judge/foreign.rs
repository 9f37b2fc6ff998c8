//! Secrets that no resource controls: nobody touches them but those to whom they belong.

use std::collections::{BTreeMap, BTreeSet};

use super::secrets::{SeenSecret, Snapshot};
use super::{Finding, Moment};

/// The foreign Secrets, as they were first seen, by UID.
#[derive(Debug, Default)]
pub struct Foreign {
    known: BTreeMap<String, SeenSecret>,
    /// The names of those that their owners take away, with the namespace.
    released: BTreeSet<String>,
}

impl Foreign {
    /// Whoever it belongs to takes it away from now on.
    pub fn release(&mut self, namespace: &str, name: &str) {
        self.released.insert(format!("{namespace}/{name}"));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Gives what was done to them.
    pub fn see(&mut self, at: Moment, snapshot: &Snapshot) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |secret: &SeenSecret, what: &str| {
            let subject = format!("{}/{}", secret.namespace, secret.name);
            let what = format!("the foreign {} {what}", secret.subject());
            findings.push(Finding { at, what, subject });
        };
        for secret in &snapshot.secrets {
            match self.known.get(&secret.uid) {
                Some(known) if known.text != secret.text => {
                    find(secret, &format!("was changed from {} to {}", known.text, secret.text));
                    self.known.insert(secret.uid.clone(), secret.clone());
                }
                None if secret.controller.is_none() => {
                    self.known.insert(secret.uid.clone(), secret.clone());
                }
                _ => {}
            }
        }
        let there: BTreeSet<&String> = snapshot.secrets.iter().map(|secret| &secret.uid).collect();
        let released = &self.released;
        self.known.retain(|uid, secret| {
            let stays = there.contains(uid);
            if !stays && !released.contains(&format!("{}/{}", secret.namespace, secret.name)) {
                find(secret, "was deleted");
            }
            stays
        });
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::secrets::tests::snapshot;
    use super::*;

    fn foreign() -> Snapshot {
        let mut seen = snapshot();
        seen.secrets[0].controller = None;
        seen
    }

    fn second_look(change: impl FnOnce(&mut Snapshot), released: bool) -> Vec<Finding> {
        let mut foreign_secrets = Foreign::default();
        let mut seen = foreign();
        assert_eq!(foreign_secrets.see(Duration::ZERO, &seen), []);
        assert_eq!(foreign_secrets.count(), 1);
        if released {
            foreign_secrets.release("team", "s-a");
        }
        change(&mut seen);
        let found = foreign_secrets.see(Duration::from_secs(1), &seen);
        assert_eq!(foreign_secrets.see(Duration::from_secs(2), &seen), []);
        found
    }

    #[test]
    fn what_is_left_alone_is_fine() {
        assert_eq!(second_look(|_| (), false), []);
    }

    #[test]
    fn each_byte_counts_and_so_does_a_new_owner() {
        assert_eq!(
            second_look(|all| all.secrets[0].text = "{\"a\":1}".to_owned(), false).len(),
            1
        );
        let taken = |all: &mut Snapshot| {
            all.secrets[0].controller = Some("uid-a".to_owned());
            all.secrets[0].text = "{\"owned\":1}".to_owned();
        };
        assert_eq!(second_look(taken, false).len(), 1);
    }

    #[test]
    fn only_its_owner_deletes_it() {
        let found = second_look(|all| all.secrets.clear(), false);
        assert!(found[0].what.ends_with("was deleted"), "{found:?}");
        assert_eq!(second_look(|all| all.secrets.clear(), true), []);
    }
}
