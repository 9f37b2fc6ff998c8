use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use kube::core::Status;
use serde_json::{Value, json};

use support::bad_input::choices::Choices;
use support::bad_input::{bytes_of, json as bad_json, spec, specs, status};
use support::fixtures::{map_spec, role_arn, with};
use support::wait_for;
use support::world::{PATIENCE, World};

/// How many are thrown at the schema.
const AT_THE_SCHEMA: u64 = 3000;

/// How many are thrown at the operator, with the schema out of the way.
const AT_THE_OPERATOR: u64 = 400;

/// How many at a time. Each has a connection of its own.
const AT_A_TIME: usize = 24;

/// Where the hostile ones are.
const HOSTILE: &str = "hostile";

/// Where those are that are nested deeper than the client of this test could read either.
const DEEP: &str = "deep";

/// One that is thrown.
#[derive(Debug)]
struct Thrown {
    name: String,
    /// As it is sent.
    text: String,
    /// The field at fault, where there is one for certain.
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Fault {
    /// As the API server names it.
    field: String,
    seen_by_operator: bool,
}

impl Thrown {
    /// The resource of a seed: a good one, one in which one thing is wrong, or a wild one.
    fn of(seed: u64) -> Self {
        let bytes = bytes_of(seed);
        let mut choices = Choices::new(&bytes);
        let name = format!("hostile-{seed}");
        let (spec, fault) = match choices.below(12) {
            0 => (specs::good(&mut choices, &name), None),
            1..4 => (specs::wild(&mut choices, &name), None),
            _ => {
                let broken = specs::broken(&mut choices, &name);
                let field = match broken.field {
                    "" => "spec".to_owned(),
                    field => format!("spec.{field}"),
                };
                let seen_by_operator = broken.seen_by_operator;
                (
                    broken.spec,
                    Some(Fault {
                        field,
                        seen_by_operator,
                    }),
                )
            }
        };
        let text = bad_json::to_text(&support::fixtures::resource(&name, &spec));
        Self { name, text, fault }
    }

    fn namespace(&self) -> &'static str {
        match serde_json::from_str::<Value>(&self.text) {
            Ok(_) => HOSTILE,
            Err(_) => DEEP,
        }
    }

    fn is_an_error_for_the_operator(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.seen_by_operator)
    }
}

fn path(namespace: &str) -> String {
    format!("/apis/pincette.net/v1/namespaces/{namespace}/awsassumeroles")
}

/// Sends something to the API server, which checks the fields as strictly as kubectl asks it to. Gives the answer, or its refusal.
async fn send(world: &World, method: &str, path: &str, text: &str) -> Result<String, Box<Status>> {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{path}?fieldValidation=Strict"))
        .header("content-type", "application/json")
        .body(text.as_bytes().to_vec())
        .unwrap();
    match world.cluster.client().request_text(request).await {
        Ok(answer) => Ok(answer),
        Err(kube::Error::Api(refusal)) => Err(refusal),
        Err(other) => panic!("the API server did not answer: {other}"),
    }
}

/// Throws them, many at a time. Gives what became of each.
async fn throw(world: &World, thrown: &[Thrown]) -> Vec<Result<String, Box<Status>>> {
    let sent = thrown.iter().map(|one| async move {
        let namespace = one.namespace();
        let text = one
            .text
            .replace(r#""namespace":"default""#, &format!(r#""namespace":"{namespace}""#));
        send(world, "POST", &path(namespace), &text).await
    });
    stream::iter(sent).buffered(AT_A_TIME).collect().await
}

/// Takes whatever the schema says of spec and status out of the definition.
fn open(world: &World) {
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([
        {"op": "replace", "path": format!("{schema}/properties/spec"), "value": anything},
        {"op": "replace", "path": format!("{schema}/properties/status"), "value": anything},
        {"op": "remove", "path": format!("{schema}/required")},
    ]);
    let definition = "awsassumeroles.pincette.net";
    world
        .cluster
        .kubectl_ok(&["patch", "crd", definition, "--type=json", "--patch", &patch.to_string()]);
}

/// What a status says.
#[derive(Debug, Default)]
struct Told {
    generation: String,
    observed_generation: String,
    ready: String,
    reason: String,
}

/// What the statuses of a namespace say, by the names of their resources. Nothing while one of them is such that kubectl cannot find its way in
/// it, until the operator has written it anew.
fn told(world: &World, namespace: &str) -> BTreeMap<String, Told> {
    let ready = |field: &str| format!("{{.status.conditions[?(@.type==\"Ready\")].{field}}}");
    let line = format!(
        "{{range .items[*]}}{{.metadata.name}},{{.metadata.generation}},{{.status.observedGeneration}},{},{}{{\"\\n\"}}{{end}}",
        ready("status"),
        ready("reason")
    );
    let output = format!("jsonpath={line}");
    let output = world
        .cluster
        .kubectl_with(&["get", "aar", "--namespace", namespace, "-o", &output], "");
    if !output.status.success() {
        return BTreeMap::new();
    }
    let output = String::from_utf8(output.stdout).unwrap();
    let lines = output.lines().map(|line| {
        let mut parts = line.split(',').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let name = next();
        let told = Told {
            generation: next(),
            observed_generation: next(),
            ready: next(),
            reason: next(),
        };
        (name, told)
    });
    lines.collect()
}

/// The value of a counter, summed over what is counted apart.
fn counted(metrics: &str, series: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(series));
    let values: Vec<f64> = lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
    assert!(!values.is_empty(), "there is no series {series}");
    values.iter().sum()
}

/// The operator is the same as before, and nothing in it has failed.
async fn is_unharmed(world: &mut World, pid: u32) {
    let operator = world.operator.as_mut().unwrap();
    operator.must_run();
    assert_eq!(operator.pid(), pid);
    let metrics = world.metrics().await;
    assert_eq!(counted(&metrics, "aws_assume_role_actor_restarts_total"), 0.0);
    assert_eq!(
        counted(&metrics, "aws_assume_role_refreshes_total{outcome=\"panicked\""),
        0.0
    );
    let log = world.operator_log();
    // The API server says so after each change of the definition, which this story makes.
    let lines = log
        .lines()
        .filter(|line| !line.contains("storage is (re)initializing"))
        .filter(|line| line.contains("panicked at") || line.contains("the watch on the resources failed"));
    assert_eq!(lines.collect::<Vec<_>>(), [""; 0]);
}

/// A resource whose credentials are replaced every ten seconds, as often as any can be.
fn busy() -> Value {
    with(map_spec("busy"), &json!({"refreshBeforeSeconds": 899}))
}

async fn is_refreshed_again(world: &World) {
    let before = world.aws.assumed(&role_arn("busy"));
    wait_for("another refresh of the one beside them", PATIENCE, async || {
        (world.aws.assumed(&role_arn("busy")) > before).then_some(())
    })
    .await;
}

async fn is_served(world: &World, name: &str) {
    world.apply(name, &map_spec(name)).unwrap();
    world.ready(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_them() {
    let mut world = World::start().await;
    let pid = world.operator.as_ref().unwrap().pid();
    for namespace in [HOSTILE, DEEP] {
        world.cluster.kubectl_ok(&["create", "namespace", namespace]);
    }
    world.apply("busy", &busy()).unwrap();
    world.ready("busy").await;

    the_schema_refuses_them_by_their_fields(&world).await;
    is_served(&world, "after-the-schema").await;
    is_unharmed(&mut world, pid).await;

    open(&world);
    wait_for("a definition that takes anything", PATIENCE, async || {
        let anything = json!({"apiVersion": "pincette.net/v1", "kind": "AWSAssumeRole", "metadata": {"name": "anything"}, "spec": 7});
        send(&world, "POST", &path(HOSTILE), &anything.to_string()).await.ok()
    })
    .await;
    each_is_told_what_is_wrong_with_it(&world).await;
    is_refreshed_again(&world).await;
    is_served(&world, "after-all").await;
    is_unharmed(&mut world, pid).await;
}

async fn the_schema_refuses_them_by_their_fields(world: &World) {
    let thrown: Vec<Thrown> = (0..AT_THE_SCHEMA).map(Thrown::of).collect();
    let results = throw(world, &thrown).await;
    let (mut refused, mut taken) = (0, Vec::new());
    for (one, result) in thrown.iter().zip(results) {
        match (&one.fault, result) {
            (_, Err(refusal)) => {
                assert!((400..500).contains(&refusal.code), "{one:?}: {refusal:?}");
                let field = one.fault.as_ref().map_or("spec", |fault| &fault.field);
                assert!(refusal.message.contains(field), "{one:?}: {}", refusal.message);
                refused += 1;
            }
            (Some(_), Ok(_)) => panic!("the schema takes it: {one:?}"),
            (None, Ok(stored)) => {
                let read = spec::read(&stored).unwrap();
                assert!(!is_unreadable(&read), "the schema takes what cannot be read: {one:?}");
                taken.push(one.name.clone());
            }
        }
    }
    assert!(
        refused > 2000 && taken.len() > 20,
        "{refused} are refused, {} are taken",
        taken.len()
    );
    wait_for("a word about each that was taken", PATIENCE, async || {
        let told = told(world, HOSTILE);
        let answered = |name: &String| told.get(name).is_some_and(|told| !told.reason.is_empty());
        taken.iter().all(answered).then_some(())
    })
    .await;
}

fn is_unreadable(resource: &aws_assume_role::spec::Resource) -> bool {
    matches!(resource.spec, Err(aws_assume_role::spec::InvalidSpec::Unreadable(_)))
}

async fn each_is_told_what_is_wrong_with_it(world: &World) {
    let seeds = AT_THE_SCHEMA..AT_THE_SCHEMA + AT_THE_OPERATOR;
    let thrown: Vec<Thrown> = seeds.map(Thrown::of).collect();
    for (one, result) in thrown.iter().zip(throw(world, &thrown).await) {
        result.unwrap_or_else(|refusal| panic!("{one:?}: {refusal:?}"));
    }
    spoil(world, &thrown).await;
    let wrong: Vec<&Thrown> = thrown.iter().filter(|one| one.is_an_error_for_the_operator()).collect();
    assert!(wrong.len() > 100 && thrown.iter().any(|one| one.namespace() == DEEP));
    wait_for("a word about each", PATIENCE, async || {
        let told: BTreeMap<_, _> = [HOSTILE, DEEP]
            .iter()
            .flat_map(|namespace| told(world, namespace))
            .collect();
        let is_answered = |told: &Told| !told.reason.is_empty() && told.observed_generation == told.generation;
        let all = thrown.iter().all(|one| told.get(&one.name).is_some_and(is_answered));
        let is_error =
            |told: &Told| told.ready == "False" && ["InvalidRequest", "TemplateError"].contains(&told.reason.as_str());
        let errors = wrong.iter().all(|one| told.get(&one.name).is_some_and(is_error));
        (all && errors).then_some(())
    })
    .await;
}

/// Puts something else in the place of some statuses, and adds a field to some specs, so that they are read once more.
async fn spoil(world: &World, thrown: &[Thrown]) {
    let spoiling = thrown.iter().step_by(5).enumerate().map(|(number, one)| async move {
        let bytes = bytes_of(u64::MAX - number as u64);
        let mut choices = Choices::new(&bytes);
        let object = format!("{}/{}", path(one.namespace()), one.name);
        let change = |key: &str, value: Value| json!({key: value}).to_string();
        let status = change("status", status::made(&mut choices));
        merge(world, &format!("{object}/status"), &status).await;
        let spec = change("spec", json!({"unknown": bad_json::text(&mut choices)}));
        merge(world, &object, &spec).await;
    });
    stream::iter(spoiling)
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<_>>()
        .await;
}

async fn merge(world: &World, path: &str, patch: &str) {
    let request = http::Request::patch(path)
        .header("content-type", "application/merge-patch+json")
        .body(patch.as_bytes().to_vec())
        .unwrap();
    world.cluster.client().request_text(request).await.unwrap();
}
