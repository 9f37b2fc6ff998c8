//! What may be so for a while, and not for longer when nothing excuses it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::timeline::Timeline;
use super::{Finding, Moment};

/// What should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// A Secret holds expired credentials.
    Expired,
    /// A resource has no Secret, or none as it asks for.
    Unmade,
    /// A Secret is there whose resource is not.
    Orphaned,
    /// A Secret of an earlier name is there.
    LeftOver,
    /// The status does not say how things stand.
    Unsaid,
    /// An operator says that it is stuck, or nothing.
    NotAlive,
    /// An operator says that it does not know all resources.
    NotReady,
}

impl Wrong {
    /// For how long it may be so. Expired credentials are late already when they expire.
    fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Expired => 10,
            Self::NotAlive => 45,
            // The garbage collector and a deletion that waits for another attempt.
            Self::Orphaned | Self::LeftOver | Self::NotReady => 60,
            // A Secret that was in the way is looked for again within a minute.
            Self::Unmade | Self::Unsaid => 90,
        })
    }

    fn words(self) -> &'static str {
        match self {
            Self::Expired => "holds expired credentials",
            Self::Unmade => "has no Secret as it asks for",
            Self::Orphaned => "belongs to a resource that is gone",
            Self::LeftOver => "is not wanted any more",
            Self::Unsaid => "has a status that does not say how it stands",
            Self::NotAlive => "is not alive",
            Self::NotReady => "is not ready",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Open {
    since: Moment,
    told: bool,
}

/// What is wrong at the moment, and since when.
#[derive(Debug, Default)]
pub struct Conditions(BTreeMap<(Wrong, String), Open>);

impl Conditions {
    /// Takes what is wrong now, of some kinds, and gives what has been so for too long.
    pub fn see(
        &mut self,
        at: Moment,
        kinds: &[Wrong],
        wrong: Vec<(Wrong, String)>,
        timeline: &Timeline,
    ) -> Vec<Finding> {
        let keys: Vec<_> = self.0.keys().cloned().collect();
        for key in keys {
            if kinds.contains(&key.0) && !wrong.contains(&key) {
                self.0.remove(&key);
            }
        }
        let mut findings = Vec::new();
        let calm = timeline.calm_since(at);
        for (kind, subject) in wrong {
            let open = self
                .0
                .entry((kind, subject.clone()))
                .or_insert(Open { since: at, told: false });
            let Some(calm) = calm else { continue };
            let unexcused = at.saturating_sub(open.since.max(calm));
            if unexcused > kind.patience() && !open.told {
                open.told = true;
                let what = format!(
                    "{subject} {}, for {} s, {} s of them without an excuse",
                    kind.words(),
                    (at - open.since).as_secs(),
                    unexcused.as_secs()
                );
                findings.push(Finding { at, what, subject });
            }
        }
        findings
    }

    /// What is wrong now and was not found yet.
    pub fn open(&self) -> impl Iterator<Item = String> {
        let untold = self.0.iter().filter(|(_, open)| !open.told);
        untold.map(|((kind, subject), _)| format!("{subject} {}", kind.words()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Wrong; 2] = [Wrong::Expired, Wrong::Unmade];

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn wrong(kind: Wrong) -> Vec<(Wrong, String)> {
        vec![(kind, "team/a".to_owned())]
    }

    #[test]
    fn what_lasts_too_long_is_found_once() {
        let (mut conditions, timeline) = (Conditions::default(), Timeline::default());
        let mut found = Vec::new();
        for second in 0..200 {
            found.extend(conditions.see(at(second), &KINDS, wrong(Wrong::Unmade), &timeline));
        }
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].at, found[0].subject.as_str()), (at(91), "team/a"));
    }

    #[test]
    fn what_comes_right_begins_anew() {
        let (mut conditions, timeline) = (Conditions::default(), Timeline::default());
        for second in 0..400 {
            let seen = match second % 80 {
                0 => Vec::new(),
                _ => wrong(Wrong::Unmade),
            };
            assert_eq!(conditions.see(at(second), &KINDS, seen, &timeline), []);
        }
        assert_eq!(conditions.open().count(), 1);
    }

    #[test]
    fn other_kinds_stay_as_they_were_seen() {
        let (mut conditions, timeline) = (Conditions::default(), Timeline::default());
        conditions.see(at(0), &KINDS, wrong(Wrong::Expired), &timeline);
        conditions.see(at(1), &[Wrong::NotAlive], Vec::new(), &timeline);
        assert_eq!(conditions.open().count(), 1);
    }

    #[test]
    fn trouble_excuses_for_its_time() {
        let (mut conditions, mut timeline) = (Conditions::default(), Timeline::default());
        let number = timeline.begin(at(5), at(0));
        conditions.see(at(10), &KINDS, wrong(Wrong::Expired), &timeline);
        assert_eq!(conditions.see(at(100), &KINDS, wrong(Wrong::Expired), &timeline), []);
        timeline.end(number, at(101));
        let over = timeline.calm_since(at(1000)).unwrap();
        assert_eq!(
            conditions.see(over + at(10), &KINDS, wrong(Wrong::Expired), &timeline),
            []
        );
        let found = conditions.see(over + at(11), &KINDS, wrong(Wrong::Expired), &timeline);
        assert_eq!(found.len(), 1);
    }
}
