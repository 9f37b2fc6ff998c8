//! Whoever has the operator's token can do what the operator does, and little else: the chart's admission policies refuse it.

use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use support::fixtures::{NAMESPACE, map_spec};
use support::wait_for;
use support::world::{PATIENCE, World};

const DEFINITION: &str = "awsassumeroles.pincette.net";

/// The reason why a request was refused by a policy of the chart.
fn refusal<T: Debug>(answer: Result<T, kube::Error>) -> String {
    match answer {
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("ValidatingAdmissionPolicy") => {
            status.message
        }
        other => panic!("not refused by a policy: {other:?}"),
    }
}

fn assert_refused<T: Debug>(answer: Result<T, kube::Error>, why: &str) {
    let message = refusal(answer);
    assert!(message.contains(why), "{message}");
}

fn secret(name: &str, type_: &str, owners: &Value) -> Secret {
    serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "ownerReferences": owners,
            "annotations": {"kubernetes.io/service-account.name": "victim"},
        },
        "type": type_,
        "stringData": {"key": "value"},
    }))
    .unwrap()
}

/// A reference to an owner.
fn owner(kind: &str, name: &str, uid: &str, controller: bool) -> Value {
    let group = if kind == "ConfigMap" { "v1" } else { "pincette.net/v1" };
    json!({"apiVersion": group, "kind": kind, "name": name, "uid": uid, "controller": controller})
}

fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

/// Waits until the API server goes by the policies. It takes them up a moment after they were installed.
async fn policies_hold(secrets: &Api<Secret>) {
    let token = secret("probe", "kubernetes.io/service-account-token", &json!([]));
    wait_for("the admission policies", PATIENCE, async || {
        secrets.create(&dry_run(), &token).await.is_err().then_some(())
    })
    .await;
}

/// A world whose operator has issued a Secret, and a client with the operator's token.
async fn robbed() -> (World, Client) {
    let world = World::start().await;
    // So that RBAC alone would let the thief have the tokens.
    world
        .cluster
        .upgrade_chart(&["--set=serviceAccountTokens.enabled=true"]);
    world.apply("mine", &map_spec("mine")).unwrap();
    world.ready("mine").await;
    let thief = world.cluster.operator_client().await;
    policies_hold(&Api::namespaced(thief.clone(), NAMESPACE)).await;
    (world, thief)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gets_no_token_for_the_cluster() {
    let (world, thief) = robbed().await;
    world.cluster.kubectl_ok(&["create", "serviceaccount", "victim"]);
    let accounts: Api<ServiceAccount> = Api::namespaced(thief.clone(), NAMESPACE);
    let request = async |audiences: &[&str], seconds: u32| {
        let request = json!({"metadata": {}, "spec": {"audiences": audiences, "expirationSeconds": seconds}});
        let request: TokenRequest = serde_json::from_value(request).unwrap();
        let answer = accounts
            .create_token_request("victim", &PostParams::default(), &request)
            .await;
        answer.map(|answer| answer.status.unwrap().token)
    };
    let own = "https://kubernetes.default.svc.cluster.local";
    let all: [&[&str]; 4] = [&[], &[own], &["sts.amazonaws.com", own], &["somebody-else"]];
    for audiences in all {
        assert_refused(request(audiences, 600).await, "for sts.amazonaws.com only");
    }
    assert_refused(request(&["sts.amazonaws.com"], 3601).await, "for an hour at most");

    // The ordinary one is for AWS, and the API server does not take it.
    let token = request(&["sts.amazonaws.com"], 600).await.unwrap();
    let answer = world.cluster.kubectl_with(
        &["create", "-o", "json", "-f", "-"],
        &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}).to_string(),
    );
    let review: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_ne!(review["status"]["authenticated"], true, "{review}");

    let secrets: Api<Secret> = Api::namespaced(thief, NAMESPACE);
    let uid = world.resource("mine").await.unwrap().uid().unwrap();
    let owners = json!([owner("AWSAssumeRole", "mine", &uid, true)]);
    for type_ in ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"] {
        let secret = secret("token", type_, &owners);
        assert_refused(secrets.create(&PostParams::default(), &secret).await, "of type");
    }
    assert_eq!(world.secret("token").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_touches_no_secret_of_anybody_else() {
    let (world, thief) = robbed().await;
    let all: Api<Secret> = Api::namespaced(world.cluster.client(), NAMESPACE);
    let secrets: Api<Secret> = Api::namespaced(thief, NAMESPACE);
    let create = PostParams::default();
    let update = PatchParams::default();
    let uid = world.resource("mine").await.unwrap().uid().unwrap();
    let mine = json!([owner("AWSAssumeRole", "mine", &uid, true)]);

    // Another's cannot be changed, taken over or deleted, whether nobody owns it or somebody else.
    world.cluster.kubectl_ok(&["create", "configmap", "theirs"]);
    let theirs = ["get", "configmap", "theirs", "--output=jsonpath={.metadata.uid}"];
    let elsewhere = json!([
        owner("AWSAssumeRole", "mine", &uid, false),
        owner("ConfigMap", "theirs", &world.cluster.kubectl_ok(&theirs), true)
    ]);
    for (name, owners) in [("free", json!([])), ("theirs", elsewhere)] {
        let before = all.create(&create, &secret(name, "Opaque", &owners)).await.unwrap();
        for change in [
            json!({"stringData": {"key": "mine"}}),
            json!({"metadata": {"labels": {"mine": "true"}}}),
            json!({"metadata": {"ownerReferences": mine}}),
            json!({"metadata": {"ownerReferences": mine}, "stringData": {"key": "mine"}}),
        ] {
            let answer = secrets.patch(name, &update, &Patch::Merge(&change)).await;
            assert!(refusal(answer).contains("aws-assume-role"));
        }
        let answer = secrets.delete(name, &DeleteParams::default()).await;
        assert_refused(answer.map(|_| ()), "that an AWSAssumeRole owns");
        assert_eq!(all.get(name).await.unwrap(), before);
    }

    // None is made that no resource controls. Whether one could be made may be asked.
    for owners in [
        json!([]),
        json!([owner("AWSAssumeRole", "mine", &uid, false)]),
        json!([owner("ConfigMap", "theirs", "uid-1", true)]),
    ] {
        let secret = secret("new", "Opaque", &owners);
        assert_refused(secrets.create(&create, &secret).await, "that an AWSAssumeRole controls");
        secrets.create(&dry_run(), &secret).await.unwrap();
    }

    // A resource's own stays its own.
    for owners in [
        json!([]),
        json!([owner("AWSAssumeRole", "mine", &uid, false)]),
        json!([owner("AWSAssumeRole", "other", "uid-2", true)]),
    ] {
        let change = Patch::Merge(json!({"metadata": {"ownerReferences": owners}}));
        assert!(refusal(secrets.patch("mine", &update, &change).await).contains("aws-assume-role"));
    }

    // The ordinary work passes: a Secret of a predecessor is taken over, and one that is not wanted is deleted.
    let referred = json!([owner("AWSAssumeRole", "mine", &uid, false)]);
    all.create(&create, &secret("old", "Opaque", &referred)).await.unwrap();
    let adoption = Patch::Merge(json!({"metadata": {"ownerReferences": mine}}));
    secrets.patch("old", &update, &adoption).await.unwrap();
    secrets.delete("old", &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_turns_the_definition_to_nothing_else() {
    let (world, thief) = robbed().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(thief);
    let before = definitions.get(DEFINITION).await.unwrap();
    let replaced = async |change: &dyn Fn(&mut Value)| {
        let mut definition = serde_json::to_value(definitions.get(DEFINITION).await.unwrap()).unwrap();
        change(&mut definition);
        let definition = serde_json::from_value(definition).unwrap();
        definitions
            .replace(DEFINITION, &PostParams::default(), &definition)
            .await
    };

    let webhook = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://thief.example.com/"},
    }});
    let answer = replaced(&|it| it["spec"]["conversion"] = webhook.clone()).await;
    assert_refused(answer, "no conversion webhook");
    let answer = replaced(&|it| it["spec"]["names"]["listKind"] = json!("Others")).await;
    assert_refused(answer, "the names of its definition");
    let another = |it: &mut Value| {
        let versions = it["spec"]["versions"].as_array_mut().unwrap();
        let mut version = versions[0].clone();
        version["name"] = json!("v2");
        version["storage"] = json!(false);
        versions.push(version);
    };
    assert_refused(replaced(&another).await, "the versions of its definition");
    let answer = replaced(&|it| it["spec"]["versions"][0]["served"] = json!(false)).await;
    assert_refused(answer, "the versions of its definition");
    let gone = json!([owner("ConfigMap", "gone", "uid-1", false)]);
    let answer = replaced(&|it| it["metadata"]["ownerReferences"] = gone.clone()).await;
    assert_refused(answer, "the owners");
    assert_eq!(definitions.get(DEFINITION).await.unwrap().spec, before.spec);

    // What an upgrade does passes: another schema, other columns, another short name.
    let upgrade = |it: &mut Value| {
        it["metadata"]["annotations"]["pincette.net/definition-hash"] = json!("another");
        it["spec"]["names"]["shortNames"] = json!(["aar", "aars"]);
        let version = &mut it["spec"]["versions"][0];
        version["additionalPrinterColumns"] = json!([]);
        version["schema"]["openAPIV3Schema"]["description"] = json!("Another.");
    };
    replaced(&upgrade).await.unwrap();

    // And whatever the policies say, the API server understands it.
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(world.cluster.client());
    let checked = wait_for("the types to be checked", PATIENCE, async || {
        let policies = policies.list(&kube::api::ListParams::default()).await.ok()?.items;
        let statuses = policies
            .into_iter()
            .map(|policy| policy.status.and_then(|status| status.type_checking));
        statuses.collect::<Option<Vec<_>>>()
    })
    .await;
    assert_eq!(checked.len(), 3);
    assert!(
        checked.iter().all(|checked| checked.expression_warnings.is_none()),
        "{checked:?}"
    );
}
