use proptest::prelude::*;

use super::*;

const A: &str = "a_1";
const B: &str = "b_2";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(1000 + seconds)
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn election(identity: &str) -> Election {
    let mut election = Election::new(identity.to_owned());
    election.contend();
    election
}

/// A Lease as it is stored, after so many changes.
fn lease(version: u64, record: LeaseRecord) -> Lease {
    Lease {
        uid: "uid".to_owned(),
        version: version.to_string(),
        record,
    }
}

fn held_by(holder: &str, version: u64) -> Lease {
    let record = LeaseRecord {
        holder: Some(holder.to_owned()),
        duration: LEASE_DURATION,
        acquired: Some(wall(0)),
        renewed: Some(wall(version.cast_signed())),
        transitions: 3,
    };
    lease(version, record)
}

/// One that has led since that second.
fn leading_since(second: u64) -> Election {
    let mut election = election(A);
    election.see(None, seconds(second));
    let end = election.hold(held_by(A, 1), seconds(second), seconds(second));
    assert_eq!(end, Some(seconds(second + 10)));
    election
}

#[test]
fn the_lease_is_looked_at_first_and_taken_at_once_if_nobody_has_it() {
    let mut election = Election::new(A.to_owned());
    assert_eq!(election.next(seconds(0)), Step::Look);
    election.see(None, seconds(0));
    assert_eq!(
        election.next(seconds(0)),
        Step::Wait(seconds(5)),
        "the resources are not known"
    );
    election.contend();
    assert_eq!(election.next(seconds(0)), Step::Acquire);
    let record = election.acquisition(wall(7));
    assert_eq!(record.holder.as_deref(), Some(A));
    assert_eq!((record.duration.as_secs(), record.transitions), (15, 0));
    assert_eq!((record.acquired, record.renewed), (Some(wall(7)), Some(wall(7))));
}

#[test]
fn one_that_is_released_is_taken_at_once() {
    let mut other = election(B);
    other.see(Some(held_by(B, 1)), seconds(0));
    let released = lease(2, other.release(wall(9)));
    assert_eq!(
        (&released.record.holder, released.record.duration.as_secs()),
        (&None, 1)
    );
    let mut election = election(A);
    election.see(Some(held_by(B, 1)), seconds(0));
    assert_eq!(election.next(seconds(1)), Step::Wait(seconds(5)));
    election.see(Some(released), seconds(2));
    assert_eq!(election.next(seconds(2)), Step::Acquire);
    assert_eq!(election.acquisition(wall(10)).transitions, 4);
}

#[test]
fn another_ones_lasts_from_when_it_was_seen_to_change_whatever_the_clocks_say() {
    let mut election = election(A);
    election.see(Some(held_by(B, 1)), seconds(0));
    for (version, at) in [(2, 2), (3, 4)] {
        election.see(Some(held_by(B, version)), seconds(at));
    }
    // It is seen again, and is the same, whatever somebody wrote beside it.
    election.see(Some(lease(9, held_by(B, 3).record)), seconds(17));
    assert_eq!(election.next(seconds(18)), Step::Wait(seconds(19)));
    assert_eq!(election.next(seconds(19)), Step::Acquire);
    // A renewal comes before this one's attempt.
    election.doubt();
    assert_eq!(election.next(seconds(19)), Step::Look);
    election.see(Some(held_by(B, 10)), seconds(20));
    assert_eq!(election.next(seconds(24)), Step::Wait(seconds(25)));
    assert_eq!(election.next(seconds(25)), Step::Look, "the watch is silent");
    election.see(Some(held_by(B, 10)), seconds(34));
    assert_eq!(election.next(seconds(35)), Step::Acquire);
}

#[test]
fn who_leads_renews_and_stops_in_time_if_that_fails() {
    let mut election = leading_since(0);
    assert_eq!(election.next(seconds(1)), Step::Wait(seconds(2)));
    assert_eq!(election.next(seconds(2)), Step::Renew);
    let before = election.renewal(wall(5));
    assert_eq!((before.acquired, before.transitions), (Some(wall(0)), 3));
    election.hold(held_by(A, 2), seconds(2), seconds(3));
    assert_eq!(election.end_of_term(), Some(seconds(12)), "from when it was sent");
    election.failed(seconds(4));
    assert_eq!(election.next(seconds(4)), Step::Wait(seconds(5)));
    assert_eq!(election.next(seconds(6)), Step::Renew);
    election.failed(seconds(11));
    assert_eq!(election.next(seconds(11)), Step::Wait(seconds(12)));
    assert_eq!(election.next(seconds(12)), Step::StepDown(Lost::Expired));
    election.stepped_down();
    assert_eq!(election.next(seconds(13)), Step::Acquire, "nobody else has taken it");
    assert_eq!(election.acquisition(wall(30)).transitions, 3);
}

#[test]
fn an_answer_that_comes_too_late_makes_no_leader() {
    let mut election = election(A);
    election.see(None, seconds(0));
    assert_eq!(election.hold(held_by(A, 1), seconds(0), seconds(10)), None);
    assert!(!election.leads());
    assert_eq!(election.next(seconds(10)), Step::Acquire);
    // Somebody was seen to take it before the answer came.
    election.see(Some(held_by(B, 3)), seconds(11));
    assert_eq!(election.hold(held_by(A, 2), seconds(10), seconds(11)), None);
    assert!(!election.leads() && election.held().is_none());
}

#[test]
fn a_lease_that_somebody_gives_to_another_is_lost_at_once() {
    let mut election = leading_since(0);
    election.see(Some(held_by("somebody", 2)), seconds(1));
    let taken = Step::StepDown(Lost::Taken("somebody".to_owned()));
    assert_eq!(election.next(seconds(1)), taken);
    election.stepped_down();
    election.see(Some(held_by("somebody", 2)), seconds(12));
    assert_eq!(election.next(seconds(15)), Step::Wait(seconds(16)));
    assert_eq!(election.next(seconds(16)), Step::Acquire);
}

#[test]
fn a_lease_that_is_deleted_is_made_again_by_its_holder_and_by_others_when_it_would_have_run_out() {
    let mut holder = leading_since(0);
    holder.doubt();
    assert_eq!(holder.next(seconds(1)), Step::Look);
    holder.see(None, seconds(1));
    assert_eq!(holder.next(seconds(1)), Step::StepDown(Lost::TakenAway));
    holder.stepped_down();
    assert_eq!(holder.next(seconds(1)), Step::Acquire);

    let mut standby = election(B);
    standby.see(Some(held_by(A, 1)), seconds(0));
    standby.see(None, seconds(1));
    standby.see(None, seconds(14));
    assert_eq!(standby.next(seconds(15)), Step::Wait(seconds(16)));
    assert_eq!(standby.next(seconds(16)), Step::Acquire);
    // What may have been meanwhile is not known.
    standby.see(None, seconds(40));
    assert_eq!(standby.next(seconds(41)), Step::Wait(seconds(45)));
}

#[test]
fn a_lease_whose_holder_is_taken_out_by_hand_is_not_taken_before_it_would_have_run_out() {
    let blank = |version| {
        let held = held_by(A, version);
        lease(
            version,
            LeaseRecord {
                holder: None,
                ..held.record
            },
        )
    };
    let mut holder = leading_since(0);
    holder.see(Some(blank(2)), seconds(1));
    assert_eq!(holder.next(seconds(1)), Step::StepDown(Lost::TakenAway));
    holder.stepped_down();
    assert_eq!(holder.next(seconds(1)), Step::Acquire);
    for before in [None, Some(held_by(A, 1))] {
        let mut standby = election(B);
        if let Some(before) = before {
            standby.see(Some(before), seconds(0));
        }
        standby.see(Some(blank(2)), seconds(1));
        standby.see(Some(blank(2)), seconds(15));
        assert_eq!(standby.next(seconds(15)), Step::Wait(seconds(16)));
        assert_eq!(standby.next(seconds(16)), Step::Acquire);
    }
}

#[test]
fn a_longer_lease_of_another_is_waited_for_and_a_shorter_one_too() {
    for (duration, until) in [(60, 60), (1, 15)] {
        let mut election = election(A);
        let held = held_by(B, 1);
        let record = LeaseRecord {
            duration: Duration::from_secs(duration),
            ..held.record
        };
        election.see(Some(lease(1, record)), seconds(0));
        let looked = lease(1, election.lease().unwrap().unwrap().record.clone());
        election.see(Some(looked), seconds(until - 1));
        assert_eq!(
            election.next(seconds(until - 1)),
            Step::Wait(seconds(until)),
            "{duration}"
        );
        assert_eq!(election.next(seconds(until)), Step::Acquire);
    }
}

#[test]
fn what_was_seen_later_counts() {
    let mut election = election(A);
    election.see(Some(held_by(B, 10)), seconds(0));
    election.see(Some(held_by("c_3", 9)), seconds(1));
    assert_eq!(election.lease().flatten().unwrap().record.holder.as_deref(), Some(B));
}

#[test]
fn each_renewal_is_a_change_also_by_a_clock_that_stands_still() {
    let mut election = leading_since(0);
    let first = election.renewal(wall(1));
    assert_eq!(first.renewed, Some(wall(1) + SignedDuration::from_micros(1)));
    election.see(Some(lease(2, first)), seconds(1));
    assert_eq!(election.renewal(wall(1)).renewed, Some(wall(1)));
    assert_eq!(election.renewal(wall(-3600)).renewed, Some(wall(-3600)));
}

/// Replicas over one Lease, with a network that delays and loses, processes that are stopped for a while, and people who edit the Lease.
/// One step is a tenth of a second.
struct Model {
    random: fastrand::Rng,
    now: Duration,
    stored: Option<Lease>,
    /// When somebody last took it, or took it away.
    changed_hands: Duration,
    version: u64,
    replicas: Vec<Replica>,
}

struct Replica {
    election: Election,
    /// Time stands still for it until then.
    stopped_until: Duration,
    call: Option<Call>,
    /// What the watch will tell, and when.
    news: Vec<(Duration, Option<Lease>)>,
}

struct Call {
    step: Step,
    over: Option<Lease>,
    record: Option<LeaseRecord>,
    sent: Duration,
    /// When it reaches the API server, if it does.
    lands: Option<Duration>,
    result: Option<Result<Option<Lease>, ()>>,
    /// When the answer comes, if it does.
    answered: Option<Duration>,
}

impl Model {
    fn tenths(&mut self, most: u64) -> Duration {
        Duration::from_millis(100 * self.random.u64(0..=most))
    }

    fn store(&mut self, lease: Option<Lease>) {
        let holder = |lease: &Option<Lease>| lease.as_ref().map(|lease| lease.record.holder.clone());
        if holder(&lease) != holder(&self.stored) {
            self.changed_hands = self.now;
        }
        self.stored = lease;
        for number in 0..self.replicas.len() {
            // A watch that is broken tells nothing.
            if self.random.u8(0..5) > 0 {
                let at = self.now + self.tenths(20);
                let news = self.stored.clone();
                self.replicas[number].news.push((at, news));
            }
        }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// What people do, but not to a Lease that somebody got just now.
    fn edit(&mut self) {
        let Some(stored) = self.stored.clone() else { return };
        if self.now < self.changed_hands + LEASE_DURATION {
            return;
        }
        let record = stored.record.clone();
        let edited = match self.random.u8(0..4) {
            0 => None,
            1 => Some(LeaseRecord { holder: None, ..record }),
            2 => Some(LeaseRecord {
                holder: Some("somebody".to_owned()),
                ..record
            }),
            // A label.
            _ => Some(record),
        };
        let version = self.next_version();
        self.store(edited.map(|record| Lease {
            uid: stored.uid,
            ..lease(version, record)
        }));
    }

    /// Calls reach the API server.
    fn land(&mut self) {
        for number in 0..self.replicas.len() {
            let due = |call: &Call| call.lands.is_some_and(|lands| lands <= self.now) && call.result.is_none();
            let Some(call) = self.replicas[number].call.as_ref().filter(|call| due(call)) else {
                continue;
            };
            let result = match (&call.record, &call.over) {
                (None, _) => Ok(self.stored.clone()),
                (Some(_), over) if *over != self.stored => Err(()),
                (Some(record), over) => {
                    let (record, uid) = (record.clone(), over.as_ref().map(|over| over.uid.clone()));
                    let version = self.next_version();
                    let uid = uid.unwrap_or_else(|| format!("uid-{version}"));
                    let made = Some(Lease {
                        uid,
                        ..lease(version, record)
                    });
                    self.store(made.clone());
                    Ok(made)
                }
            };
            if let Some(call) = &mut self.replicas[number].call {
                call.result = Some(result);
            }
        }
    }

    /// A replica takes in what has come, and does what is to be done.
    fn act(&mut self, number: usize) {
        let now = self.now;
        let delays = (self.tenths(30), self.tenths(30));
        let lost = (self.random.u8(0..10) == 0, self.random.u8(0..10) == 0);
        // Nobody's clock can be trusted.
        let wall = wall(self.random.i64(-1_000_000_000..1_000_000_000));
        let replica = &mut self.replicas[number];
        let election = &mut replica.election;
        let (come, rest) = replica.news.drain(..).partition(|(at, _)| *at <= now);
        replica.news = rest;
        for (_, seen) in come {
            match seen {
                Some(lease) => election.see(Some(lease), now),
                None => election.doubt(),
            }
        }
        if let Some(call) = replica.call.take_if(|call| {
            let answered = call.result.is_some() && call.answered.is_some_and(|at| at <= now);
            answered || now >= call.sent + Duration::from_secs(4)
        }) {
            match (call.step, call.result) {
                (Step::Look, Some(Ok(lease))) => election.see(lease, now),
                (Step::Acquire, Some(Ok(Some(lease)))) => {
                    election.hold(lease, call.sent, now);
                }
                (Step::Renew, Some(Ok(Some(lease)))) if election.leads() => {
                    election.hold(lease, call.sent, now);
                }
                (_, Some(Ok(lease))) => election.see(lease, now),
                (_, Some(Err(()))) => election.doubt(),
                (_, None) => election.failed(call.sent),
            }
        }
        loop {
            match election.next(now) {
                Step::StepDown(_) => election.stepped_down(),
                Step::Wait(_) => return,
                _ if replica.call.is_some() => return,
                step => {
                    let record = match step {
                        Step::Acquire => Some(election.acquisition(wall)),
                        Step::Renew => Some(election.renewal(wall)),
                        _ => None,
                    };
                    replica.call = Some(Call {
                        over: election.lease().flatten().cloned(),
                        step,
                        record,
                        sent: now,
                        lands: (!lost.0).then_some(now + delays.0),
                        result: None,
                        answered: (!lost.1).then_some(now + delays.0 + delays.1),
                    });
                    return;
                }
            }
        }
    }

    /// Those who act now, or will when they go on, until they look at the clock.
    fn acting(&self) -> Vec<usize> {
        let acts = |replica: &Replica| replica.election.end_of_term().is_some_and(|end| self.now < end);
        let numbers = 0..self.replicas.len();
        numbers.filter(|number| acts(&self.replicas[*number])).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_two_ever_lead_at_the_same_time_and_somebody_does_soon(seed in any::<u64>()) {
        let mut random = fastrand::Rng::with_seed(seed);
        let calm = random.bool();
        let replicas = (0..3).map(|number| Replica {
            election: election(&format!("replica-{number}")),
            stopped_until: Duration::ZERO,
            call: None,
            news: Vec::new(),
        });
        let mut model = Model {
            replicas: replicas.collect(),
            random,
            now: seconds(0),
            stored: None,
            changed_hands: seconds(0),
            version: 0,
        };
        let mut leaderless = 0;
        for _ in 0..6000 {
            model.now += Duration::from_millis(100);
            model.land();
            for number in 0..3 {
                if !calm && model.random.u16(0..600) == 0 {
                    model.replicas[number].stopped_until = model.now + model.tenths(400);
                }
                if model.now >= model.replicas[number].stopped_until {
                    model.act(number);
                }
            }
            if !calm && model.random.u16(0..150) == 0 {
                model.edit();
            }
            let acting = model.acting();
            prop_assert!(acting.len() < 2, "{acting:?} at {:?}", model.now);
            leaderless = if acting.is_empty() { leaderless + 1 } else { 0 };
            prop_assert!(!calm || leaderless < 400, "nobody leads at {:?}", model.now);
        }
    }
}
