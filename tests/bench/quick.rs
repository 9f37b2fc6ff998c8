//! Counts only, on the development build: what the operator asks of the API server and of AWS for each resource, and how memory grows. No
//! time is measured, so it may run beside anything.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use aws_assume_role::api::AWSAssumeRole;
use support::operator::binary;
use support::wait_for;

use crate::expected::{self, Requests};
use crate::ground::{Ground, Subject, name, namespace};
use crate::growth::PREFIX;
use crate::watches::Watch;
use crate::{processes, progress};

/// How many resources are counted.
const COUNTED: usize = 20;

/// Between which numbers of resources memory is looked at.
const FEW: usize = 500;
const MANY: usize = 2500;

/// How long counts may take to become what is expected, or more.
const PATIENCE: Duration = Duration::from_secs(60);

/// The operator's requests so far, by verb and kind.
type Counts = BTreeMap<(String, String), u64>;

/// Counts, and says whether all is as expected.
pub async fn check() -> bool {
    let subject = Subject {
        name: "the development build",
        binary: binary(),
        definition: None,
        arguments: Vec::new(),
        any_right: false,
        call_rate: "500".to_owned(),
    };
    progress("a control plane");
    let mut ground = Ground::lay(&subject).await;
    let mut ready = Watch::ready(ground.client.clone()).await;
    ground.add_roles(PREFIX, 0..MANY + 1);
    ground.start_operator().await;
    // The first call asks AWS who the operator is.
    ground.create(PREFIX, MANY).await;
    ready.number(1).await;
    ground.at_rest().await;

    let mut findings = Findings::default();
    progress("new resources");
    let before = Before::of(&ground);
    ground.create_all(PREFIX, 0..COUNTED).await;
    ready.number(1 + COUNTED).await;
    before.settled(&ground, expected::NEW, COUNTED).await;
    let calls = ground.assumed().0 - before.calls;
    findings.compare(
        "a new resource",
        before.requests_since(&ground),
        expected::NEW,
        COUNTED as u64,
    );
    findings.calls("a new resource", calls, expected::NEW_CALLS * COUNTED as u64);

    progress("refreshes");
    let before = Before::of(&ground);
    request_refreshes(&ground).await;
    before.settled(&ground, expected::REFRESH, COUNTED).await;
    let calls = ground.assumed().0 - before.calls;
    findings.compare(
        "a refresh",
        before.requests_since(&ground),
        expected::REFRESH,
        COUNTED as u64,
    );
    findings.calls("a refresh", calls, expected::REFRESH_CALLS * COUNTED as u64);

    progress("memory");
    ground.create_all(PREFIX, COUNTED..FEW).await;
    ready.number(1 + FEW).await;
    ground.at_rest().await;
    let few = processes::resident(ground.pid());
    ground.create_all(PREFIX, FEW..MANY).await;
    ready.number(1 + MANY).await;
    ground.at_rest().await;
    let many = processes::resident(ground.pid());
    let each = (many - few) / (MANY - FEW) as f64;
    findings.at_most("memory of a resource, in bytes", each, expected::MEMORY_MAX);

    progress("a restart");
    ground.stop_operator();
    let before = Before::of(&ground);
    ground.start_operator().await;
    let all = 1 + MANY as u64;
    let mut since = before.requests_since(&ground);
    let reads = since.remove(&requested("get", "secrets")).unwrap_or_default();
    let lists = since.iter().filter(|((verb, _), _)| verb == "list");
    let lists: u64 = lists.map(|(_, number)| number).sum();
    let calls = ground.assumed().0 - before.calls;
    findings.compare("a restart", since, expected::RESTART, all);
    findings.calls("a restart", calls, expected::RESTART_CALLS * all);
    findings.at_most(
        "Secrets read by a restart",
        reads as f64,
        (expected::RESTART_READS_MAX * all) as f64,
    );
    let lists_max = expected::RESTART_LISTS_PER_HUNDRED_MAX * all / 100;
    findings.at_most("list requests of a restart", lists as f64, lists_max as f64);
    findings.tell()
}

async fn request_refreshes(ground: &Ground) {
    for number in 0..COUNTED {
        let api: Api<AWSAssumeRole> = Api::namespaced(ground.client.clone(), &namespace(number));
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"pincette.net/refresh": "now"}}}));
        let name = name(PREFIX, number);
        api.patch_metadata(&name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

/// What had been asked before something.
struct Before {
    requests: Counts,
    calls: u64,
}

impl Before {
    fn of(ground: &Ground) -> Self {
        Self {
            requests: requests(ground),
            calls: ground.assumed().0,
        }
    }

    /// What has been asked since.
    fn requests_since(&self, ground: &Ground) -> Counts {
        let mut since = requests(ground);
        for (what, before) in &self.requests {
            if let Some(number) = since.get_mut(what) {
                *number -= before;
            }
        }
        since.retain(|_, number| *number > 0);
        since
    }

    /// Waits until all that is expected has come, and then until nothing more comes.
    async fn settled(&self, ground: &Ground, expected: Requests, resources: usize) {
        let all = async || {
            let since = self.requests_since(ground);
            let has_come = |(verb, kind, number): &(&str, &str, u64)| {
                let found = since.get(&requested(verb, kind));
                found.copied().unwrap_or_default() >= number * resources as u64
            };
            expected.iter().all(has_come).then_some(())
        };
        wait_for("all that is expected", PATIENCE, all).await;
        ground.at_rest().await;
    }
}

/// The operator's requests so far, from the audit log.
fn requests(ground: &Ground) -> Counts {
    let mut counts = Counts::new();
    for event in ground.cluster.audit() {
        let text = |field: &str| event["objectRef"][field].as_str().unwrap_or_default().to_owned();
        let verb = event["verb"].as_str().unwrap_or_default().to_owned();
        let kind = match text("subresource").as_str() {
            "" => text("resource"),
            subresource => format!("{}/{subresource}", text("resource")),
        };
        *counts.entry((verb, kind)).or_default() += 1;
    }
    counts
}

fn requested(verb: &str, kind: &str) -> (String, String) {
    (verb.to_owned(), kind.to_owned())
}

/// What was found, line by line.
#[derive(Default)]
struct Findings {
    lines: Vec<String>,
    failed: bool,
}

impl Findings {
    fn line(&mut self, good: bool, text: &str) {
        self.failed |= !good;
        self.lines.push(format!("  {} {text}", if good { "✓" } else { "✗" }));
    }

    fn at_most(&mut self, what: &str, value: f64, most: f64) {
        self.line(value <= most, &format!("{what}: {value:.0}, at most {most:.0}"));
    }

    /// Compares what was asked with what is expected of each of the resources.
    fn compare(&mut self, what: &str, mut asked: Counts, expected: Requests, resources: u64) {
        // What follows a list is a watch, which ends after a while and is set up again.
        asked.retain(|(verb, kind), _| {
            !["list", "watch"].contains(&verb.as_str()) && !expected::OF_THE_OPERATOR.contains(&kind.as_str())
        });
        for (verb, kind, each) in expected {
            let found = asked.remove(&requested(verb, kind)).unwrap_or_default();
            let wanted = each * resources;
            let text = format!("{what}: {verb} {kind}: {found} for {resources}, expected {wanted}");
            self.line(found == wanted, &text);
        }
        for ((verb, kind), found) in &asked {
            self.line(
                false,
                &format!("{what}: {verb} {kind}: {found} for {resources}, expected none"),
            );
        }
        if expected.is_empty() && asked.is_empty() {
            self.line(true, &format!("{what}: nothing written for {resources}"));
        }
    }

    fn calls(&mut self, what: &str, found: u64, wanted: u64) {
        self.line(
            found == wanted,
            &format!("{what}: AssumeRole: {found}, expected {wanted}"),
        );
    }

    /// Prints all, and says whether it is as expected.
    fn tell(&self) -> bool {
        println!("{}", self.lines.join("\n"));
        !self.failed
    }
}
