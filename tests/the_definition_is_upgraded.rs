use aws_assume_role::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use support::fixtures::{map_spec, with};
use support::replica::Replica;
use support::wait_for;
use support::world::{PATIENCE, World};

const NAME: &str = "awsassumeroles.pincette.net";

const VERSION: &str = "pincette.net/definition-version";

const RULES: &str = "x-kubernetes-validations";

fn definitions(world: &World) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<CustomResourceDefinition>(&());
    Api::all_with(world.cluster.client(), &kind)
}

async fn stored(world: &World) -> DynamicObject {
    definitions(world).get(NAME).await.unwrap()
}

/// Somebody changes the definition. Gives it as it is stored then.
async fn change(world: &World, change: impl Fn(&mut DynamicObject)) -> DynamicObject {
    let mut definition = stored(world).await;
    change(&mut definition);
    let parameters = PostParams::default();
    definitions(world)
        .replace(NAME, &parameters, &definition)
        .await
        .unwrap()
}

/// The schema of the spec.
fn spec(definition: &mut DynamicObject) -> &mut Value {
    &mut definition.data["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
}

fn add_rule(place: &mut Value, rule: &str, message: &str) {
    let mut rules = place[RULES].as_array().cloned().unwrap_or_default();
    rules.push(json!({"rule": rule, "message": message}));
    place[RULES] = rules.into();
}

/// What an earlier release left: a field less, of a version that came before.
fn make_older(definition: &mut DynamicObject) {
    let fields = spec(definition)["properties"].as_object_mut().unwrap();
    assert!(fields.remove("suspend").is_some());
    let annotations = definition.annotations_mut();
    annotations.insert(VERSION.to_owned(), "1.9.0".to_owned());
    annotations.remove("pincette.net/definition-hash");
}

async fn upgraded(world: &World) -> DynamicObject {
    wait_for("the upgrade", PATIENCE, async || {
        let mut definition = stored(world).await;
        let has_field = spec(&mut definition)["properties"]["suspend"].is_object();
        let is_current = definition.annotations()[VERSION] == env!("CARGO_PKG_VERSION");
        (has_field && is_current).then_some(definition)
    })
    .await
}

/// How the operators asked for the definition.
fn verbs(world: &World) -> Vec<String> {
    let audit = world.cluster.audit().into_iter();
    let asked = audit.filter(|request| request["objectRef"]["resource"] == "customresourcedefinitions");
    asked
        .map(|request| request["verb"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_put_into_it_stays() {
    let mut world = World::without_operator().await;
    change(&world, |definition| {
        make_older(definition);
        let kept = ("example.com/kept".to_owned(), "yes".to_owned());
        definition.annotations_mut().extend([kept]);
        add_rule(
            spec(definition),
            "self.secretName != 'forbidden'",
            "not in this cluster",
        );
        let role = &mut spec(definition)["properties"]["roleName"];
        add_rule(role, "!self.startsWith('admin')", "no role of an administrator");
        let column = json!({"name": "Team", "type": "string", "jsonPath": ".metadata.labels.team"});
        let columns = &mut definition.data["spec"]["versions"][0]["additionalPrinterColumns"];
        columns.as_array_mut().unwrap().push(column);
    })
    .await;
    world.start_operator();
    let definition = upgraded(&world).await;
    assert_eq!(definition.annotations()["example.com/kept"], "yes");
    assert_eq!(definition.data["spec"]["conversion"], json!({"strategy": "None"}));
    assert!(world.cluster.kubectl_ok(&["get", "aar", "-A"]).is_empty());

    // The rules still refuse, and so do the operator's own.
    let forbidden = world.apply("forbidden", &map_spec("forbidden")).unwrap_err();
    assert!(forbidden.contains("not in this cluster"), "{forbidden}");
    let role = with(map_spec("mine"), &json!({"roleName": "admin"}));
    let refused = world.apply("mine", &role).unwrap_err();
    assert!(refused.contains("no role of an administrator"), "{refused}");
    let both = with(
        map_spec("mine"),
        &json!({"roleArn": "arn:aws:iam::123456789012:role/a"}),
    );
    assert!(world.apply("mine", &both).is_err());
    wait_for("the new field", PATIENCE, async || {
        let suspended = with(map_spec("suspended"), &json!({"suspend": true}));
        world.apply("suspended", &suspended).ok()?;
        world.resource("suspended").await?.spec.suspend?.then_some(())
    })
    .await;
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;
    let table = world.cluster.kubectl_ok(&["get", "aar"]);
    assert!(table.contains("TEAM") && table.contains("READY"), "{table}");

    // A rule of the operator's that a release does not have any more would have gone: those of others are told from it by an annotation.
    let own = serde_json::to_value(api::definition()).unwrap();
    let own = &own["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][RULES];
    let mut definition = stored(&world).await;
    let number = |rules: &Value| rules.as_array().unwrap().len();
    assert_eq!(number(&spec(&mut definition)[RULES]), number(own) + 1);
    let verbs = verbs(&world);
    assert!(verbs.contains(&"update".to_owned()), "{verbs:?}");
    assert!(verbs.iter().all(|verb| verb == "get" || verb == "update"), "{verbs:?}");

    // The next one finds nothing to do.
    let before = stored(&world).await.resource_version();
    world.start_operator();
    world.operator_ready().await;
    assert_eq!(stored(&world).await.resource_version(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_the_same_time_do_no_harm() {
    let world = World::without_operator().await;
    change(&world, |definition| {
        make_older(definition);
        add_rule(
            spec(definition),
            "self.secretName != 'forbidden'",
            "not in this cluster",
        );
    })
    .await;
    let replicas = [Replica::start(&world, "one"), Replica::start(&world, "other")];
    for replica in &replicas {
        replica.ready().await;
    }
    let mut definition = upgraded(&world).await;
    let rules = spec(&mut definition)[RULES].as_array().unwrap();
    let kept = rules.iter().filter(|rule| rule["message"] == "not in this cluster");
    assert_eq!(kept.count(), 1);
    for replica in &replicas {
        let log = replica.process.log();
        assert!(!log.contains("was not brought up to date"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn that_of_a_newer_release_is_left_alone() {
    let mut world = World::without_operator().await;
    let newer = change(&world, |definition| {
        let field = json!({"type": "string", "maxLength": 10});
        spec(definition)["properties"]["fromTheFuture"] = field;
        let version = ("pincette.net/definition-version".to_owned(), "99.0.0".to_owned());
        definition.annotations_mut().extend([version]);
    })
    .await;
    world.start_operator();
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;
    wait_for("the line in the log", PATIENCE, async || {
        world.operator_log().contains("is of a newer release").then_some(())
    })
    .await;
    assert_eq!(stored(&world).await.resource_version(), newer.resource_version());
}
