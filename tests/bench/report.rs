//! The table, printed and written where people look for it.

use std::fs;

use crate::ground::{CONCURRENCY, LATENCY, STS_RATE};
use crate::settings::Settings;
use crate::table::Table;

/// Prints the table.
pub fn print(table: &Table) {
    println!("\n{}", table.markdown());
}

/// Writes the page.
pub fn write(table: &Table, settings: &Settings) {
    let text = table.markdown();
    let path = support::root().join("docs/benchmarks.md");
    fs::write(&path, document(&text, settings)).unwrap();
    println!("written to docs/benchmarks.md");
}

fn document(table: &str, settings: &Settings) -> String {
    let two = match settings.other {
        Some(_) => "\nTwo operators were measured in turns: `before`, another binary, and `after`, this code.\n",
        None => "",
    };
    format!(
        "# Benchmarks

`make bench` wrote this page. Machines are noisy, so the ratios are worth more than the numbers: each floor was measured
in the same run, on the same machine.
{two}
- Version {version}, release build; {cores} cores of {processor}, which the control plane shares.
- A real API server and etcd. An AWS that answers after {latency} ms and takes {rate} STS calls a second, as many at once.
  The operator's own limit is {call_rate} calls a second.
- Apply to Secret: from the sending of the resource until a watch on Secrets that was opened before shows its own; one
  resource after the other. Apply to Ready: the same, until a watch on the resources shows the status.
- The floor of one resource: one call to STS, the creation of a Secret and a status patch, done by hand by the benchmark's
  own client, in turns with the operator.
- The floor of many at once: the creation of the resources, their Secrets and the status patches by hand, without any call
  to STS, {CONCURRENCY} at a time. The floor of the operator's processor is what this benchmark, which is no release build,
  used for that: by it the columns compare, also if the machine was faster for one of them.
- The days are simulated: the operator's own actors on a clock that is advanced, against an API server and an AWS in
  memory. The first {lifetime} seconds, in which all resources are new, are left out.

{table}",
        version = env!("CARGO_PKG_VERSION"),
        cores = std::thread::available_parallelism().map_or(0, usize::from),
        processor = processor(),
        latency = LATENCY.as_millis(),
        rate = STS_RATE,
        call_rate = settings.call_rate,
        lifetime = crate::day::LIFETIME,
    )
}

/// The name of the processor.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name"));
    let name = name
        .and_then(|line| line.split_once(':'))
        .map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| "an unknown processor".to_owned())
}
