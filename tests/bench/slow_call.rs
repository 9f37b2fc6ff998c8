//! One call to STS that takes its time, and what the others notice of it.

use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use support::fixtures::role_arn;
use support::strict_aws::{Fault, Request};

use crate::first_secret::Watches;
use crate::ground::{Ground, name};
use crate::progress;
use crate::table::{Table, Unit, percentile};

/// How many resources are made before, and meanwhile at most, one after the other.
const SAMPLES: usize = 100;

/// How long the slow call takes.
const SLOW: Duration = Duration::from_secs(10);

pub async fn measure(table: &mut Table, column: usize, ground: &Ground, watches: &mut Watches) {
    progress("one slow call");
    for prefix in ["before", "meanwhile"] {
        ground.add_roles(prefix, 0..SAMPLES);
    }
    ground.add_roles("slow", 0..1);
    let slow = name("slow", 0);
    let arn = role_arn(&slow);
    let (hangs, mut is_hanging) = unbounded_channel();
    ground.aws.inject_faults(move |request| {
        let is_slow = matches!(request, Request::AssumeRole(asked) if asked.role_arn == arn);
        is_slow.then(|| {
            let _ = hangs.send(());
            Fault::Slow(SLOW)
        })
    });

    let mut before = Vec::new();
    for number in 0..SAMPLES {
        before.push(watches.apply(ground, "before", number).await.0);
    }
    ground.create("slow", 0).await;
    let asked = tokio::time::timeout(SLOW, is_hanging.recv()).await;
    assert!(matches!(asked, Ok(Some(()))), "nobody asked for the slow role");
    let mut meanwhile = Vec::new();
    while meanwhile.len() < SAMPLES && !watches.secrets.has(&slow) {
        meanwhile.push(watches.apply(ground, "meanwhile", meanwhile.len()).await.0);
    }
    watches.ready.of(&slow).await;
    for (share, label) in [(0.5, "p50"), (0.99, "p99")] {
        let what = format!(
            "apply to Secret, {label}, while one call takes {} s; floor: just before it",
            SLOW.as_secs()
        );
        let (value, floor) = (percentile(&meanwhile, share), percentile(&before, share));
        table.put_beside(column, &what, Unit::Milliseconds, value, floor);
    }
}
