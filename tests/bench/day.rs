//! A day of short credentials in the world of the simulation: the very actors on a paused clock. Each kind of day has a process of its own,
//! since a promise that is broken in it ends the process.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::process::Process;

use crate::life::{self, Day};
use crate::progress;
use crate::settings::Settings;
use crate::table::{Table, Unit, grouped};

/// How long the credentials last, in seconds: the least that AWS gives.
pub const LIFETIME: i32 = 900;

/// The limit of AWS that is just above the mean.
const JUST_ABOVE: f64 = 1.1;

/// How much of a day tells its mean, in seconds.
const SAMPLE: u64 = 2 * 3600;

/// How long AWS is away, in seconds.
const AWAY: u64 = 600;

/// Lives the days and puts what came of them into the table. Says whether all were lived to their ends.
pub fn measure(table: &mut Table, column: usize, settings: &Settings) -> bool {
    let many = grouped(settings.resources as f64);
    let hours = settings.day.as_secs() / 3600;
    progress(&format!("{hours} hours of {many} resources at {LIFETIME} s"));
    let folder = tempfile::tempdir().unwrap();
    let plain = Day {
        resources: settings.resources,
        lifetime: LIFETIME,
        length: settings.day.as_secs(),
        limit: None,
        away: None,
    };
    let sample = Day {
        length: plain.length.min(SAMPLE),
        ..plain.clone()
    };
    let sample = finish(start(folder.path(), "sample", &sample));
    let Some(mean) = sample.and_then(|figures| figures["mean"].as_f64()) else {
        return false;
    };
    let limited = Day {
        limit: Some(JUST_ABOVE * mean),
        ..plain.clone()
    };
    let noon = plain.length / 2;
    let away = Day {
        away: Some(noon..noon + AWAY),
        ..plain.clone()
    };
    let title = format!("{hours} h of {many} at {LIFETIME} s");
    let lives = [
        ("plain", plain, title.clone()),
        (
            "limited",
            limited,
            format!("{title}, limit of AWS {JUST_ABOVE} times the mean"),
        ),
        ("away", away, format!("{title}, {} min without AWS", AWAY / 60)),
    ];
    // Each computes on one core.
    let lives = lives.map(|(name, day, title)| (start(folder.path(), name, &day), title));
    let mut all_lived = true;
    for (life, title) in lives {
        match finish(life) {
            Some(figures) => put(table, column, &title, &figures),
            None => all_lived = false,
        }
    }
    all_lived
}

fn put(table: &mut Table, column: usize, title: &str, figures: &Value) {
    let number = |name: &str| figures[name].as_f64().unwrap_or_default();
    let largest = format!("{title}: most AWS calls in a second; floor: the mean");
    table.put_beside(column, &largest, Unit::PerSecond, number("largest"), number("mean"));
    let throttled = format!("{title}: throttled");
    table.put(column, &throttled, Unit::Number, number("throttled"));
    let margin = format!("{title}: smallest margin");
    table.put(column, &margin, Unit::Seconds, number("smallest_margin"));
}

fn start(folder: &Path, name: &str, day: &Day) -> Process {
    let away = day.away.as_ref().map(|away| [away.start, away.end]);
    let text = json!({
        "resources": day.resources,
        "lifetime": day.lifetime,
        "length": day.length,
        "limit": day.limit,
        "away": away,
    });
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["day", &text.to_string()]);
    Process::start(name, folder, &command)
}

/// Waits for the end of a day, and gives its figures.
fn finish(mut life: Process) -> Option<Value> {
    let ended = life.wait();
    let printed = life.log();
    if !ended.success() {
        progress(&format!("a day ended early:\n{printed}"));
        return None;
    }
    serde_json::from_str(printed.lines().last()?).ok()
}

/// What such a process does: it lives one day and prints its figures.
pub fn live(text: &str) {
    let day: Value = serde_json::from_str(text).unwrap();
    let away = day["away"].as_array().map(|away| {
        let [start, end] = [0, 1].map(|index| away[index].as_u64().unwrap());
        start..end
    });
    let figures = life::a_day(&Day {
        resources: usize::try_from(day["resources"].as_u64().unwrap()).unwrap(),
        lifetime: i32::try_from(day["lifetime"].as_i64().unwrap()).unwrap(),
        length: day["length"].as_u64().unwrap(),
        limit: day["limit"].as_f64(),
        away,
    });
    let text = json!({
        "refreshes": figures.refreshes,
        "mean": figures.mean,
        "largest": figures.largest,
        "throttled": figures.throttled,
        "smallest_margin": figures.smallest_margin,
    });
    println!("{text}");
}
