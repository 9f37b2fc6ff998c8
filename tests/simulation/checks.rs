//! The promises, as assertions that are checked at every step of a life.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_assume_role::resource::AWSAssumeRoleStatus;
use k8s_openapi::jiff::Timestamp;

use crate::figures::Figures;
use crate::time::Time;
use support::strict_aws::StrictAws;

/// How long things must have been well within the overlap before an end counts as avoidable, in seconds: the longest pause between
/// attempts, a call that hangs, and the restart of an actor.
const CHANCE: i64 = 210;

/// The least time between two calls for one resource that nothing set off, in seconds.
const FLOOR: i64 = 4;

/// What the checks know of a Secret.
struct Held {
    owner: String,
    ends: Timestamp,
    written: Timestamp,
}

/// Times, in seconds of the epoch, during which a refresh could not be made.
#[derive(Default)]
struct Hindrance {
    since: Option<i64>,
    /// How many things hinder at the same time.
    depth: u32,
    past: VecDeque<(i64, i64)>,
}

struct State {
    seed: u64,
    figures: Figures,
    held: BTreeMap<String, Held>,
    /// Of everybody.
    everybody: BTreeMap<&'static str, Hindrance>,
    /// Of single resources, by UID.
    single: BTreeMap<String, Hindrance>,
    /// The resources by the role that they assume, and what is known of each.
    roles: BTreeMap<String, Asked>,
    deleted: BTreeSet<String>,
    recovering: Option<i64>,
    /// Who may write a status again that is stored already, because the operator cannot know that it is.
    unsure: BTreeSet<String>,
    /// The latest happenings, to be told when a promise is broken.
    story: VecDeque<String>,
}

/// How much of the story is kept.
const STORY: usize = 20_000;

#[derive(Default)]
struct Asked {
    last: Option<i64>,
    /// Reasons to ask again at once, which have not been used up.
    reasons: u32,
}

#[derive(Clone)]
pub struct Checks {
    state: Arc<Mutex<State>>,
    time: Time,
    aws: StrictAws,
}

impl Checks {
    pub fn new(seed: u64, time: Time, aws: StrictAws) -> Self {
        let state = State {
            seed,
            figures: Figures::default(),
            held: BTreeMap::new(),
            everybody: BTreeMap::new(),
            single: BTreeMap::new(),
            roles: BTreeMap::new(),
            deleted: BTreeSet::new(),
            recovering: None,
            unsure: BTreeSet::new(),
            story: VecDeque::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            time,
            aws,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|broken| broken.into_inner())
    }

    fn seconds(&self) -> i64 {
        self.time.now().as_second()
    }

    /// Writes a happening into the story.
    pub fn note(&self, happening: &str) {
        let line = format!("{:>8}  {happening}", self.time.seconds());
        let mut state = self.state();
        if state.story.len() == STORY {
            state.story.pop_front();
        }
        state.story.push_back(line);
    }

    pub fn count(&self, kind: &str) {
        self.state().figures.count(kind);
    }

    pub fn figures(&self) -> Figures {
        let mut figures = self.state().figures.clone();
        figures.calls = self.aws.counts();
        figures
    }

    /// Ends a life in which a promise was broken.
    pub fn broken(&self, what: &str) -> ! {
        let seed = self.state().seed;
        // What the complaint is about are the words in it that name something.
        let state = self.state();
        let named: Vec<&str> = what
            .split(|c: char| !(c.is_alphanumeric() || c == '-'))
            .filter(|word| word.starts_with("uid-") || word.starts_with("s-"))
            .collect();
        let told: Vec<&String> = state
            .story
            .iter()
            .filter(|line| line.contains("  * ") || named.iter().any(|name| line.contains(name)))
            .collect();
        for line in &told[told.len().saturating_sub(60)..] {
            eprintln!("{line}");
        }
        drop(state);
        // The actors live in tasks, whose panics are theirs alone.
        eprintln!("seed {seed}, second {}: {what}", self.time.seconds());
        std::process::exit(101);
    }

    // --- what keeps refreshes from being made

    pub fn hinder(&self, what: &'static str) {
        self.note(&format!("* {what} is away"));
        let now = self.seconds();
        self.state().everybody.entry(what).or_default().begin(now);
    }

    pub fn release(&self, what: &'static str) {
        self.note(&format!("* {what} is back"));
        let now = self.seconds();
        let mut state = self.state();
        state.everybody.entry(what).or_default().end(now);
        state.recovering.get_or_insert(now);
    }

    pub fn hinder_one(&self, uid: &str) {
        self.note(&format!("{uid} is hindered"));
        let now = self.seconds();
        self.state().single.entry(uid.to_owned()).or_default().begin(now);
    }

    pub fn release_one(&self, uid: &str) {
        self.note(&format!("{uid} is not hindered any more"));
        let now = self.seconds();
        self.state().single.entry(uid.to_owned()).or_default().end(now);
    }

    // --- what happens to Secrets

    pub fn may_write(&self, name: &str, owner: Option<&str>, by: &str) {
        if owner != Some(by) {
            self.broken(&format!("Secret {name} of {owner:?} was written by {by}"));
        }
    }

    pub fn may_repair(&self, name: &str, owner: Option<&str>) {
        if owner.is_none() {
            self.broken(&format!("Secret {name} of nobody was touched"));
        }
    }

    pub fn secret_written(&self, name: &str, owner: &str, content: &str) {
        let now = self.time.now();
        let Some(ends) = self.aws.session_end(content).or_else(|| self.aws.token_end(content)) else {
            self.broken(&format!(
                "Secret {name} got credentials that AWS does not know: {content:?}"
            ));
        };
        self.note(&format!("{name} written for {owner}, until {ends}"));
        self.settle_end(name, now);
        let mut state = self.state();
        state.figures.refreshes += 1;
        let held = Held {
            owner: owner.to_owned(),
            ends,
            written: now,
        };
        if let Some(before) = state.held.insert(name.to_owned(), held)
            && before.owner == owner
            && before.ends > now
            && state.chance(&before) >= CHANCE
        {
            let margin = before.ends.as_second() - now.as_second();
            let smallest = &mut state.figures.smallest_margin;
            *smallest = Some(smallest.map_or(margin, |known| known.min(margin)));
        }
    }

    pub fn secret_gone(&self, name: &str) {
        self.note(&format!("{name} gone"));
        self.settle_end(name, self.time.now());
        self.state().held.remove(name);
    }

    /// If the credentials in a Secret have ended: whether that had to be.
    fn settle_end(&self, name: &str, now: Timestamp) {
        let mut state = self.state();
        let Some(held) = state.held.get(name) else {
            return;
        };
        if held.ends >= now {
            return;
        }
        let chance = state.chance(held);
        if chance < CHANCE {
            state.figures.excused += 1;
            return;
        }
        let told = format!(
            "Secret {name} of {} held credentials that ended {} s ago, written {} s before that; a refresh could have been made for {chance} s",
            held.owner,
            now.as_second() - held.ends.as_second(),
            held.ends.as_second() - held.written.as_second(),
        );
        state.figures.expired_seconds += now.duration_since(held.ends).as_secs().unsigned_abs();
        drop(state);
        self.broken(&told);
    }

    /// Looks at all Secrets, from time to time.
    pub fn look(&self) {
        let now = self.time.now();
        let ended: Vec<String> = {
            let state = self.state();
            let ended = state.held.iter().filter(|(_, held)| held.ends < now);
            ended.map(|(name, _)| name.clone()).collect()
        };
        for name in &ended {
            let hindered = {
                let state = self.state();
                state.held.get(name).is_some_and(|held| state.is_hindered(&held.owner))
            };
            if !hindered {
                self.settle_end_while_there(name, now);
            }
        }
        let mut state = self.state();
        let waiting = ended.iter().filter(|name| {
            let held = state.held.get(*name);
            held.is_some_and(|held| !state.is_hindered(&held.owner))
        });
        if waiting.count() == 0
            && state.everybody.values().all(|hindrance| hindrance.since.is_none())
            && let Some(since) = state.recovering.take()
        {
            let took = u64::try_from(now.as_second() - since).unwrap_or_default();
            state.figures.worst_recovery = state.figures.worst_recovery.max(Some(took));
        }
    }

    /// An end is an offence only once there was a chance to mend it after the last hindrance.
    fn settle_end_while_there(&self, name: &str, now: Timestamp) {
        let late = {
            let state = self.state();
            state.held.get(name).is_some_and(|held| {
                let begin = held.ends.as_second() - overlap(held);
                state.free(&held.owner, begin, now.as_second()) >= 2 * CHANCE
            })
        };
        if late {
            let state = self.state();
            let held = &state.held[name];
            let told = format!(
                "Secret {name} of {} holds credentials that ended {} s ago, and nothing hinders a refresh",
                held.owner,
                now.as_second() - held.ends.as_second()
            );
            drop(state);
            self.broken(&told);
        }
    }

    // --- what is asked of AWS

    /// Something happened that is a reason to ask for the credentials of a resource at once.
    pub fn reason(&self, uid: &str) {
        self.note(&format!("{uid} has a reason"));
        self.state().roles.entry(uid.to_owned()).or_default().reasons += 1;
    }

    pub fn reason_for_all(&self) {
        for asked in self.state().roles.values_mut() {
            asked.reasons += 1;
        }
    }

    pub fn resource_deleted(&self, uid: &str) {
        self.state().deleted.insert(uid.to_owned());
    }

    /// A call is made for a resource.
    pub fn asked(&self, uid: &str) {
        self.note(&format!("AWS asked for {uid}"));
        let now = self.seconds();
        let mut state = self.state();
        if state.deleted.contains(uid) {
            drop(state);
            self.broken(&format!(
                "AWS was asked for the credentials of {uid}, which was deleted"
            ));
        }
        let asked = state.roles.entry(uid.to_owned()).or_default();
        let too_soon = asked.last.is_some_and(|last| now - last < FLOOR);
        asked.last = Some(now);
        if too_soon {
            if asked.reasons == 0 {
                drop(state);
                self.broken(&format!("AWS was asked for {uid} twice within {FLOOR} s for no reason"));
            }
            asked.reasons -= 1;
        }
    }

    // --- statuses

    /// The answer to a write of the status was lost, or the actor that would know of it.
    pub fn status_unsure(&self, uid: &str) {
        self.state().unsure.insert(uid.to_owned());
    }

    pub fn all_statuses_unsure(&self) {
        let mut state = self.state();
        let all: Vec<String> = state.roles.keys().cloned().collect();
        state.unsure.extend(all);
    }

    pub fn status_written(
        &self,
        uid: &str,
        before: Option<&AWSAssumeRoleStatus>,
        after: &AWSAssumeRoleStatus,
        now: Timestamp,
    ) {
        let ready = after
            .conditions
            .first()
            .map(|ready| format!("{} {}", ready.status, ready.reason));
        self.note(&format!("{uid} status {ready:?} next {:?}", after.next_refresh_time));
        let unsure = self.state().unsure.remove(uid);
        if before == Some(after) && !unsure {
            self.broken("a status that said nothing new was written");
        }
        let types: Vec<_> = after
            .conditions
            .iter()
            .map(|condition| condition.type_.as_str())
            .collect();
        if types != ["Ready", "Refreshed"] {
            self.broken(&format!("a status has the conditions {types:?}"));
        }
        let ready = &after.conditions[0];
        let ended = after
            .expiration
            .as_ref()
            .is_none_or(|end| end.0.as_second() < now.as_second() - 60);
        if ready.status == "True" && ended && !self.time.lies() {
            self.broken(&format!(
                "a status says Ready of credentials that have ended: {after:?}"
            ));
        }
    }
}

/// The overlap that is promised: a third of the lifetime.
fn overlap(held: &Held) -> i64 {
    (held.ends.as_second() - held.written.as_second()) / 3
}

impl State {
    /// For how many seconds of the overlap a refresh could have been made.
    fn chance(&self, held: &Held) -> i64 {
        let end = held.ends.as_second();
        self.free(&held.owner, end - overlap(held), end)
    }

    fn is_hindered(&self, owner: &str) -> bool {
        let single = self.single.get(owner).into_iter();
        self.everybody
            .values()
            .chain(single)
            .any(|hindrance| hindrance.since.is_some())
    }

    /// The longest time without a hindrance between two moments.
    fn free(&self, owner: &str, begin: i64, end: i64) -> i64 {
        let single = self.single.get(owner).into_iter();
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for hindrance in self.everybody.values().chain(single) {
            spans.extend(hindrance.since.map(|since| (since, i64::MAX)));
            spans.extend(hindrance.past.iter().filter(|(_, until)| *until > begin));
        }
        spans.sort_unstable();
        let mut longest = 0;
        let mut free_since = begin;
        for (from, until) in spans {
            longest = longest.max(from.min(end) - free_since);
            free_since = free_since.max(until);
            if free_since >= end {
                return longest;
            }
        }
        longest.max(end - free_since)
    }
}

impl Hindrance {
    fn begin(&mut self, now: i64) {
        self.depth += 1;
        self.since.get_or_insert(now);
    }

    fn end(&mut self, now: i64) {
        self.depth = self.depth.saturating_sub(1);
        if self.depth > 0 {
            return;
        }
        if let Some(since) = self.since.take() {
            self.past.push_back((since, now));
            if self.past.len() > 200 {
                self.past.pop_front();
            }
        }
    }
}
