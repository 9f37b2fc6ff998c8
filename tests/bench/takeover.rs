//! How long it takes until another replica leads: after a kill, after a clean stop, and after a leader that is paused, ten times each.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use support::fixtures::map_spec;
use support::replica::{Replica, holder, leader_first};
use support::world::World;

use crate::progress;

/// How often each is measured.
const TIMES: usize = 10;

/// How many resources there are.
const RESOURCES: usize = 20;

/// What stands around the table in the page.
const MARKS: [&str; 2] = ["<!-- make takeover begins -->\n", "<!-- make takeover ends -->\n"];

/// What happens to the leader.
#[derive(Clone, Copy)]
enum End {
    Killed,
    ToldToStop,
    Paused,
}

impl End {
    fn signal(self) -> &'static str {
        match self {
            Self::Killed => "KILL",
            Self::ToldToStop => "TERM",
            Self::Paused => "STOP",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Killed => "killed (`SIGKILL`)",
            Self::ToldToStop => "told to stop (`SIGTERM`), as in a rolling update",
            Self::Paused => "paused (`SIGSTOP`) beyond its Lease",
        }
    }
}

/// Measures all, and writes the table into the page about reliability.
pub async fn measure() {
    let world = World::without_operator().await;
    let mut replicas = (0..).map(|number| Replica::start(&world, &format!("r{number:02}")));
    let mut start = || replicas.next().unwrap();
    let (one, other) = (start(), start());
    let (mut leader, mut standby) = leader_first(&world, one, other).await;
    let names: Vec<String> = (0..RESOURCES).map(|number| format!("resource-{number}")).collect();
    for name in &names {
        world.apply(name, &map_spec(name)).unwrap();
    }
    for name in &names {
        world.ready(name).await;
    }
    let calls = world.aws.calls("AssumeRole").len();

    let mut table = String::from("| The leader is | fastest | median | slowest |\n| --- | --- | --- | --- |\n");
    let mut late = 0;
    for end in [End::Killed, End::ToldToStop, End::Paused] {
        let mut took = Vec::new();
        while took.len() < TIMES {
            standby.ready().await;
            let began = Instant::now();
            leader.process.signal(end.signal());
            // The metrics are written once a second; the Lease says at once who leads.
            while holder(&world).await.as_deref() != Some(standby.name()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            took.push(began.elapsed());
            standby.will_lead(true).await;
            progress(&format!("{}: {:.2} s", end.text(), began.elapsed().as_secs_f64()));
            match end {
                End::Paused => {
                    let before = leader.calls(&world).len() + leader.writes(&world).len();
                    leader.process.signal("CONT");
                    leader.will_lead(false).await;
                    late += leader.calls(&world).len() + leader.writes(&world).len() - before;
                    std::mem::swap(&mut leader, &mut standby);
                }
                End::Killed | End::ToldToStop => {
                    leader.process.wait();
                    leader = std::mem::replace(&mut standby, start());
                }
            }
        }
        took.sort();
        let seconds = |took: Duration| format!("{:.2} s", took.as_secs_f64());
        let [fastest, median, slowest] = [0, TIMES / 2, TIMES - 1].map(|index| seconds(took[index]));
        writeln!(table, "| {} | {fastest} | {median} | {slowest} |", end.text()).unwrap();
    }
    let again = world.aws.calls("AssumeRole").len() - calls;
    writeln!(
        table,
        "\nEach {TIMES} times, with {RESOURCES} resources that are not due. Calls to AWS meanwhile: {again}. Calls and writes of leaders that \
         were paused, after they went on: {late}."
    )
    .unwrap();
    println!("\n{table}");
    write(&table);
}

fn write(table: &str) {
    let path = support::root().join("docs/reliability.md");
    let page = fs::read_to_string(&path).unwrap();
    let [begin, end] = MARKS;
    let (before, rest) = page.split_once(begin).expect("the page has a place for the table");
    let (_, after) = rest.split_once(end).expect("the page has a place for the table");
    fs::write(path, format!("{before}{begin}\n{table}\n{end}{after}")).unwrap();
}
