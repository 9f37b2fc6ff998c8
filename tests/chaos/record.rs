//! What happened, and what was found: the one place where faults, people and the observer meet.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;

use crate::fault::Fault;
use crate::judge::calls::Calls;
use crate::judge::conditions::Conditions;
use crate::judge::foreign::Foreign;
use crate::judge::limits::{Life, Sample};
use crate::judge::timeline::Timeline;
use crate::judge::writers::Writers;
use crate::judge::{Finding, Moment};

/// How many lines before a finding are shown of what concerns it.
const SHOWN: usize = 60;

/// The record of a run. Each copy is the same one.
#[derive(Clone)]
pub struct Record {
    start: Instant,
    start_wall: Timestamp,
    state: Arc<Mutex<State>>,
}

pub struct State {
    pub timeline: Timeline,
    /// The same without what ends or stops an operator: that is no reason to ask AWS, and no excuse for credentials that expire.
    pub reasons: Timeline,
    pub conditions: Conditions,
    pub foreign: Foreign,
    pub calls: Calls,
    pub writers: Writers,
    pub lives: Vec<RunningLife>,
    pub findings: Vec<Finding>,
    /// What was done, and how often.
    pub done: BTreeMap<String, usize>,
    /// For how long nothing excused the operator.
    pub judged: Duration,
    /// For how long nothing excused credentials that expire.
    pub judged_for_expired: Duration,
    history: Vec<Line>,
}

/// A process of an operator that may be looked at.
pub struct RunningLife {
    pub pid: u32,
    pub life: Life,
    /// Whether it can answer: it neither ended nor was stopped.
    pub awake: bool,
}

struct Line {
    at: Moment,
    text: String,
    /// It is about the world, and so about every finding.
    is_fault: bool,
}

/// A hindrance, in both timelines.
#[derive(Clone, Copy, Debug)]
pub struct Hindrance {
    number: usize,
    reason: Option<usize>,
}

impl Record {
    /// Begins one, of sessions that last so long.
    pub fn new(lifetime: Duration) -> Self {
        Self {
            start: Instant::now(),
            start_wall: Timestamp::now(),
            state: Arc::new(Mutex::new(State {
                timeline: Timeline::default(),
                reasons: Timeline::default(),
                conditions: Conditions::default(),
                foreign: Foreign::default(),
                calls: Calls::new(lifetime),
                writers: Writers::default(),
                lives: Vec::new(),
                findings: Vec::new(),
                done: BTreeMap::new(),
                judged: Duration::ZERO,
                judged_for_expired: Duration::ZERO,
                history: Vec::new(),
            })),
        }
    }

    pub fn now(&self) -> Moment {
        self.start.elapsed()
    }

    /// The moment of a wall-clock time, none before the start.
    pub fn moment(&self, time: Timestamp) -> Moment {
        Duration::try_from(time.duration_since(self.start_wall)).unwrap_or_default()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Tells what happens in the world.
    pub fn tell(&self, text: &str) {
        let at = self.now();
        println!("{:>7.1} s  {text}", at.as_secs_f64());
        self.keep(at, text, true);
    }

    /// Keeps what somebody does, in case that something is found.
    pub fn note(&self, text: &str) {
        self.keep(self.now(), text, false);
    }

    fn keep(&self, at: Moment, text: &str, is_fault: bool) {
        let text = text.to_owned();
        self.state().history.push(Line { at, text, is_fault });
    }

    pub fn count(&self, what: &str) {
        *self.state().done.entry(what.to_owned()).or_default() += 1;
    }

    /// A fault begins.
    pub fn begin(&self, fault: Fault) -> Hindrance {
        let at = self.now();
        let mut state = self.state();
        let number = state.timeline.begin(at, fault.aftermath());
        let reason = (!fault.is_of_an_operator()).then(|| state.reasons.begin(at, fault.aftermath()));
        Hindrance { number, reason }
    }

    /// It ends.
    pub fn end(&self, hindrance: Hindrance) {
        let at = self.now();
        let mut state = self.state();
        state.timeline.end(hindrance.number, at);
        if let Some(reason) = hindrance.reason {
            state.reasons.end(reason, at);
        }
    }

    /// Something must not be: it is told with all that may have led to it.
    pub fn found(&self, finding: Finding) {
        let mut state = self.state();
        let is_name = |word: &&str| word.contains(|c: char| c.is_ascii_digit());
        let words = finding
            .subject
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let names: Vec<&str> = words.filter(is_name).collect();
        let lines = state.history.iter().filter(|line| line.at <= finding.at);
        let concerns = |line: &&Line| line.is_fault || names.iter().any(|name| line.text.contains(name));
        let lines: Vec<&Line> = lines.filter(concerns).collect();
        println!("{:>7.1} s  FOUND: {}", finding.at.as_secs_f64(), finding.what);
        for line in &lines[lines.len().saturating_sub(SHOWN)..] {
            println!("             {:>7.1} s  {}", line.at.as_secs_f64(), line.text);
        }
        state.findings.push(finding);
    }

    /// Something that must not be, without a subject of its own.
    pub fn fail(&self, subject: &str, what: &str) {
        self.found(Finding {
            at: self.now(),
            what: what.to_owned(),
            subject: subject.to_owned(),
        });
    }

    /// A process of an operator begins.
    pub fn lives(&self, replica: &str, pid: u32) {
        let life = Life::new(replica);
        self.state().lives.push(RunningLife { pid, life, awake: true });
    }

    /// It ends, or what there is to say of it at the end of the run.
    pub fn dies(&self, replica: &str, how: &str) {
        let growth = {
            let mut state = self.state();
            let last = state.last_life(replica);
            last.awake = false;
            last.life.end = Some(how.to_owned());
            last.life.growth()
        };
        growth.into_iter().for_each(|finding| self.found(finding));
    }

    /// It is stopped, or goes on.
    pub fn set_awake(&self, replica: &str, awake: bool) {
        self.state().last_life(replica).awake = awake;
    }

    /// What a process has now.
    pub fn sample(&self, number: usize, sample: Sample) {
        let found = self.state().lives[number].life.see(sample);
        found.into_iter().for_each(|finding| self.found(finding));
    }
}

impl State {
    fn last_life(&mut self, replica: &str) -> &mut RunningLife {
        let mut lives = self.lives.iter_mut().rev();
        lives.find(|running| running.life.replica == replica).unwrap()
    }
}
