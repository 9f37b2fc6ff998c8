use std::time::Duration;

use super::super::report::Outcome;
use super::*;
use crate::aws::error::{Answer, Operation};
use crate::aws::{Identity, Region};
use crate::operator::boundary::Tenancy;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn account() -> ServiceAccountName {
    "system/operator".parse().unwrap()
}

fn laptop(operator: Option<ServiceAccountName>) -> Subject {
    Subject::Somebody {
        user: Some("jane".to_owned()),
        operator,
    }
}

fn caller(identity: Result<Identity, AwsError>) -> Caller {
    Caller {
        identity,
        provider: Some("a profile".to_owned()),
        region: Region::new("eu-west-1", RegionSource::Environment),
        endpoint: Some("https://sts.eu-west-1.amazonaws.com".to_owned()),
        endpoint_source: EndpointSource::Region,
        answered: Some(now()),
    }
}

fn session() -> Identity {
    Identity::new("123456789012", "arn:aws:sts::123456789012:assumed-role/operator/eks-1")
}

fn of<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap()
}

#[test]
fn on_a_laptop_it_says_of_whom_it_speaks() {
    let own = cluster(&Subject::Operator(account()));
    assert!(own.outcome == Outcome::Ok && own.message.contains("ServiceAccount system/operator"));
    let other = cluster(&laptop(Some(account())));
    assert!(
        other.message.contains("jane") && other.message.contains("own AWS identity"),
        "{other:?}"
    );
    let alone = cluster(&laptop(None));
    assert_eq!(alone.outcome, Outcome::Unknown);
    assert!(alone.advice.unwrap().contains("--service-account"));
    assert_eq!(laptop(None).holder().0, "jane");
    let told = Source::Deployment("operator".to_owned());
    let of_account = laptop(Some(account())).judged(Check::failed("rights", "it may not", "ask"), &Source::Command);
    assert_eq!(of_account.outcome, Outcome::Unknown, "its settings may be others");
    let refused = || Check::failed("rights", "jane may not", "ask");
    assert_eq!(
        laptop(None).judged(refused(), &Source::RunningOperator).outcome,
        Outcome::Unknown
    );
    assert_eq!(
        laptop(Some(account())).judged(refused(), &told).outcome,
        Outcome::Failed
    );
    assert_eq!(laptop(Some(account())).holder().1, Some(&account()));
}

#[test]
fn settings_that_may_be_others_are_not_relied_on() {
    let mut own = Settings {
        source: Source::Command,
        tenancy: Tenancy::default(),
        watch_namespaces: Vec::new(),
        upgrades_definition: true,
        lease: None,
        instance_metadata: true,
    };
    assert_eq!(settings(&own, Some(&Subject::Operator(account()))).outcome, Outcome::Ok);
    assert_eq!(settings(&own, Some(&laptop(None))).outcome, Outcome::Unknown);
    own.source = Source::Deployment("operator".to_owned());
    assert!(
        settings(&own, Some(&laptop(None)))
            .message
            .contains("Deployment operator")
    );
    own.source = Source::RunningOperator;
    own.watch_namespaces = vec!["a".to_owned(), "b".to_owned()];
    let shown = settings(&own, None);
    assert!(
        shown.outcome == Outcome::Ok && shown.message.contains("namespaces a,b"),
        "{shown:?}"
    );
}

#[test]
fn a_definition_is_this_releases_or_a_newer_ones() {
    let lacking = || Ok(Published::Lacking(vec!["spec.suspend".to_owned()]));
    let outcome = |published, release: Option<(&str, bool)>| {
        let release = release.map(|(version, newer)| (version.to_owned(), newer));
        definition("AWSAssumeRole", published, release.as_ref())
    };
    assert_eq!(outcome(Ok(Published::Complete), None).outcome, Outcome::Ok);
    let older = outcome(lacking(), Some(("1.9.0", false)));
    assert!(
        older.outcome == Outcome::Failed && older.message.contains("spec.suspend"),
        "{older:?}"
    );
    assert_eq!(outcome(lacking(), Some(("99.0.0", true))).outcome, Outcome::Ok);
    assert_eq!(outcome(Ok(Published::NotInstalled), None).outcome, Outcome::Failed);
    let without = definition(POLICIES, Ok(Published::NotInstalled), None);
    assert!(
        without.outcome == Outcome::Unknown && without.advice.unwrap().contains("crd policies"),
        "the operator works without policies"
    );
    let away = outcome(Err(ClusterError::Unavailable("away".to_owned())), None);
    assert_eq!(away.outcome, Outcome::Unknown);
}

#[test]
fn a_leader_renews_its_lease() {
    let check = |record| leader(("system", "lease"), Ok(record), now());
    let record = |seconds: u64, holder: Option<&str>| {
        Some(LeaseRecord {
            holder: holder.map(str::to_owned),
            duration: Duration::from_secs(15),
            renewed: Some(now() - Duration::from_secs(seconds)),
            ..LeaseRecord::default()
        })
    };
    assert_eq!(check(record(2, Some("pod-1"))).outcome, Outcome::Ok);
    let late = check(record(60, Some("pod-1")));
    assert!(
        late.outcome == Outcome::Failed && late.message.contains("60 s"),
        "{late:?}"
    );
    assert_eq!(check(record(2, None)).outcome, Outcome::Failed);
    assert_eq!(check(None).outcome, Outcome::Failed);
}

#[test]
fn who_calls_and_by_which_way_is_told() {
    let checks = aws(&caller(Ok(session())), Some(&Subject::Operator(account())), now());
    assert!(checks.iter().all(|check| check.outcome == Outcome::Ok), "{checks:#?}");
    let identity = of(&checks, "aws-identity");
    assert!(
        identity
            .message
            .starts_with("The operator is arn:aws:sts::123456789012:assumed-role/operator/eks-1")
    );
    assert!(identity.message.contains("a profile"));
    assert!(of(&checks, "aws-chaining").message.contains("3600 s"));
    assert!(
        of(&checks, "aws-region")
            .message
            .contains("https://sts.eu-west-1.amazonaws.com")
    );
    let user = Identity::new("123456789012", "arn:aws:iam::123456789012:user/jane");
    let checks = aws(&caller(Ok(user)), Some(&laptop(None)), now());
    assert!(of(&checks, "aws-chaining").message.contains("not a role session"));
    assert!(of(&checks, "aws-identity").message.starts_with("This command is"));
}

#[test]
fn a_region_that_nobody_names_is_wrong() {
    let fallback = Caller {
        region: Region::new("us-east-1", RegionSource::Fallback),
        ..caller(Ok(session()))
    };
    let own = Subject::Operator(account());
    let check = |subject| of(&aws(&fallback, Some(subject), now()), "aws-region").outcome;
    assert_eq!(check(&own), Outcome::Failed);
    // The Region of a laptop is not the operator's.
    assert_eq!(check(&laptop(Some(account()))), Outcome::Unknown);
}

#[test]
fn a_clock_that_is_wrong_is_told_by_a_refusal_too() {
    let answer = Answer {
        operation: Operation::GetCallerIdentity,
        code: Some("SignatureDoesNotMatch".to_owned()),
        message: "no".to_owned(),
        request_id: None,
        retry_after: None,
        date: Some(now() + Duration::from_secs(3600)),
    };
    let refused = Caller {
        answered: None,
        ..caller(Err(AwsError::NoIdentity(answer)))
    };
    let other = aws(&refused, None, now());
    let other = of(&other, "clock");
    assert!(
        other.outcome == Outcome::Unknown && other.advice.as_ref().unwrap().contains("this machine"),
        "{other:?}"
    );
    let checks = aws(&refused, Some(&Subject::Operator(account())), now());
    let clock = of(&checks, "clock");
    assert!(
        clock.outcome == Outcome::Failed && clock.message.contains("3600 s behind"),
        "{clock:?}"
    );
    let identity = of(&checks, "aws-identity");
    assert_eq!(identity.outcome, Outcome::Failed);
    assert!(identity.advice.as_ref().unwrap().contains("clock"), "{identity:?}");
}

#[test]
fn without_credentials_a_laptop_needs_other_advice_than_the_operator() {
    let answer = Answer {
        operation: Operation::GetCallerIdentity,
        code: None,
        message: "no credentials found in chain".to_owned(),
        request_id: None,
        retry_after: None,
        date: None,
    };
    let without = Caller {
        provider: None,
        answered: None,
        ..caller(Err(AwsError::NoIdentity(answer)))
    };
    let advice = |subject: &Subject| {
        let checks = aws(&without, Some(subject), now());
        of(&checks, "aws-identity").advice.clone().unwrap()
    };
    assert!(advice(&laptop(None)).contains("AWS_PROFILE"));
    assert!(advice(&Subject::Operator(account())).contains("Pod Identity"));
}
