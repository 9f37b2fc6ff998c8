//! Many resources at once, with what follows from them: memory, a scrape, rest, a restart.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::by_hand::Hand;
use crate::ground::{Ground, Subject};
use crate::growth::{self, Held, PREFIX, SMALL_BURST};
use crate::settings::Settings;
use crate::table::{Table, Unit, grouped};
use crate::watches::Watch;
use crate::{processes, progress, standing};

/// What the bare writes of a burst take, by its size.
#[derive(Default)]
pub struct Floors(BTreeMap<usize, Floor>);

/// What the bare writes of a burst take.
#[derive(Clone, Copy, Default)]
struct Floor {
    time: Duration,
    /// The processor that the control plane used meanwhile.
    cluster: Duration,
    /// The processor that this benchmark used, by whose hand they are.
    hand: Duration,
}

/// How many are written by hand before anything is measured, so that the API server and the connections to it are warm.
const WARM_UP_BY_HAND: usize = 200;

/// How many resources there are before the large burst, for the same reason.
const WARM_UP: usize = 20;

/// Does by hand what a burst makes an operator write, on new ground.
pub async fn floors(subject: &Subject, settings: &Settings) -> Floors {
    progress("the bare writes of the bursts, by hand");
    let ground = Ground::lay(subject).await;
    let hand = Hand::new(&ground);
    hand.write_all(0..WARM_UP_BY_HAND).await;
    let mut floors = BTreeMap::new();
    let mut begin = WARM_UP_BY_HAND;
    for size in [SMALL_BURST, settings.resources] {
        let others = ground.others();
        let time = hand.write_all(begin..begin + size).await;
        let [cluster, hand] = used(others, ground.others());
        begin += size;
        progress(&format!("{size} by hand took {:.1} s", time.as_secs_f64()));
        floors.insert(size, Floor { time, cluster, hand });
    }
    Floors(floors)
}

impl Floors {
    /// Puts the time of a burst into the table.
    pub fn put(&self, table: &mut Table, column: usize, size: usize, took: Duration) {
        let what = format!("{} at once, all Ready", grouped(size as f64));
        table.put_beside(
            column,
            &what,
            Unit::Seconds,
            took.as_secs_f64(),
            self.of(size).time.as_secs_f64(),
        );
    }

    fn of(&self, size: usize) -> Floor {
        self.0.get(&size).copied().unwrap_or_default()
    }
}

/// What the others used of a processor between two looks at them.
fn used(before: [Duration; 2], after: [Duration; 2]) -> [Duration; 2] {
    [0, 1].map(|index| after[index].saturating_sub(before[index]))
}

/// The large burst on new ground, and what follows from so many.
pub async fn measure(
    table: &mut Table,
    column: usize,
    subject: &Subject,
    settings: &Settings,
    floors: &Floors,
    held: &mut Vec<Held>,
) {
    let size = settings.resources;
    let many = grouped(size as f64);
    progress(&format!("{}: {many} at once", subject.name));
    let mut ground = Ground::lay(subject).await;
    let largest = settings.sizes.last().copied().unwrap_or(size);
    // One more comes after a restart.
    ground.add_roles(PREFIX, 0..largest + 1);
    ground.add_roles("warm", 0..WARM_UP);
    let mut ready = Watch::ready(ground.client.clone()).await;
    ground.start_operator().await;
    Hand::new(&ground).write_all(0..WARM_UP_BY_HAND).await;
    ground.create_all("warm", 0..WARM_UP).await;
    ready.number(WARM_UP).await;
    ground.at_rest().await;

    let (calls, throttled) = ground.assumed();
    let others = ground.others();
    let processor = processes::processor(ground.pid());
    let started = Instant::now();
    ground.create_all(PREFIX, 0..size).await;
    progress(&format!("{many} are made"));
    let took = ready.number(WARM_UP + size).await - started;
    let processor = processes::processor(ground.pid()) - processor;
    let [cluster, bench] = used(others, ground.others());
    floors.put(table, column, size, took);
    let floor = floors.of(size);
    for (who, used, floor) in [
        ("operator", processor, floor.hand),
        ("API server and etcd", cluster, floor.cluster),
    ] {
        let what = format!("processor meanwhile, {who}");
        table.put_beside(column, &what, Unit::Seconds, used.as_secs_f64(), floor.as_secs_f64());
    }
    let what = "processor meanwhile, this benchmark and its AWS";
    table.put(column, what, Unit::Seconds, bench.as_secs_f64());
    let (all_calls, all_throttled) = ground.assumed();
    let (calls, throttled) = (all_calls - calls, all_throttled - throttled);
    let what = format!("STS calls for {many}");
    table.put_beside(column, &what, Unit::Number, calls as f64, size as f64);
    table.put(column, "of them throttled", Unit::Number, throttled as f64);

    ground.at_rest().await;
    let now = growth::look(table, column, &ground, size);
    growth::grow(table, column, held, now);
    table.put(
        column,
        &format!("peak RSS, {many}"),
        Unit::MiB,
        processes::peak(ground.pid()),
    );
    standing::scrape(table, column, &ground, &many).await;
    standing::rest(table, column, &ground, &many, settings.rest).await;
    standing::restart(table, column, &mut ground, &many).await;
    standing::first_after_restart(table, column, &mut ground, &many, largest).await;

    let mut made = size;
    for step in settings.sizes.iter().copied().filter(|step| *step > size) {
        progress(&format!("{}: {} resources", subject.name, grouped(step as f64)));
        ground.create_all(PREFIX, made..step).await;
        // The watch saw the one after the restart as well.
        ready.number(WARM_UP + step + 1).await;
        ground.at_rest().await;
        made = step;
        let now = growth::look(table, column, &ground, step);
        growth::grow(table, column, held, now);
    }
}
