//! What is to go wrong, and what people are to do, and when: all of it drawn beforehand, so that a seed gives the same again.

use std::time::Duration;

use fastrand::Rng;
use support::tcp_proxy::Line;

use crate::fault::{AwsFault, Fault, LeaseEdit, REFUSALS};
use crate::judge::Moment;

/// What a run follows from.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    pub seed: u64,
    /// For how long faults are made.
    pub length: Duration,
    /// How many operators there are.
    pub replicas: usize,
}

/// A fault and its time. It is healed after `lasts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    pub at: Moment,
    pub lasts: Duration,
    pub fault: Fault,
}

/// What people do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Create,
    Delete,
    /// Deleted and made again under its name.
    MakeAgain,
    ChangeRole,
    ChangeType,
    ChangeOverlap,
    RenameSecret,
    Label,
    RequestRefresh,
    Suspend,
    Resume,
    SpoilSecret,
    TouchSecret,
    DeleteSecret,
    /// A Secret of somebody else is where a new resource wants its own.
    PlantForeign,
    /// It goes out of the way.
    DeleteForeign,
}

/// What people do, when, and two numbers to choose by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedDeed {
    pub at: Moment,
    pub deed: Deed,
    pub pick: u64,
    pub value: u64,
}

/// All that is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub faults: Vec<PlannedFault>,
    pub deeds: Vec<PlannedDeed>,
}

/// The first faults come when there is something to lose.
const FIRST_STORM: Duration = Duration::from_secs(12);

/// How long faults follow each other.
const STORM: Duration = Duration::from_secs(25);

/// In the second half of a run that is so long no operator is ended, so that one shows whether it grows.
const LONG: Duration = Duration::from_secs(600);

/// The longest that one fault lasts. A call to AWS is given up after 30 s.
pub const LONGEST: Duration = Duration::from_secs(18);

impl Plan {
    /// Storms with pauses between them, in which all must come right. A short run is one of storms only: it is judged at its end.
    pub fn new(setting: &Setting) -> Self {
        let mut random = Rng::with_seed(setting.seed);
        let mut faults = Vec::new();
        let mut start = FIRST_STORM;
        while start + STORM <= setting.length {
            let mut storm = storm(&mut random, setting.replicas, start);
            if setting.length >= LONG && start > setting.length / 2 {
                storm.retain(|planned| !planned.fault.ends_an_operator());
            }
            faults.extend(storm);
            let pause = match setting.length < Duration::from_secs(300) {
                true => random.u64(15..25),
                false => random.u64(60..240),
            };
            start += STORM + Duration::from_secs(pause);
        }
        Self {
            faults,
            deeds: deeds(&mut random, setting.length),
        }
    }
}

fn storm(random: &mut Rng, replicas: usize, start: Moment) -> Vec<PlannedFault> {
    let mut faults: Vec<PlannedFault> = Vec::new();
    for _ in 0..random.usize(3..7) {
        let fault = fault(random, replicas);
        let lasts = Duration::from_millis(random.u64(1000..=millis(LONGEST)));
        let at = start + Duration::from_millis(random.u64(0..=millis(STORM - lasts)));
        if faults.iter().all(|other| other.fault.kind() != fault.kind()) {
            faults.push(PlannedFault { at, lasts, fault });
        }
    }
    faults.sort_by_key(|planned| planned.at);
    faults
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

fn fault(random: &mut Rng, replicas: usize) -> Fault {
    let replica = random.usize(0..replicas);
    match random.u8(0..27) {
        0..8 => Fault::Aws(aws_fault(random)),
        8..10 => Fault::AwsLine(line(random)),
        10..12 => {
            let by = random.i64(8..600);
            Fault::Clock(if random.bool() { by } else { -by })
        }
        12..14 => Fault::ApiServerRestarts,
        14 => Fault::EtcdRestarts,
        15 => Fault::Compaction(replica),
        16..18 => Fault::OperatorLine(replica, line(random)),
        18..20 => Fault::Kill(replica),
        20 => Fault::Terminate(replica),
        21..23 => Fault::Stop(replica),
        23 => Fault::TokenRevoked(replica),
        24 => Fault::TokenGarbled(replica),
        25 => Fault::AuthorityRotates,
        // Where there is one operator, nobody else could take it.
        _ => Fault::Lease(match random.u8(0..4) {
            0 => LeaseEdit::Delete,
            1 => LeaseEdit::GiveToNobody,
            2 => LeaseEdit::GiveToAStranger,
            _ => LeaseEdit::Renewed(random.i64(-3600..3600)),
        }),
    }
}

fn aws_fault(random: &mut Rng) -> AwsFault {
    match random.u8(0..16) {
        0 => AwsFault::Reset,
        1 => AwsFault::Hang,
        2 => AwsFault::Slow(random.u64(1..25)),
        3 => AwsFault::Garbage,
        4 => AwsFault::Truncated,
        5 => AwsFault::WrongDate,
        6 => AwsFault::WrongEnd,
        7 => AwsFault::Throttle,
        8..11 => AwsFault::Anything,
        _ => {
            let (status, code) = REFUSALS[random.usize(0..REFUSALS.len())];
            AwsFault::Refuse(status, code)
        }
    }
}

fn line(random: &mut Rng) -> Line {
    [Line::Forgotten, Line::Silent, Line::Refused][random.usize(0..3)]
}

fn deeds(random: &mut Rng, length: Duration) -> Vec<PlannedDeed> {
    let mut deeds = Vec::new();
    let mut at = Duration::from_secs(2);
    while at < length {
        deeds.push(PlannedDeed {
            at,
            deed: deed(random),
            pick: random.u64(..),
            value: random.u64(..),
        });
        at += Duration::from_millis(random.u64(300..5000));
    }
    deeds
}

fn deed(random: &mut Rng) -> Deed {
    match random.u8(0..32) {
        0..4 => Deed::Create,
        4..7 => Deed::Delete,
        7..10 => Deed::MakeAgain,
        10..12 => Deed::ChangeRole,
        12..14 => Deed::ChangeType,
        14 => Deed::ChangeOverlap,
        15..17 => Deed::RenameSecret,
        17 => Deed::Label,
        18..21 => Deed::RequestRefresh,
        21 => Deed::Suspend,
        22..24 => Deed::Resume,
        24..27 => Deed::SpoilSecret,
        27 => Deed::TouchSecret,
        28..30 => Deed::DeleteSecret,
        30 => Deed::PlantForeign,
        _ => Deed::DeleteForeign,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn setting(seed: u64, minutes: u64) -> Setting {
        Setting {
            seed,
            length: Duration::from_secs(60 * minutes),
            replicas: 2,
        }
    }

    #[test]
    fn a_seed_gives_the_same_plan_again_and_another_one_another() {
        let plan = Plan::new(&setting(7, 30));
        assert_eq!(plan, Plan::new(&setting(7, 30)));
        assert_ne!(plan, Plan::new(&setting(8, 30)));
    }

    #[test]
    fn every_fault_is_healed_before_the_end_and_no_two_of_a_kind_meet() {
        for seed in 0..50 {
            let setting = setting(seed, 30);
            let plan = Plan::new(&setting);
            let mut last = std::collections::BTreeMap::new();
            for planned in &plan.faults {
                let end = planned.at + planned.lasts;
                assert!(planned.lasts <= LONGEST && end <= setting.length, "{planned:?}");
                let before = last.insert(planned.fault.kind(), end);
                assert!(before.is_none_or(|before| before <= planned.at), "{planned:?}");
            }
        }
    }

    #[test]
    fn everything_that_can_happen_does() {
        let (mut faults, mut deeds) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..40 {
            let plan = Plan::new(&setting(seed, 30));
            faults.extend(plan.faults.iter().map(|planned| planned.fault.name()));
            deeds.extend(plan.deeds.iter().map(|planned| planned.deed));
        }
        for (status, code) in REFUSALS {
            let name = Fault::Aws(AwsFault::Refuse(status, code)).name();
            assert!(faults.contains(&name), "{name}");
        }
        assert!(faults.len() > REFUSALS.len() + 25, "{faults:?}");
        assert_eq!(deeds.len(), 16);
    }

    #[test]
    fn two_minutes_have_two_storms() {
        let plan = Plan::new(&setting(1, 2));
        assert!((4..=14).contains(&plan.faults.len()), "{plan:?}");
        assert!(plan.deeds.len() > 30);
    }
}
