//! What an operator takes of the machine: it may not grow.

use std::fmt;
use std::time::Duration;

use super::{Finding, Moment};

/// A life shorter than this says nothing about growth.
const LONG: Duration = Duration::from_secs(480);

/// How long an operator may take to reach its size.
const START: Duration = Duration::from_secs(120);

/// The time at the beginning and at the end that is compared. The least that it had is what it keeps.
const WINDOW: Duration = Duration::from_secs(120);

/// By how much it may grow. Allocators keep what was needed once.
const GROWTH_MAX_KIB: u64 = 16 * 1024;

/// The most that a dozen resources may need.
const MEMORY_MAX_KIB: u64 = 200 * 1024;

/// The most files and connections.
const FILES_MAX: usize = 200;

/// What a process has at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub at: Moment,
    pub resident_kib: u64,
    pub files: usize,
    pub sockets: usize,
}

/// One process of an operator, from its start to its end.
#[derive(Clone, Debug)]
pub struct Life {
    pub replica: String,
    pub samples: Vec<Sample>,
    /// How it ended, if it did.
    pub end: Option<String>,
    pub told: bool,
}

impl Life {
    pub fn new(replica: &str) -> Self {
        Self {
            replica: replica.to_owned(),
            samples: Vec::new(),
            end: None,
            told: false,
        }
    }

    /// Takes what it has now.
    pub fn see(&mut self, sample: Sample) -> Option<Finding> {
        self.samples.push(sample);
        let too_much = sample.resident_kib > MEMORY_MAX_KIB || sample.files > FILES_MAX;
        if !too_much || std::mem::replace(&mut self.told, true) {
            return None;
        }
        Some(Finding {
            at: sample.at,
            what: format!(
                "{} has {} MiB and {} open files",
                self.replica,
                sample.resident_kib / 1024,
                sample.files
            ),
            subject: self.replica.clone(),
        })
    }

    /// Whether it grew, said at its end.
    pub fn growth(&self) -> Option<Finding> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        if last.at - first.at < LONG {
            return None;
        }
        let start = first.at + START;
        let early = self.least(|sample| sample.at >= start && sample.at < start + WINDOW)?;
        let late = self.least(|sample| sample.at + WINDOW > last.at)?;
        (late > early + GROWTH_MAX_KIB).then(|| Finding {
            at: last.at,
            what: format!("{} grew from {} to {} MiB", self.replica, early / 1024, late / 1024),
            subject: self.replica.clone(),
        })
    }

    fn least(&self, which: impl Fn(&Sample) -> bool) -> Option<u64> {
        let samples = self.samples.iter().filter(|sample| which(sample));
        samples.map(|sample| sample.resident_kib).min()
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(first), Some(last)) = (self.samples.first(), self.samples.last()) else {
            return write!(f, "{}: it was never looked at", self.replica);
        };
        let files = self.samples.iter().map(|sample| sample.files);
        let sockets = self.samples.iter().map(|sample| sample.sockets);
        write!(
            f,
            "{} from {} to {} s: MiB",
            self.replica,
            first.at.as_secs(),
            last.at.as_secs()
        )?;
        // A dozen of them show the course.
        for sample in self.samples.iter().step_by(self.samples.len().div_ceil(12)) {
            write!(f, " {:.1}", sample.resident_kib as f64 / 1024.0)?;
        }
        write!(
            f,
            ", then {:.1}; files {} to {}, of them connections {} to {}",
            last.resident_kib as f64 / 1024.0,
            files.clone().min().unwrap_or_default(),
            files.max().unwrap_or_default(),
            sockets.clone().min().unwrap_or_default(),
            sockets.max().unwrap_or_default(),
        )?;
        match &self.end {
            Some(end) => write!(f, "; {end}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(resident_mib: impl Fn(u64) -> u64) -> Life {
        let mut life = Life::new("chaos-0");
        for at in (0..900).step_by(5) {
            let found = life.see(Sample {
                at: Duration::from_secs(at),
                resident_kib: resident_mib(at) * 1024,
                files: 20,
                sockets: 10,
            });
            assert_eq!(found, None);
        }
        life
    }

    #[test]
    fn growth_is_found_and_a_peak_is_not() {
        assert_eq!(life(|_| 30).growth(), None);
        assert_eq!(life(|at| 20 + at.min(100) / 4).growth(), None);
        assert_eq!(life(|at| if at % 60 == 0 { 90 } else { 30 }).growth(), None);
        let found = life(|at| 30 + at / 30).growth().unwrap();
        assert_eq!(found.what, "chaos-0 grew from 34 to 56 MiB");
    }

    #[test]
    fn a_short_life_says_nothing() {
        let mut short = life(|at| 30 + at / 30);
        short.samples.truncate(50);
        assert_eq!(short.growth(), None);
    }

    #[test]
    fn too_many_files_are_found_once() {
        let mut life = Life::new("chaos-0");
        let sample = Sample {
            at: Duration::ZERO,
            resident_kib: 1,
            files: 201,
            sockets: 190,
        };
        assert!(life.see(sample).is_some());
        assert!(life.see(sample).is_none());
    }
}
