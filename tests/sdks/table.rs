//! The tables of `docs/consumers.md`.

use std::fs;
use std::path::Path;

use support::sdks::{Rereading, Tally};

use super::run::{Outcome, Row};

const BEGIN: &str = "<!-- make consumers writes what follows -->\n";
const END: &str = "<!-- up to here -->\n";

/// The table of the run with the default spec.
pub fn of_default(outcome: &Outcome) -> String {
    let line = |row: &Row| {
        format!(
            "| {} | {} | {} | {} | {:.1} | {:.1} | {} |\n",
            row.sdk.name(),
            row.file.version,
            with_file(&row.file),
            refused(&row.process),
            a_minute(row.process.calls, outcome),
            a_minute(row.process.runs, outcome),
            match row.shell {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not tried",
            },
        )
    };
    let head = "| SDK | Version | Refused with `File` | Refused with `CredentialProcess` | Calls a minute | Processes a minute | Shell needed |\n\
                | --- | --- | --- | --- | --- | --- | --- |\n";
    let lines: String = outcome.rows.iter().map(line).collect();
    format!(
        "With the default spec, {:.0} minutes:\n\n{head}{lines}",
        outcome.minutes
    )
}

/// The table of the run with `durationSeconds: 3600`.
pub fn of_hour(outcome: &Outcome) -> String {
    let line = |row: &Row| {
        format!(
            "| {} | {} | {} | {:.1} | {:.2} |\n",
            row.sdk.name(),
            with_file(&row.file),
            refused(&row.process),
            a_minute(row.process.calls, outcome),
            a_minute(row.process.runs, outcome),
        )
    };
    let head = "| SDK | Refused with `File` | Refused with `CredentialProcess` | Calls a minute | Processes a minute |\n\
                | --- | --- | --- | --- | --- |\n";
    let lines: String = outcome.rows.iter().map(line).collect();
    format!(
        "With `durationSeconds: 3600`, {:.0} minutes by a clock that ran ten times as fast:\n\n{head}{lines}",
        outcome.minutes
    )
}

fn a_minute(times: u64, outcome: &Outcome) -> f64 {
    f64::from(u32::try_from(times).unwrap()) / outcome.minutes
}

fn refused(tally: &Tally) -> String {
    let failed = match tally.failed {
        0 => String::new(),
        failed => format!(", and {failed} failed"),
    };
    format!("{} of {}{failed}", tally.refused, tally.calls)
}

fn with_file(tally: &Tally) -> String {
    let again = match tally.rereading() {
        Rereading::InTime => "reads it again",
        Rereading::TooLate => "reads it again too late",
        Rereading::Never => "never reads it again",
    };
    format!("{}: {again}", refused(tally))
}

/// Puts the tables in their place in the document.
pub fn write(document: &Path, tables: &str) {
    let text = fs::read_to_string(document).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the tables");
    let (_, after) = rest.split_once(END).expect("the end of the tables");
    fs::write(document, format!("{before}{BEGIN}\n{tables}\n{END}{after}")).unwrap();
}
