use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use support::control_plane::{ControlPlane, helm, rendered};
use support::root;

/// Values of the 1.x charts, which Helm keeps in a release, and what it hands to the charts that a larger one consists of.
const WITHOUT_EFFECT: [&str; 10] = [
    "accountId",
    "args",
    "command",
    "enabled",
    "global",
    "imagePullPolicy",
    "oidcProviderId",
    "ports",
    "region",
    "rolesToAssume",
];

fn chart() -> PathBuf {
    root().join("charts/aws-assume-role")
}

fn sets() -> Vec<PathBuf> {
    let entries = fs::read_dir(chart().join("ci")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// What Helm says of the chart with these values.
fn helm_on_chart(command: &[&str], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut run = helm(folder.path());
    run.args(command).arg(chart()).args(arguments);
    run.output().unwrap()
}

fn values(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// The path of a field: `image.tag`.
fn below(at: &str, name: &str) -> String {
    match at {
        "" => name.to_owned(),
        _ => format!("{at}.{name}"),
    }
}

/// The paths of all values. What is no object, or an empty one, is a value.
fn paths(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                paths(&below(at, name), field, found);
            }
        }
        _ => {
            found.insert(at.to_owned());
        }
    }
}

/// The same of a schema. An object whose fields it does not name is a value.
fn described(at: &str, schema: &Value, found: &mut BTreeSet<String>) {
    assert!(
        at.is_empty() || schema["description"].is_string(),
        "{at} has no description"
    );
    match schema["properties"].as_object() {
        Some(fields) => {
            assert_eq!(
                schema["additionalProperties"], false,
                "{at} takes what it does not know"
            );
            for (name, field) in fields {
                described(&below(at, name), field, found);
            }
        }
        None => {
            found.insert(at.to_owned());
        }
    }
}

#[test]
fn every_set_of_values_is_taken() {
    let sets = sets();
    assert!(sets.len() > 7, "{sets:?}");
    for set in &sets {
        let set = set.to_str().unwrap();
        assert!(set.ends_with("-values.yaml"), "{set}");
        let output = helm_on_chart(&["lint", "--strict"], &["--values", set]);
        assert!(
            output.status.success(),
            "{set}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        let objects = rendered(&["--values", set]);
        assert!(objects.iter().any(|object| object["kind"] == "Deployment"), "{set}");
    }
}

/// A kind of the Prometheus Operator, without its schema.
fn prometheus_operators(kind: &str) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

/// Where the pods must hold the strictest of the Pod Security Standards.
fn restricted(name: &str) -> Value {
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_what_becomes_of_every_set() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = ControlPlane::start(folder.path()).await;
    let apply = |what: &str, objects: &[Value], arguments: &[&str]| {
        let arguments = [
            &["apply", "--server-side", "--force-conflicts", "--filename=-"][..],
            arguments,
        ]
        .concat();
        let output = cluster.kubectl_with(
            &arguments,
            &json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
        );
        assert!(
            output.status.success(),
            "{what}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let definitions = ["ServiceMonitor", "PodMonitor", "PrometheusRule"].map(prometheus_operators);
    apply("definitions", &definitions, &[]);
    cluster.kubectl_ok(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"]);
    apply("namespaces", &["somewhere", "team-a", "team-b"].map(restricted), &[]);
    let account = rendered(&[])
        .into_iter()
        .find(|object| object["kind"] == "ServiceAccount");
    apply("the ServiceAccount", account.as_slice(), &[]);
    for set in &sets() {
        let set = set.to_str().unwrap();
        let objects = rendered(&["--values", set]);
        apply(set, &objects, &["--dry-run=server"]);
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let mut pod = deployment["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!("a-pod");
        pod["metadata"]["namespace"] = json!("somewhere");
        apply(set, &[pod], &["--dry-run=server"]);
    }
}

/// A value that is in one of the two only is one that nobody can find, or one that nobody can set.
#[test]
fn the_schema_describes_every_value_and_no_other() {
    let schema = fs::read_to_string(chart().join("values.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    described("", &serde_json::from_str(&schema).unwrap(), &mut known);
    known.retain(|path| !WITHOUT_EFFECT.contains(&path.as_str()));
    assert!(
        known.remove("awsCalls.atTheSameTime"),
        "the old name of awsCalls.maxConcurrent"
    );

    let defaults = values(&fs::read_to_string(chart().join("values.yaml")).unwrap());
    let mut there = BTreeSet::new();
    paths("", &defaults, &mut there);
    // These are Kubernetes' own, with defaults of the chart's, or labels.
    let inner = |path: &String| {
        known
            .iter()
            .find(|known| path.starts_with(&format!("{known}.")))
            .cloned()
    };
    let there: BTreeSet<_> = there
        .iter()
        .map(|path| inner(path).unwrap_or_else(|| path.clone()))
        .collect();
    assert_eq!(there, known);
}

#[test]
fn the_set_with_everything_has_every_value() {
    let text = fs::read_to_string(chart().join("ci/everything-values.yaml")).unwrap();
    let everything = values(&text);
    let defaults = values(&fs::read_to_string(chart().join("values.yaml")).unwrap());
    // watchNamespaces and serviceMonitor go without others that it has.
    let elsewhere = ["watchNamespaces", "metrics.serviceMonitor", "tracing.headersSecret"];
    let mut missing = Vec::new();
    for (name, default) in defaults.as_object().unwrap() {
        let given = &everything[name];
        match default.as_object() {
            Some(fields) if !fields.is_empty() && !name.ends_with("ecurityContext") => {
                missing.extend(
                    fields
                        .keys()
                        .filter(|field| given[*field].is_null())
                        .map(|field| format!("{name}.{field}")),
                );
            }
            _ if given.is_null() => missing.push(name.clone()),
            _ => {}
        }
    }
    missing.retain(|path| !elsewhere.contains(&path.as_str()));
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_value_that_is_wrong_is_refused() {
    for (wrong, message) in [
        ("replica=1", "'replica' not allowed"),
        ("image.version=2.0.0", "'version' not allowed"),
        ("image.digest=0123", "/image/digest"),
        ("replicas=many", "/replicas"),
        ("tenancy.unlistedNamespaces=Refuse", "'Allow', 'Deny'"),
        ("watchNamespaces=team-a", "want array"),
        ("watchNamespaces={team-*}", "/watchNamespaces/0"),
        (
            "metrics.serviceMonitor.enabled=true,metrics.podMonitor.enabled=true",
            "disable one of them",
        ),
    ] {
        // A lint passes over what a template refuses.
        let output = helm_on_chart(&["template", "aws-assume-role"], &["--set", wrong]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(message), "{wrong}: {said}");
    }
}

/// Helm keeps the values that somebody gave for a release when its chart is another one.
#[test]
fn values_of_a_1_x_chart_are_taken() {
    let old = "accountId=123456789012,region=eu-west-1,oidcProviderId=0123,rolesToAssume={a,b},imagePullPolicy=Always,nodeSelector.a=b";
    let output = helm_on_chart(&["lint", "--strict"], &["--set", old]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_name_that_yaml_takes_for_a_number_stays_a_name() {
    let objects = rendered(&["--namespace=5678", "--set-string=watchNamespaces={0123}"]);
    for object in &objects {
        for namespace in [&object["metadata"]["namespace"], &object["subjects"][0]["namespace"]] {
            assert!(namespace.is_null() || namespace.is_string(), "{object}");
        }
    }
    let account = objects
        .iter()
        .find(|object| object["kind"] == "ServiceAccount")
        .unwrap();
    assert_eq!(account["metadata"]["namespace"], "5678");
    let roles = objects.iter().filter(|object| object["kind"] == "Role");
    assert!(roles.clone().any(|role| role["metadata"]["namespace"] == "0123"));
}

#[test]
fn each_of_several_releases_is_missed_by_its_own_alert() {
    let down = |arguments: &str| {
        let objects = rendered(&["--set=metrics.prometheusRule.enabled=true", arguments]);
        let rules = objects
            .iter()
            .find(|object| object["kind"] == "PrometheusRule")
            .unwrap();
        let groups = rules["spec"]["groups"].as_array().unwrap().iter();
        let mut rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        let rule = rules.find(|rule| rule["alert"] == "AWSAssumeRoleDown").unwrap();
        rule["expr"].as_str().unwrap().to_owned()
    };
    let own = "absent(aws_assume_role_leader{namespace=\"somewhere\"} == 1)";
    assert_eq!(
        down("--set=watchNamespaces={team},metrics.serviceMonitor.enabled=true"),
        own
    );
    let any = "absent(aws_assume_role_leader == 1)";
    assert_eq!(down("--set=metrics.serviceMonitor.enabled=true"), any);
    // Who scrapes otherwise may have another label for the namespace.
    assert_eq!(down("--set=watchNamespaces={team}"), any);
}

#[test]
fn the_digest_of_an_image_counts_before_its_tag() {
    let image = |arguments: &[&str]| {
        let objects = rendered(arguments);
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(&[]), format!("pincette/aws-assume-role:{version}"));
    assert_eq!(image(&["--set=image.repository=r/i,image.tag=dev"]), "r/i:dev");
    let digest = format!("sha256:{}", "0a".repeat(32));
    let both = format!("--set=image.repository=r/i,image.tag=dev,image.digest={digest}");
    assert_eq!(image(&[&both]), format!("r/i@{digest}"));
}

/// Where the pods may go follows from where the operator goes.
#[test]
fn the_network_policy_follows_the_settings() {
    let ports = |arguments: &[&str]| {
        let objects = rendered(&[&["--set=networkPolicy.enabled=true"][..], arguments].concat());
        let policy = objects
            .iter()
            .find(|object| object["kind"] == "NetworkPolicy")
            .unwrap()
            .clone();
        let rules = policy["spec"]["egress"].as_array().unwrap().clone();
        let ports = rules.iter().map(|rule| rule["ports"][0]["port"].as_u64().unwrap());
        (ports.collect::<Vec<_>>(), policy)
    };
    let (without, policy) = ports(&[]);
    assert_eq!(without, [53_u64, 443, 443, 80]);
    assert!(policy.to_string().contains("169.254.169.254/32"));
    let (with, _) = ports(&["--set=tracing.endpoint=http://collector.observability:4317"]);
    assert_eq!(with, [53_u64, 443, 443, 80, 4317]);
    let (with, policy) = ports(&["--set=tracing.endpoint=https://collector/,aws.instanceMetadata=false"]);
    assert_eq!(with, [53_u64, 443, 443, 80, 443]);
    assert!(!policy.to_string().contains("169.254.169.254/32"));
    assert!(policy.to_string().contains("169.254.170.23/32"));
    assert!(rendered(&[]).iter().all(|object| object["kind"] != "NetworkPolicy"));
}
