//! How long a person waits: from the making of a resource to its Secret, and to the status that says so. One resource after the other.

use std::time::{Duration, Instant};

use crate::by_hand::{self, Hand};
use crate::ground::{Ground, Subject, name};
use crate::table::{Table, Unit, percentile};
use crate::watches::Watch;
use crate::{progress, slow_call};

/// How many resources, one after the other.
const SAMPLES: usize = 200;

/// So many by hand, so many by the operator, in turns: what makes the machine slow for a while makes both slow.
const TURN: usize = 20;

/// How many runs, each on new ground.
pub const RUNS: usize = 2;

/// The watches of the bench, opened before anything is made.
pub struct Watches {
    pub secrets: Watch,
    pub ready: Watch,
}

impl Watches {
    pub async fn open(ground: &Ground) -> Self {
        Self {
            secrets: Watch::secrets(ground.client.clone()).await,
            ready: Watch::ready(ground.client.clone()).await,
        }
    }

    /// Makes one resource, and waits for its Secret and for its status: how long each took.
    pub async fn apply(&mut self, ground: &Ground, prefix: &str, number: usize) -> (Duration, Duration) {
        let name = name(prefix, number);
        let started = Instant::now();
        ground.create(prefix, number).await;
        let secret = self.secrets.of(&name).await - started;
        (secret, self.ready.of(&name).await - started)
    }
}

/// One run.
pub async fn measure(table: &mut Table, column: usize, subject: &Subject, run: usize) {
    progress(&format!("{}: the first Secret, run {run}", subject.name));
    let mut ground = Ground::lay(subject).await;
    ground.add_roles("one", 0..SAMPLES);
    ground.add_roles(by_hand::PREFIX, 0..SAMPLES);
    let hand = Hand::new(&ground);
    let mut watches = Watches::open(&ground).await;
    ground.start_operator().await;
    warm_up(&ground, &mut watches, &hand).await;

    let (mut floor, mut secret, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..SAMPLES / TURN {
        let numbers = turn * TURN..(turn + 1) * TURN;
        for number in numbers.clone() {
            floor.push(hand.refresh(number).await);
        }
        for number in numbers {
            let (to_secret, to_ready) = watches.apply(&ground, "one", number).await;
            secret.push(to_secret);
            ready.push(to_ready);
        }
    }
    for (share, label) in [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")] {
        let what = format!("apply to Secret, {label}, {SAMPLES} one by one, run {run}");
        let (value, floor) = (percentile(&secret, share), percentile(&floor, share));
        table.put_beside(column, &what, Unit::Milliseconds, value, floor);
    }
    let what = format!("apply to Ready, p50, run {run}");
    let (value, floor) = (percentile(&ready, 0.5), percentile(&floor, 0.5));
    table.put_beside(column, &what, Unit::Milliseconds, value, floor);
    if run == RUNS {
        slow_call::measure(table, column, &ground, &mut watches).await;
    }
}

/// The first of everything opens connections and fills caches.
async fn warm_up(ground: &Ground, watches: &mut Watches, hand: &Hand) {
    const NUMBERS: std::ops::Range<usize> = 100_000..100_005;
    ground.add_roles("warm", NUMBERS);
    ground.add_roles(by_hand::PREFIX, NUMBERS);
    for number in NUMBERS {
        hand.refresh(number).await;
        watches.apply(ground, "warm", number).await;
    }
}
