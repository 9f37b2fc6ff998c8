//! `aws-assume-role doctor`, as it is run in the operator's pod and on a laptop. What it says of an operator that is well, and that it changes
//! nothing and shows no credential.

use std::fs;
use std::path::Path;

use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT, rendered};
use support::fixtures::{ACCESS_KEY_ID, NAMESPACE, SECRET_ACCESS_KEY, ecr_spec, map_spec, role_arn};
use support::operator::OperatorCommand;
use support::strict_aws::http::{HttpServer, clock};
use support::strict_aws::{StrictAws, open_role};
use support::world::World;

/// What it printed, and whether it found nothing wrong.
pub struct Said {
    pub text: String,
    pub healthy: bool,
}

impl Said {
    pub fn checks(&self) -> Vec<Value> {
        let report: Value = serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text));
        report["checks"].as_array().unwrap().clone()
    }

    /// The check of that name whose message has that in it.
    pub fn check(&self, name: &str, part: &str) -> Value {
        let checks = self.checks();
        let mut found = checks.iter().filter(|check| check["name"] == name);
        let found = found.find(|check| check["message"].as_str().unwrap().contains(part));
        found
            .unwrap_or_else(|| panic!("no {name} with {part:?}: {checks:#?}"))
            .clone()
    }

    /// The outcome of the only check of that name, and its advice.
    pub fn outcome(&self, name: &str) -> (String, String) {
        let check = self.check(name, "");
        let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("advice"))
    }

    pub fn failed(&self) -> Vec<Value> {
        let mut checks = self.checks();
        checks.retain(|check| check["outcome"] != "ok");
        checks
    }
}

/// A world whose AWS keeps account of every call.
pub async fn strict_world() -> (World, StrictAws, HttpServer) {
    let world = World::without_operator().await;
    let aws = StrictAws::new(clock(SignedDuration::ZERO));
    let server = HttpServer::start(aws.clone()).await;
    (world, aws, server)
}

/// The command, for whoever a kubeconfig makes it. It has the environment of the operator.
pub fn doctor(kubeconfig: &Path, server: &HttpServer) -> OperatorCommand {
    OperatorCommand::new(kubeconfig, server.url())
        .with_access_key(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
        .env("CLUSTER_NAME", "prod")
}

/// Asks it, under a name that no other has had.
pub fn ask(world: &World, command: OperatorCommand, name: &str, arguments: &[&str]) -> Said {
    let arguments: Vec<String> = ["doctor"]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect();
    let mut process = command.arguments(&arguments).start_as(name, world.folder());
    let healthy = process.wait().success();
    let text = process.log();
    for secret in [ACCESS_KEY_ID, SECRET_ACCESS_KEY, "ASIA"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    Said { text, healthy }
}

/// The requests that were made with a token.
fn requests(world: &World, token: &str) -> Vec<Value> {
    let mut requests = world.cluster.audit();
    requests.retain(|request| {
        let ids = &request["user"]["extra"]["authentication.kubernetes.io/credential-id"];
        ids.as_array().is_some_and(|ids| ids.iter().any(|id| id == token))
    });
    requests
}

/// The versions of all that the operator and the administrator wrote, but for events, of which one may come late, and for ServiceAccounts and
/// ClusterRoles, some of which Kubernetes itself makes and fills at its leisure.
fn versions(world: &World) -> String {
    let kinds = "awsassumeroles,awsassumerolepolicies,secrets,crd";
    let columns = "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
    world
        .cluster
        .kubectl_ok(&["get", kinds, "--all-namespaces", "-o", columns])
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_operator_that_is_well() {
    let (mut world, aws, server) = strict_world().await;
    aws.add_role(&role_arn("app"), open_role());
    aws.add_role(&role_arn("pull"), open_role());
    let command = world.operator_command_for(server.url()).env("CLUSTER_NAME", "prod");
    world.run_operator(&command);
    world.apply("app", &map_spec("app")).unwrap();
    world.apply("pull", &ecr_spec("pull")).unwrap();
    world.ready("app").await;
    world.ready("pull").await;
    world.operator_ready().await;
    let secret = world.secret("app").await.unwrap();
    let before = versions(&world);

    // In the pod.
    let (kubeconfig, token) = world.cluster.replica_kubeconfig("doctor");
    let in_pod = || doctor(&kubeconfig, &server);
    let app = format!("{NAMESPACE}/app");
    let said = ask(&world, in_pod(), "doctor-text", &[&app]);
    assert!(said.healthy, "{}", said.text);
    let lines: Vec<&str> = said.text.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with('\u{2713}')), "{}", said.text);
    for value in secret.data.unwrap().values() {
        let value = String::from_utf8(value.0.clone()).unwrap();
        assert!(!said.text.contains(&value), "{}", said.text);
    }
    let said = ask(
        &world,
        in_pod(),
        "doctor-json",
        &["pull", "--namespace", NAMESPACE, "--output=json"],
    );
    assert!(said.healthy && said.failed().is_empty(), "{:#?}", said.failed());
    let account = format!("{OPERATOR_NAMESPACE}/{OPERATOR_SERVICE_ACCOUNT}");
    said.check("cluster", &account);
    said.check("leader", "acts");
    said.check("aws-region", server.url());
    said.check("aws-identity", "the access key in the environment");
    said.check("clock", "agree");
    said.check("session", "k8s:prod:default");
    said.check("registry", "ecr:GetAuthorizationToken in eu-west-1");
    said.check("secret", "the resource's own");
    said.check("status", "Issued");
    // The chart gives what it asks about, and nothing else.
    let roles = rendered(&[]);
    let roles = roles
        .iter()
        .filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role");
    let rules: Vec<&Value> = roles.flat_map(|role| role["rules"].as_array().unwrap()).collect();
    for rule in &rules {
        let text = |field: &str| rule[field][0].as_str().unwrap_or_default().to_owned();
        let verbs: Vec<&str> = rule["verbs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|verb| verb.as_str().unwrap())
            .collect();
        let object = match (text("apiGroups").as_str(), text("resources").split_once('/')) {
            ("", _) => text("resources"),
            (group, None) => format!("{}.{group}", text("resources")),
            (group, Some((resource, subresource))) => format!("{resource}.{group}/{subresource}"),
        };
        said.check("rights", &format!("may {} {object}", verbs.join(", ")));
    }
    let asked = said.checks().iter().filter(|check| check["name"] == "rights").count();
    assert_eq!(asked, rules.len());

    // A role that no resource names yet.
    let role = ask(
        &world,
        in_pod(),
        "doctor-role",
        &[&role_arn("app"), "-n", "team", "-o", "json"],
    );
    assert!(role.healthy, "{:#?}", role.failed());
    role.check("session", "k8s:prod:team");

    // On a laptop.
    let laptop = ask(
        &world,
        doctor(world.cluster.kubeconfig(), &server),
        "doctor-laptop",
        &[&app, "-o", "json"],
    );
    assert!(laptop.healthy, "{:#?}", laptop.failed());
    laptop.check("cluster", &format!("the operator's ServiceAccount {account}"));
    laptop.check("rights", &format!("ServiceAccount {account} may"));
    laptop.check("aws-identity", "This command is");

    // What its Deployment says of the operator is known there too, and flags count before that.
    let settings = laptop.check("settings", &format!("Deployment {OPERATOR_SERVICE_ACCOUNT}"));
    assert_eq!(settings["outcome"], "ok");
    // The shell has a name for the cluster, and the operator has none.
    assert!(
        settings["message"].as_str().unwrap().contains("cluster name none"),
        "{settings}"
    );
    let denying = ask(
        &world,
        doctor(world.cluster.kubeconfig(), &server),
        "doctor-flag",
        &[&app, "-o", "json", "--unlisted-namespaces=Deny"],
    );
    assert_eq!(denying.outcome("policy").0, "failed");

    // With another ServiceAccount's kubeconfig it is not taken for the operator.
    world
        .cluster
        .kubectl_ok(&["create", "serviceaccount", "somebody", "--namespace", NAMESPACE]);
    let minted = ["create", "token", "somebody", "--namespace", NAMESPACE];
    let token_of_somebody = world.folder().join("somebody.token");
    fs::write(&token_of_somebody, world.cluster.kubectl_ok(&minted).trim()).unwrap();
    let port = world.cluster.port();
    let kubeconfig = world
        .cluster
        .kubeconfig_with_token_file("somebody.kubeconfig", port, &token_of_somebody);
    let somebody = ask(&world, doctor(&kubeconfig, &server), "doctor-somebody", &["-o", "json"]);
    let who = somebody.check("cluster", "system:serviceaccount:default:somebody");
    assert_eq!(who["outcome"], "unknown");
    assert!(somebody.failed().iter().all(|check| check["outcome"] == "unknown"));

    // It changed nothing, and did nothing that could.
    assert_eq!(versions(&world), before);
    let requests = requests(&world, &token);
    assert!(requests.len() > 30, "{}", requests.len());
    for request in requests {
        let resource = request["objectRef"]["resource"].as_str().unwrap_or_default();
        let harmless = match request["verb"].as_str().unwrap() {
            "get" | "list" => true,
            "create" => resource.ends_with("reviews"),
            _ => false,
        };
        assert!(harmless, "{request}");
    }
}
