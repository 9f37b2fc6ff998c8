//! What many resources cost while nothing happens to them: a scrape, rest, a restart.

use std::time::{Duration, Instant};

use crate::ground::{Ground, name};
use crate::growth::PREFIX;
use crate::table::{Table, Unit};
use crate::watches::Watch;
use crate::{processes, progress};

/// How many scrapes.
const SCRAPES: u32 = 10;

/// The metrics are written once for all who ask within a second.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(1100);

/// What Prometheus asks for every half a minute.
pub async fn scrape(table: &mut Table, column: usize, ground: &Ground, many: &str) {
    if ground.metrics().await.is_none() {
        progress("this operator has no metrics");
        return;
    }
    let processor = processes::processor(ground.pid());
    let (mut length, mut answered) = (0, Duration::ZERO);
    for _ in 0..SCRAPES {
        tokio::time::sleep(BETWEEN_SCRAPES).await;
        let asked = Instant::now();
        length = ground.metrics().await.unwrap_or_default().len();
        answered += asked.elapsed();
    }
    let processor = processes::processor(ground.pid()) - processor;
    let milliseconds = |total: Duration| total.as_secs_f64() * 1000.0 / f64::from(SCRAPES);
    let what = |what: &str| format!("scrape of /metrics at {many}, {what}");
    table.put(column, &what("processor"), Unit::Milliseconds, milliseconds(processor));
    table.put(column, &what("time"), Unit::Milliseconds, milliseconds(answered));
    table.put(column, &what("length"), Unit::Bytes, length as f64);
}

/// What it costs that they are there.
pub async fn rest(table: &mut Table, column: usize, ground: &Ground, many: &str, length: Duration) {
    let seconds = length.as_secs();
    progress(&format!("{seconds} s at rest"));
    let before = processes::threads(ground.pid());
    tokio::time::sleep(length).await;
    let used = processes::threads(ground.pid()).since(&before);
    let what = format!("processor at rest, {many}, in {seconds} s");
    table.put(column, &what, Unit::Milliseconds, used.as_secs_f64() * 1000.0);
}

/// A restart over Secrets that are valid.
pub async fn restart(table: &mut Table, column: usize, ground: &mut Ground, many: &str) {
    progress("a restart");
    ground.stop_operator();
    let (calls, _) = ground.assumed();
    ground.start_operator().await;
    let pid = ground.pid();
    table.put(
        column,
        &format!("RSS, {many}, after a restart"),
        Unit::MiB,
        processes::resident(pid),
    );
    table.put(
        column,
        &format!("peak RSS, {many}, after a restart"),
        Unit::MiB,
        processes::peak(pid),
    );
    let used = processes::processor(pid).as_secs_f64();
    table.put(column, &format!("processor of a restart, {many}"), Unit::Seconds, used);
    let calls = ground.assumed().0 - calls;
    let what = format!("STS calls of a restart over {many} valid Secrets");
    table.put_beside(column, &what, Unit::Number, calls as f64, 0.0);
}

/// How long a newcomer waits for an operator that has just been started.
pub async fn first_after_restart(table: &mut Table, column: usize, ground: &mut Ground, many: &str, number: usize) {
    ground.stop_operator();
    let mut secrets = Watch::secrets(ground.client.clone()).await;
    ground.create(PREFIX, number).await;
    let started = Instant::now();
    ground.launch_operator();
    let took = secrets.of(&name(PREFIX, number)).await - started;
    let what = format!("start over {many} to the Secret of a new resource");
    table.put(column, &what, Unit::Seconds, took.as_secs_f64());
    ground.at_rest().await;
}
