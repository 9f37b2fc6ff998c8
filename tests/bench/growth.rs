//! How memory grows with the number of resources, and how long the small burst takes on the way.

use std::time::Instant;

use crate::burst::Floors;
use crate::ground::{Ground, Subject};
use crate::settings::Settings;
use crate::table::{Table, Unit, grouped};
use crate::watches::Watch;
use crate::{processes, progress};

/// How many come at once in the small burst.
pub const SMALL_BURST: usize = 500;

/// How many there are before it.
const BEFORE: usize = 100;

/// The prefix of the names of all resources.
pub const PREFIX: &str = "many";

/// What an operator holds at some number of resources.
#[derive(Clone, Copy)]
pub struct Held {
    pub resources: usize,
    pub bytes: f64,
}

/// The sizes below the large burst.
pub async fn measure(
    table: &mut Table,
    column: usize,
    subject: &Subject,
    settings: &Settings,
    floors: &Floors,
) -> Vec<Held> {
    progress(&format!("{}: few resources", subject.name));
    let mut ground = Ground::lay(subject).await;
    let mut ready = Watch::ready(ground.client.clone()).await;
    ground.start_operator().await;
    let mut held = vec![look(table, column, &ground, 0)];

    let after_burst = BEFORE + SMALL_BURST;
    let mut steps: Vec<usize> = settings.sizes.clone();
    steps.retain(|size| *size < settings.resources);
    steps.extend([BEFORE, after_burst]);
    steps.sort_unstable();
    steps.dedup();
    let mut made = 0;
    for step in steps {
        let started = Instant::now();
        ground.add_roles(PREFIX, made..step);
        ground.create_all(PREFIX, made..step).await;
        let all_ready = ready.number(step).await - started;
        if (made, step) == (BEFORE, after_burst) {
            floors.put(table, column, SMALL_BURST, all_ready);
        }
        ground.at_rest().await;
        made = step;
        let now = look(table, column, &ground, step);
        if step != after_burst {
            grow(table, column, &mut held, now);
        }
    }
    held
}

/// Looks at the memory that is held.
pub fn look(table: &mut Table, column: usize, ground: &Ground, resources: usize) -> Held {
    let bytes = processes::resident(ground.pid());
    let what = match resources {
        0 => "RSS, empty".to_owned(),
        _ => format!("RSS, {} resources", grouped(resources as f64)),
    };
    table.put(column, &what, Unit::MiB, bytes);
    Held { resources, bytes }
}

/// Says how much each resource takes that has come since the size before.
pub fn grow(table: &mut Table, column: usize, held: &mut Vec<Held>, now: Held) {
    if let Some(before) = held.last().filter(|before| before.resources > 0) {
        let [from, to] = [before.resources, now.resources].map(|resources| grouped(resources as f64));
        let what = format!("memory of each resource between {from} and {to}");
        let each = (now.bytes - before.bytes) / (now.resources - before.resources) as f64;
        table.put(column, &what, Unit::Bytes, each);
    }
    held.push(now);
}
