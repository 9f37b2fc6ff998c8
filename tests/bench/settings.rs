//! What is measured, from the environment.

use std::path::PathBuf;
use std::time::Duration;

/// What is measured, and how much of it.
pub struct Settings {
    /// `RESOURCES`: how many come at once in the large burst.
    pub resources: usize,
    /// `SIZES`: at which numbers of resources the memory is looked at.
    pub sizes: Vec<usize>,
    /// `REST_SECONDS`: how long the operator is watched at rest.
    pub rest: Duration,
    /// `DAY_HOURS`: how long the simulated day is.
    pub day: Duration,
    /// `CALL_RATE`: the operator's own limit, in calls to AWS per second.
    pub call_rate: String,
    /// `BINARY`: a built operator to measure. Without it, a release build is made.
    pub binary: Option<PathBuf>,
    /// Another operator, to stand beside it.
    pub other: Option<Other>,
}

/// Another operator: `OPERATOR`, its binary; `CRD`, the definition that it is installed with; `ARGUMENTS` for its command line.
pub struct Other {
    pub binary: PathBuf,
    pub definition: Option<PathBuf>,
    pub arguments: Vec<String>,
}

impl Settings {
    pub fn from_environment() -> Self {
        let resources = number("RESOURCES", 10_000);
        let mut sizes: Vec<usize> = match text("SIZES") {
            Some(sizes) => sizes
                .split(',')
                .map(|size| {
                    size.trim()
                        .parse()
                        .expect("SIZES holds numbers with commas between them")
                })
                .collect(),
            None => [100, 1_000].into_iter().filter(|size| *size < resources).collect(),
        };
        sizes.push(resources);
        sizes.sort_unstable();
        sizes.dedup();
        Self {
            resources,
            sizes,
            rest: Duration::from_secs(number("REST_SECONDS", 60) as u64),
            day: Duration::from_secs(number("DAY_HOURS", 24) as u64 * 3600),
            call_rate: text("CALL_RATE").unwrap_or_else(|| "500".to_owned()),
            binary: text("BINARY").map(existing),
            other: text("OPERATOR").map(|binary| Other {
                binary: existing(binary),
                definition: text("CRD").map(existing),
                arguments: text("ARGUMENTS")
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
            }),
        }
    }
}

fn text(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.is_empty())
}

fn number(variable: &str, default: usize) -> usize {
    text(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

fn existing(path: String) -> PathBuf {
    PathBuf::from(&path)
        .canonicalize()
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}
