//! What was done and what came of it, in figures.

use std::collections::BTreeMap;

use support::strict_aws::StrictAws;

use crate::audit::Audit;
use crate::record::Record;

/// Prints it.
pub fn print(record: &Record, audit: &Audit, aws: &StrictAws) {
    let now = record.now();
    let state = record.state();
    println!("what was done:");
    for (what, number) in &state.done {
        println!("  {number:>5}  {what}");
    }
    println!("what AWS was asked, and answered: {:?}", aws.counts());
    println!(
        "calls of AssumeRole: {}, at most {} for a role within a minute",
        state.calls.number, state.calls.busiest
    );
    let mut answers: BTreeMap<&str, BTreeMap<i64, usize>> = BTreeMap::new();
    for ((pod, status), number) in &audit.answers {
        answers.entry(pod).or_default().insert(*status, *number);
    }
    println!(
        "what the API server answered: {answers:?}, of them gone for a watch: {}",
        audit.gone
    );
    println!(
        "Secrets written: {:?}; the lease went from one to another {} times; foreign Secrets at the end: {}",
        state.writers.secrets,
        state.writers.handovers,
        state.foreign.count()
    );
    println!("operators: {} processes", state.lives.len());
    for running in &state.lives {
        println!("  {}", running.life);
    }
    println!(
        "nothing excused the operators for {} of {} s, and expired credentials for {} s",
        state.judged.as_secs(),
        now.as_secs(),
        state.judged_for_expired.as_secs()
    );
    println!("findings: {}", state.findings.len());
    for finding in &state.findings {
        println!("  {:>7.1} s  {}", finding.at.as_secs_f64(), finding.what);
    }
}
