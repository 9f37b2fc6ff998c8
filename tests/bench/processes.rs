//! What the kernel tells of a process.
//! <https://man7.org/linux/man-pages/man5/proc.5.html>

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use support::wait_for;

/// How often a second the kernel counts (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// How long a process must have done next to nothing to be at rest.
const REST: Duration = Duration::from_secs(2);

/// What it may use in that time, in ticks.
const REST_TICKS: u64 = 4;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How much memory it holds now, in bytes.
pub fn resident(pid: u32) -> f64 {
    status(pid, "VmRSS:")
}

/// The most memory that it ever held, in bytes.
pub fn peak(pid: u32) -> f64 {
    status(pid, "VmHWM:")
}

fn status(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    1024.0 * kib.unwrap_or_else(|| panic!("process {pid} is gone"))
}

/// How much of a processor it has used so far.
pub fn processor(pid: u32) -> Duration {
    Duration::from_millis(ticks(pid) * 1000 / TICKS_PER_SECOND)
}

fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_else(|_| panic!("process {pid} is gone"));
    // The name of the program may hold anything. Behind it, user and system time are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12]
        .into_iter()
        .filter_map(|field| fields.get(field)?.parse::<u64>().ok())
        .sum()
}

/// How much of a processor each thread has used so far, to the nanosecond. The time of a thread that ends is lost with it, so this is for
/// short times in which little happens.
pub fn threads(pid: u32) -> Threads {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap_or_else(|_| panic!("process {pid} is gone"));
    let used = threads.filter_map(|thread| {
        let thread = thread.ok()?;
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
        Some((thread.file_name(), Duration::from_nanos(nanoseconds)))
    });
    Threads(used.collect())
}

/// How much of a processor the threads of a process had used at some moment.
pub struct Threads(HashMap<OsString, Duration>);

impl Threads {
    /// How much they have used since an earlier moment.
    pub fn since(&self, before: &Self) -> Duration {
        let used = self.0.iter().map(|(thread, now)| {
            let before = before.0.get(thread).copied().unwrap_or_default();
            now.saturating_sub(before)
        });
        used.sum()
    }
}

/// Waits until a process does next to nothing any more.
pub async fn at_rest(what: &str, pid: u32) {
    let mut looks = VecDeque::new();
    wait_for(&format!("{what} at rest"), Duration::from_secs(300), async || {
        tokio::time::sleep(LOOK).await;
        looks.push_back((Instant::now(), ticks(pid)));
        while looks.get(1).is_some_and(|(at, _)| at.elapsed() >= REST) {
            looks.pop_front();
        }
        let (first, last) = (looks.front()?, looks.back()?);
        (first.0.elapsed() >= REST && last.1 - first.1 <= REST_TICKS).then_some(())
    })
    .await;
}

/// The process that runs under a name in a folder of `support::process`.
pub fn named(folder: &Path, name: &str) -> u32 {
    let text = fs::read_to_string(folder.join(format!("{name}.pid"))).unwrap();
    text.trim().parse().unwrap()
}
