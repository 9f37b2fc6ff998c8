//! Which operator wrote a Secret: never two of them at the same time. Whoever writes a Secret after another must have taken the lease since.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Finding, Moment};

/// How long two operators may take to find out that somebody edited their lease by hand.
const AFTER_AN_EDIT: Duration = Duration::from_secs(45);

/// What an operator wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The namespace and the name.
    Secret(String),
    Lease,
}

/// A write that the API server took.
#[derive(Clone, Debug)]
pub struct Write {
    pub at: Moment,
    pub pod: String,
    pub what: Written,
}

/// The writes in the order of their answers, and who wrote what last.
#[derive(Debug, Default)]
pub struct Writers {
    holder: Option<String>,
    /// When each pod took the lease last.
    taken: BTreeMap<String, Moment>,
    /// How often it was taken from another.
    pub handovers: usize,
    last: BTreeMap<String, (String, Moment)>,
    /// How many Secrets each pod wrote.
    pub secrets: BTreeMap<String, usize>,
    edited: Option<Moment>,
}

impl Writers {
    /// Somebody edits the lease by hand.
    pub fn lease_edited(&mut self, at: Moment) {
        self.edited = Some(at);
    }

    /// Takes the next write.
    pub fn see(&mut self, write: &Write) -> Option<Finding> {
        let pod = &write.pod;
        let name = match &write.what {
            Written::Lease => {
                if self.holder.as_ref() != Some(pod) {
                    self.handovers += usize::from(self.holder.is_some());
                    self.taken.insert(pod.clone(), write.at);
                    self.holder = Some(pod.clone());
                }
                return None;
            }
            Written::Secret(name) => name,
        };
        *self.secrets.entry(pod.clone()).or_default() += 1;
        let (before, when) = self.last.insert(name.clone(), (pod.clone(), write.at))?;
        let excused = self.edited.is_some_and(|edited| write.at <= edited + AFTER_AN_EDIT);
        let took_over = self.taken.get(pod).is_some_and(|taken| *taken >= when);
        if before == *pod || took_over || excused {
            return None;
        }
        Some(Finding {
            at: write.at,
            what: format!(
                "Secret {name} was written by {pod}, {:.1} s after {before} had written it, and {pod} has not taken the lease since",
                (write.at - when).as_secs_f64()
            ),
            subject: name.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(writes: &[(u64, &str, &str)], edited: Option<u64>) -> usize {
        let mut writers = Writers::default();
        let mut found = 0;
        for (at, pod, what) in writes {
            if edited.is_some_and(|edited| edited <= *at) {
                writers.lease_edited(Duration::from_secs(edited.unwrap()));
            }
            let write = Write {
                at: Duration::from_secs(*at),
                pod: (*pod).to_owned(),
                what: match *what {
                    "lease" => Written::Lease,
                    name => Written::Secret(name.to_owned()),
                },
            };
            found += usize::from(writers.see(&write).is_some());
        }
        found
    }

    #[test]
    fn one_writer_after_the_other_is_fine() {
        let handed_over = [
            (0, "a", "lease"),
            (1, "a", "s"),
            (2, "a", "s"),
            (20, "b", "lease"),
            (21, "b", "s"),
            (40, "a", "lease"),
            (41, "a", "s"),
        ];
        assert_eq!(found(&handed_over, None), 0);
    }

    #[test]
    fn two_at_once_are_found() {
        assert_eq!(found(&[(1, "a", "s"), (2, "b", "s")], None), 1);
        // Different Secrets are no offence by themselves, but who writes on without the lease is found.
        assert_eq!(found(&[(1, "a", "s"), (2, "b", "t")], None), 0);
        let late = [
            (0, "a", "lease"),
            (1, "a", "s"),
            (20, "b", "lease"),
            (21, "a", "s"),
            (22, "b", "s"),
        ];
        assert_eq!(found(&late, None), 1);
        let back = [
            (0, "a", "lease"),
            (1, "a", "s"),
            (20, "b", "lease"),
            (21, "b", "s"),
            (22, "a", "s"),
        ];
        assert_eq!(found(&back, None), 1);
    }

    #[test]
    fn an_edited_lease_excuses_for_a_moment() {
        let writes = [(0, "a", "lease"), (1, "a", "s"), (12, "b", "s")];
        assert_eq!(found(&writes, None), 1);
        assert_eq!(found(&writes, Some(1)), 0);
        let later = [(0, "a", "lease"), (1, "a", "s"), (80, "b", "s")];
        assert_eq!(found(&later, Some(1)), 1);
    }
}
