//! What a cycle does for a Secret that holds a registry login.

use std::collections::BTreeMap;
use std::time::Duration;

use super::tests::{cycle, first, restarted};
use super::*;
use crate::operator::fixtures::{World, at};
use crate::spec::Format;
use crate::spec::fixtures::{resource, spec};
use crate::spec::template::Template;

const URL: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app";

fn logins(urls: &[&str]) -> Resource {
    let urls = urls.iter().map(|url| url.parse().unwrap()).collect();
    resource(spec(Format::EcrDockerConfigJson(urls)))
}

#[tokio::test(start_paused = true)]
async fn a_registry_login_ends_with_what_ends_first() {
    let world = World::new().await;
    world.aws.logins_last(Duration::from_secs(600));
    let report = first(&world, &logins(&[URL])).await;
    let Outcome::Issued { why, validity, .. } = report.outcome else {
        panic!("{:?}", report.outcome);
    };
    assert_eq!((why, validity.expiration), (IssueReason::New, at(600)));
    assert_eq!(world.cluster.secret("secret").unwrap().expiration(), Some(at(600)));
}

#[tokio::test(start_paused = true)]
async fn a_region_costs_one_call_and_a_session_serves_all() {
    let world = World::new().await;
    let elsewhere = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    let several = logins(&[URL, "123456789012.dkr.ecr.eu-west-1.amazonaws.com/base", elsewhere]);
    let report = first(&world, &several).await;
    assert!(matches!(report.outcome, Outcome::Issued { .. }), "{:?}", report.outcome);
    assert_eq!(world.aws.calls(), 1);
    assert_eq!(world.aws.registries(), ["eu-west-1", "us-east-1"]);
    let report = cycle(&world, &several, Trigger::Created, restarted(&report)).await;
    assert!(matches!(report.outcome, Outcome::Kept(_)), "{:?}", report.outcome);
    assert_eq!(world.aws.registries().len(), 2, "a restart costs nothing");
}

#[tokio::test(start_paused = true)]
async fn a_template_costs_a_login_only_with_a_url() {
    let world = World::new().await;
    let template = |registry: Option<&str>, text: &str| {
        resource(spec(Format::Template(Template {
            data: BTreeMap::from([("key".into(), text.into())]),
            registry: registry.map(|url| url.parse().unwrap()),
            ..Template::default()
        })))
    };
    first(&world, &template(None, "{{ sessionToken }}")).await;
    assert!(world.aws.registries().is_empty());
    world.cluster.remove("secret");
    world.aws.logins_last(Duration::from_secs(600));
    let report = first(&world, &template(Some(URL), "{{ registryPassword }}")).await;
    let Outcome::Issued { validity, .. } = report.outcome else {
        panic!("{:?}", report.outcome);
    };
    assert_eq!(validity.expiration, at(600), "it holds a login too");
    assert_eq!(world.aws.registries(), ["eu-west-1"]);
}
