use std::time::{Duration, Instant};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, rendered};
use support::fixtures::{map_spec, role_arn, with};
use support::replica::{Replica, holder, leader_first, lease, leases, will_hold};
use support::wait_for;
use support::world::{PATIENCE, World};

/// Less than a Lease lasts, and much more than a hand-over takes: whoever needs less has not waited for it.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A world with two replicas that were started at the same time, the one that leads first.
async fn two() -> (World, Replica, Replica) {
    let world = World::without_operator().await;
    let (one, other) = (Replica::start(&world, "one"), Replica::start(&world, "other"));
    let (leader, standby) = leader_first(&world, one, other).await;
    standby.ready().await;
    (world, leader, standby)
}

/// A spec that is due every twenty seconds.
fn restless_spec(name: &str) -> Value {
    with(map_spec(name), &json!({"refreshBeforeSeconds": 880}))
}

async fn serves(world: &World, name: &str) {
    world.apply(name, &map_spec(name)).unwrap();
    world.ready(name).await;
}

/// The times of requests in the audit log.
fn received(event: &Value) -> Timestamp {
    event["requestReceivedTimestamp"].as_str().unwrap().parse().unwrap()
}

/// What a replica read of the resources, their Secrets and what decides about them. The definition is looked at beside that, and again later
/// where the API server was too busy.
fn looks(world: &World, replica: &Replica) -> Vec<String> {
    let requests = replica.requests(world).into_iter();
    requests
        .filter(|event| event["verb"] == "list" || event["verb"] == "get")
        .filter(|event| event["objectRef"]["resource"] != "customresourcedefinitions")
        .map(|event| {
            let (verb, uri, code) = (&event["verb"], &event["requestURI"], &event["responseStatus"]["code"]);
            format!("{verb} {uri}: {code}")
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_acts_and_the_other_knows_the_same() {
    let (world, leader, standby) = two().await;
    for name in ["a", "b"] {
        serves(&world, name).await;
        assert_eq!(world.aws.assumed(&role_arn(name)), 1);
    }
    leader.ready().await;
    standby.will_show(r#"aws_assume_role_resources{state="ready"} 2"#).await;
    for line in [
        "aws_assume_role_leader 0",
        "aws_assume_role_actors 0",
        r#"aws_assume_role_credentials_valid{name="a",namespace="default"} 1"#,
    ] {
        standby.will_show(line).await;
    }
    for line in ["aws_assume_role_leader 1", "aws_assume_role_actors 2"] {
        leader.will_show(line).await;
    }
    assert_eq!(leader.calls(&world).len(), 2);
    assert!(standby.calls(&world).is_empty());
    let of_resources = |event: &&Value| event["objectRef"]["resource"] != "customresourcedefinitions";
    assert!(leader.writes(&world).iter().filter(of_resources).count() >= 4);
    assert_eq!(standby.writes(&world).iter().find(of_resources), None);
    assert!(!standby.requests(&world).is_empty(), "it is known by its token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_followed_and_nobody_notices_but_by_the_pause() {
    let (world, mut leader, standby) = two().await;
    for name in ["a", "b"] {
        serves(&world, name).await;
    }
    standby.will_show(r#"aws_assume_role_resources{state="ready"} 2"#).await;
    standby.ready().await;
    let looked = looks(&world, &standby);
    let statuses = [
        world.resource("a").await.unwrap().status,
        world.resource("b").await.unwrap().status,
    ];

    let killed = Instant::now();
    leader.process.signal("KILL");
    leader.process.wait();
    will_hold(&world, &standby).await;
    // A Lease of 15 seconds, and what a busy machine takes.
    assert!(killed.elapsed() < Duration::from_secs(25), "{:?}", killed.elapsed());
    standby.will_show("aws_assume_role_actors 2").await;
    serves(&world, "c").await;
    assert_eq!(looks(&world, &standby), looked, "it knew all there is to know");
    assert_eq!(standby.calls(&world).len(), 1, "what is valid is kept");
    let after = [
        world.resource("a").await.unwrap().status,
        world.resource("b").await.unwrap().status,
    ];
    assert_eq!(after, statuses);
    assert_eq!(lease(&world).await.unwrap().lease_transitions, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_told_to_stop_hands_over_at_once() {
    let (world, mut leader, standby) = two().await;
    serves(&world, "a").await;
    standby.will_show(r#"aws_assume_role_resources{state="ready"} 1"#).await;
    let told = Instant::now();
    leader.process.signal("TERM");
    will_hold(&world, &standby).await;
    assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
    assert!(leader.process.wait().success());
    assert!(leader.process.log().contains("the lease is released"));
    serves(&world, "b").await;
    assert_eq!(world.aws.assumed(&role_arn("a")), 1);

    // And back, as in a rolling update.
    let next = Replica::start(&world, "next");
    next.ready().await;
    let told = Instant::now();
    standby.process.signal("TERM");
    will_hold(&world, &next).await;
    assert!(told.elapsed() < AT_ONCE, "{:?}", told.elapsed());
    next.will_show("aws_assume_role_actors 2").await;
    assert_eq!(world.aws.calls("AssumeRole").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_stopped_beyond_its_lease_does_nothing_when_it_goes_on() {
    let (world, leader, standby) = two().await;
    world.apply("restless", &restless_spec("restless")).unwrap();
    world.ready("restless").await;
    let quiet = leader.calls(&world).len();
    leader.process.signal("STOP");
    // Its timer runs down meanwhile.
    will_hold(&world, &standby).await;
    wait_for("the other one to refresh it", PATIENCE, async || {
        (!standby.calls(&world).is_empty()).then_some(())
    })
    .await;
    // What was on its way when it was stopped is not meant.
    let calls = leader.calls(&world).len();
    assert!(calls <= quiet + 2, "{calls} after {quiet}");

    let goes_on = Timestamp::now();
    leader.process.signal("CONT");
    wait_for("it to notice", PATIENCE, async || {
        leader.process.log().contains("leading no more").then_some(())
    })
    .await;
    leader.will_lead(false).await;
    let refreshed = standby.calls(&world).len();
    wait_for("another refresh", PATIENCE, async || {
        (standby.calls(&world).len() > refreshed).then_some(())
    })
    .await;
    assert_eq!(leader.calls(&world).len(), calls);
    let late: Vec<Value> = leader
        .writes(&world)
        .into_iter()
        .filter(|event| received(event) >= goes_on)
        .collect();
    assert!(late.is_empty(), "{late:#?}");
    assert_eq!(holder(&world).await.as_deref(), Some(standby.name()));
    leader.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_told_its_namespace_finds_the_lease_by_its_service_account() {
    let world = World::without_operator().await;
    let lost = Replica::start_with(&world, "lost", |command| command.env("POD_NAMESPACE", ""));
    will_hold(&world, &lost).await;
    lost.will_lead(true).await;
    serves(&world, "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_edited_by_hand_is_let_go_of() {
    let (world, leader, standby) = two().await;
    serves(&world, "a").await;
    let patch = |change: Value| {
        world.cluster.kubectl_ok(&[
            "patch",
            "lease",
            OPERATOR_SERVICE_ACCOUNT,
            "--namespace",
            OPERATOR_NAMESPACE,
            "--type=merge",
            "--patch",
            &change.to_string(),
        ]);
    };
    // A word beside it changes nothing.
    patch(json!({"metadata": {"annotations": {"somebody": "was here"}}}));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(holder(&world).await.as_deref(), Some(leader.name()));
    assert!(!leader.process.log().contains("leading no more"));

    patch(json!({"spec": {"holderIdentity": "somebody"}}));
    leader.will_lead(false).await;
    assert!(leader.process.log().contains("the lease is held by somebody"));
    wait_for("one of them to lead again", PATIENCE, async || {
        let leads = [
            leader.shows("aws_assume_role_leader 1").await,
            standby.shows("aws_assume_role_leader 1").await,
        ];
        assert_ne!(leads, [true, true]);
        (leads != [false, false]).then_some(())
    })
    .await;
    let kept = leases(&world).get(OPERATOR_SERVICE_ACCOUNT).await.unwrap();
    assert_eq!(kept.metadata.annotations.unwrap()["somebody"], "was here");
    serves(&world, "b").await;
    assert_eq!(world.aws.assumed(&role_arn("a")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_deleted_is_made_again_by_its_holder() {
    let (world, leader, standby) = two().await;
    serves(&world, "a").await;
    let deleted = Instant::now();
    world.cluster.kubectl_ok(&[
        "delete",
        "lease",
        OPERATOR_SERVICE_ACCOUNT,
        "--namespace",
        OPERATOR_NAMESPACE,
    ]);
    will_hold(&world, &leader).await;
    assert!(deleted.elapsed() < AT_ONCE, "{:?}", deleted.elapsed());
    leader.will_lead(true).await;
    serves(&world, "b").await;
    assert!(standby.shows("aws_assume_role_leader 0").await);
    assert_eq!(world.aws.assumed(&role_arn("a")), 1);
}

/// As during the first upgrade to this version: the old replica knows no Lease.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_knows_no_lease_and_one_that_does_harm_no_secret() {
    let world = World::without_operator().await;
    let old = Replica::start_with(&world, "old", |command| command.env("LEADER_ELECTION", "false"));
    old.will_lead(true).await;
    for name in ["a", "b"] {
        serves(&world, name).await;
    }
    assert_eq!(lease(&world).await, None);
    let new = Replica::start(&world, "new");
    will_hold(&world, &new).await;
    new.will_show("aws_assume_role_actors 2").await;
    assert_eq!(new.calls(&world).len(), 0, "what is valid is kept");
    // Both act on it.
    serves(&world, "c").await;
    world.request_refresh("c", "1");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(
        world.aws.assumed(&role_arn("c")) <= 4,
        "{}",
        world.aws.assumed(&role_arn("c"))
    );
    let settled = world.aws.calls("AssumeRole").len();
    drop(old);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.aws.calls("AssumeRole").len(), settled);
    for name in ["a", "b", "c"] {
        let resource = world.ready(name).await;
        assert_eq!(resource.status.unwrap().failures, Some(0));
        let secret = world.secret(name).await.unwrap();
        let part = |key: &str| support::world::value(&secret, key);
        let caller = world
            .caller(
                &part("awsAccessKeyId"),
                &part("awsSecretAccessKey"),
                &part("awsSessionToken"),
            )
            .await;
        assert!(caller.contains(&format!("assumed-role/{name}/")), "{caller}");
    }
    serves(&world, "d").await;
    assert_eq!(world.aws.assumed(&role_arn("d")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_end_at_the_one_lease() {
    let world = World::start().await;
    serves(&world, "a").await;
    let may = |verb: &str, what: &str, namespace: &str| {
        let account = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
        let answer = world
            .cluster
            .kubectl_with(&["auth", "can-i", verb, what, "--namespace", namespace, &account], "");
        String::from_utf8(answer.stdout).unwrap().trim() == "yes"
    };
    let own = format!("leases.coordination.k8s.io/{OPERATOR_SERVICE_ACCOUNT}");
    for verb in ["get", "list", "watch", "patch"] {
        assert!(may(verb, &own, OPERATOR_NAMESPACE), "{verb}");
        assert!(!may(verb, &own, "kube-system"), "{verb}");
        assert!(
            !may(verb, "leases.coordination.k8s.io/kube-scheduler", OPERATOR_NAMESPACE),
            "{verb}"
        );
    }
    assert!(may("create", "leases.coordination.k8s.io", OPERATOR_NAMESPACE));
    assert!(!may("create", "leases.coordination.k8s.io", "default"));
    for verb in ["update", "delete"] {
        assert!(!may(verb, &own, OPERATOR_NAMESPACE), "{verb}");
    }
    let of_leases = |event: &&Value| event["objectRef"]["resource"] == "leases";
    let audit = world.cluster.audit();
    assert!(audit.iter().filter(of_leases).count() > 2);
    for event in audit.iter().filter(of_leases) {
        assert_eq!(event["objectRef"]["namespace"], OPERATOR_NAMESPACE, "{event}");
    }
}

#[test]
fn the_chart_keeps_one_at_work_whatever_happens_to_nodes() {
    for (arguments, replicas) in [(vec![], 2), (vec!["--set=replicas=1"], 1)] {
        let objects = rendered(&arguments);
        let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
        let spec = &of_kind("Deployment")["spec"];
        assert_eq!(spec["replicas"], replicas);
        assert_eq!(spec["strategy"]["type"], "RollingUpdate");
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        let pod = &spec["template"]["spec"];
        for constraint in pod["topologySpreadConstraints"].as_array().unwrap() {
            assert_eq!(constraint["whenUnsatisfiable"], "ScheduleAnyway");
            // On nodes that lack the label of one the scheduler would pass over all of them.
            assert_eq!(constraint["topologyKey"], "kubernetes.io/hostname");
        }
        let zones = &pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
        let zones = &zones["podAffinityTerm"];
        assert_eq!(zones["topologyKey"], "topology.kubernetes.io/zone");
        assert_eq!(zones["labelSelector"]["matchLabels"], spec["selector"]["matchLabels"]);
        let budget = &of_kind("PodDisruptionBudget")["spec"];
        assert_eq!(budget["maxUnavailable"], 1);
        assert_eq!(budget["selector"], spec["selector"]);
        let variables = pod["containers"][0]["env"].as_array().unwrap();
        let variable = variables
            .iter()
            .find(|found| found["name"] == "LEADER_ELECTION_LEASE_NAME");
        let named = &of_kind("Role")["rules"][1]["resourceNames"][0];
        assert_eq!(&variable.unwrap()["value"], named);
    }
    let own = r#"--set-json=topologySpreadConstraints=[{"topologyKey":"rack"}]"#;
    let objects = rendered(&[own]);
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
    let constraints = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"];
    assert_eq!(*constraints, json!([{"topologyKey": "rack"}]));
}
