//! When the operator was hindered, and for how long that excuses it.

use std::time::Duration;

use super::Moment;

/// After a failure the operator's pause is this long at first.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What a busy machine may add.
const BUSY: Duration = Duration::from_secs(10);

/// Something that keeps the operator from its work for a while.
#[derive(Clone, Debug)]
struct Hindrance {
    from: Moment,
    /// `None` while it lasts.
    until: Option<Moment>,
    /// How long it may be felt after its end.
    aftermath: Duration,
}

/// All that hindered the operator, in the order of the beginnings.
#[derive(Clone, Debug, Default)]
pub struct Timeline(Vec<Hindrance>);

/// Hindrances that follow each other so fast that the operator had no time in between.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    from: Moment,
    until: Moment,
    /// Until when an aftermath lasts.
    felt: Moment,
}

impl Cluster {
    /// When it counts as over. The pause between attempts doubles with each failure, so the next one may come as much later as the trouble
    /// has lasted.
    fn over(self) -> Moment {
        let pause = (self.until - self.from) * 5 / 4 + FIRST_PAUSE;
        self.felt + pause.min(LONGEST_PAUSE) + BUSY
    }
}

impl Timeline {
    /// Something begins to hinder. Gives its number.
    pub fn begin(&mut self, from: Moment, aftermath: Duration) -> usize {
        let from = self.0.last().map_or(from, |last| last.from.max(from));
        self.0.push(Hindrance {
            from,
            until: None,
            aftermath,
        });
        self.0.len() - 1
    }

    /// It ends.
    pub fn end(&mut self, number: usize, at: Moment) {
        self.0[number].until = Some(at);
    }

    /// Whether anything goes on.
    pub fn is_hindered(&self) -> bool {
        self.0.iter().any(|hindrance| hindrance.until.is_none())
    }

    /// Since when nothing has excused the operator, seen from a moment. `None` if something does.
    pub fn calm_since(&self, at: Moment) -> Option<Moment> {
        let mut current: Option<Cluster> = None;
        for hindrance in self.0.iter().filter(|hindrance| hindrance.from <= at) {
            let until = hindrance.until.filter(|until| *until <= at)?;
            let felt = until + hindrance.aftermath;
            let cluster = match current {
                Some(cluster) if hindrance.from <= cluster.over() => Cluster {
                    from: cluster.from,
                    until: cluster.until.max(until),
                    felt: cluster.felt.max(felt),
                },
                _ => Cluster {
                    from: hindrance.from,
                    until,
                    felt,
                },
            };
            current = Some(cluster);
        }
        let since = current.map_or(Duration::ZERO, Cluster::over);
        (since <= at).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn timeline(hindrances: &[(u64, u64, u64)]) -> Timeline {
        let mut timeline = Timeline::default();
        for (from, until, aftermath) in hindrances {
            let number = timeline.begin(at(*from), at(*aftermath));
            timeline.end(number, at(*until));
        }
        timeline
    }

    #[test]
    fn without_a_hindrance_all_is_calm() {
        assert_eq!(Timeline::default().calm_since(at(5)), Some(at(0)));
    }

    #[test]
    fn what_goes_on_excuses_and_so_does_its_aftermath() {
        let mut timeline = Timeline::default();
        let number = timeline.begin(at(100), at(30));
        assert_eq!(timeline.calm_since(at(99)), Some(at(0)));
        assert_eq!(timeline.calm_since(at(10_000)), None);
        assert!(timeline.is_hindered());
        timeline.end(number, at(108));
        assert!(!timeline.is_hindered());
        // 30 s of aftermath, 20 s of pause, 10 s for the machine.
        assert_eq!(timeline.calm_since(at(167)), None);
        assert_eq!(timeline.calm_since(at(168)), Some(at(168)));
        assert_eq!(timeline.calm_since(at(400)), Some(at(168)));
    }

    #[test]
    fn hindrances_that_leave_no_time_between_them_count_as_one() {
        let apart = timeline(&[(0, 8, 0), (100, 108, 0)]);
        assert_eq!(apart.calm_since(at(99)), Some(at(38)));
        assert_eq!(apart.calm_since(at(200)), Some(at(138)));
        let together = timeline(&[(0, 8, 0), (20, 40, 0)]);
        assert_eq!(together.calm_since(at(109)), None);
        assert_eq!(together.calm_since(at(110)), Some(at(110)));
    }

    #[test]
    fn no_trouble_excuses_for_ever() {
        let long = timeline(&[(0, 3600, 0)]);
        assert_eq!(long.calm_since(at(3600 + 310)), Some(at(3910)));
    }
}
