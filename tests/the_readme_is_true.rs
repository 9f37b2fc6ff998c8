use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_assume_role::api::Reason;
use axum::Router;
use axum::http::{StatusCode, Uri};
use strum::IntoEnumIterator;
use support::control_plane::{helm, rendered};
use support::world::World;
use support::{part, root};
use tokio::net::TcpListener;

/// A fenced block of a document.
struct Block {
    place: String,
    language: String,
    text: String,
}

/// The README and what is beside it, and the pages.
fn documents() -> Vec<PathBuf> {
    [root(), root().join("docs")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect()
}

fn blocks(document: &Path) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in fs::read_to_string(document).unwrap().lines().enumerate() {
        if let Some(language) = line.strip_prefix("```") {
            if !inside {
                found.push(Block {
                    place: format!("{}:{}", document.display(), number + 1),
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            inside = !inside;
        } else if inside {
            let block = found.last_mut().unwrap();
            block.text.push_str(line);
            block.text.push('\n');
        }
    }
    assert!(!inside, "a block of {} has no end", document.display());
    found
}

/// The lines of a document outside its fenced blocks, each with its number.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// The targets of the relative links in a line.
fn links(line: &str) -> Vec<&str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// The text of a heading, if the line is one.
fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    match text.len() < line.len() {
        true => text.strip_prefix(' ').map(str::trim),
        false => None,
    }
}

/// The anchor of a heading, as GitHub makes it: lower case, hyphens for spaces, and no punctuation.
fn slug(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .map(|character| if character == ' ' { '-' } else { character })
        .filter(|character| character.is_alphanumeric() || matches!(character, '-' | '_'))
        .collect()
}

/// The anchors of a document's headings. A heading that occurs again gets a number.
fn anchors(document: &Path) -> HashSet<String> {
    let text = fs::read_to_string(document).unwrap();
    let mut anchors = HashSet::new();
    for title in prose(&text).into_iter().filter_map(|(_, line)| heading(line)) {
        let plain = slug(title);
        let mut anchor = plain.clone();
        let mut repeated = 0;
        while !anchors.insert(anchor) {
            repeated += 1;
            anchor = format!("{plain}-{repeated}");
        }
    }
    anchors
}

/// Whether a relative link in a document leads to a file or a folder, and to a heading in it if it names one.
fn leads_somewhere(document: &Path, target: &str) -> bool {
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let file = match path.is_empty() {
        true => document.to_path_buf(),
        false => document.parent().unwrap().join(path),
    };
    file.exists() && anchor.is_none_or(|anchor| anchors(&file).contains(anchor))
}

/// Longer than this, nobody reads the README to its end. Details belong on a page under docs.
const README_LINES_MAX: usize = 200;

#[test]
fn the_readme_is_short() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let lines = readme.lines().count();
    assert!(
        lines <= README_LINES_MAX,
        "README.md has {lines} lines, more than {README_LINES_MAX}"
    );
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for (number, line) in prose(&text) {
            for target in links(line) {
                followed += 1;
                if !leads_somewhere(&document, target) {
                    broken.push(format!("{}:{number}: {target}", document.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(followed > 0, "no links were found at all");
}

/// Whoever is told a reason finds what to do about it.
#[test]
fn every_reason_has_its_heading() {
    let headings = anchors(&root().join("docs/troubleshooting.md"));
    let missing: Vec<Reason> = Reason::iter()
        .filter(|reason| !headings.contains(&slug(reason.as_ref())))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/troubleshooting.md has no heading for {missing:?}"
    );
}

#[test]
fn anchors_are_those_of_github() {
    for (title, anchor) in [
        ("Metrics and traces", "metrics-and-traces"),
        ("`Map`: environment variables", "map-environment-variables"),
        ("AWS's clock, and yours", "awss-clock-and-yours"),
        ("roleName or roleArn", "rolename-or-rolearn"),
        ("Alerts (Prometheus)", "alerts-prometheus"),
    ] {
        assert_eq!(slug(title), anchor);
    }
    assert_eq!(heading("## Alerts"), Some("Alerts"));
    assert_eq!(heading("#alerts"), None);
    assert_eq!(heading("Alerts"), None);
    assert_eq!(
        links("[a](b.md#c) and [d](https://example.com/) and [e](#f)"),
        ["b.md#c", "#f"]
    );
}

/// docs/upgrading.md promises it.
#[test]
fn a_value_under_its_old_name_still_counts() {
    let concurrency = |arguments: &[&str]| {
        let objects = rendered(arguments);
        let deployment = objects.iter().find(|object| object["kind"] == "Deployment").unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let variables = container["env"].as_array().unwrap();
        let found = variables.iter().find(|found| found["name"] == "AWS_CALL_CONCURRENCY");
        found.unwrap()["value"].clone()
    };
    assert_eq!(concurrency(&[]), "32");
    assert_eq!(concurrency(&["--set=awsCalls.maxConcurrent=8"]), "8");
    assert_eq!(concurrency(&["--set=awsCalls.atTheSameTime=8"]), "8");
}

/// Every manifest is one that the API server takes, every command one that works, every policy one that can be read. The README's policy is
/// enough for its resource, and that of the examples for them, where no other namespace has anything.
#[tokio::test(flavor = "multi_thread")]
async fn every_block_of_the_documents_holds() {
    let mut world = World::without_operator().await;
    world.start_operator_with(|command| command.env("UNLISTED_NAMESPACES", "Deny"));
    for block in blocks(&root().join("README.md")) {
        if block.language == "yaml" && block.text.contains("kind: AWSAssumeRole") {
            applied(&world, &block, &[]);
        }
    }
    world.ready("my-app").await;
    let examples = root().join("docs/examples");
    world.cluster.kubectl_ok(&["apply", "-f", examples.to_str().unwrap()]);
    for resource in world.cluster.kubectl_ok(&["get", "aar", "-o", "name"]).lines() {
        world.ready(resource.rsplit('/').next().unwrap()).await;
    }
    let repository = chart_repository().await;
    let all: Vec<Block> = documents().iter().flat_map(|document| blocks(document)).collect();
    assert!(all.iter().any(|block| block.text.contains("make demo")));
    assert!(all.iter().any(|block| block.text.contains("make test")));
    for block in &all {
        match block.language.as_str() {
            "yaml" => applied(&world, block, &["--dry-run=server"]),
            "json" => policy(block),
            "sh" => {
                let text = block.text.replace(REPOSITORY, &repository);
                text.lines().for_each(|line| command(&world, &block.place, line));
            }
            "text" => {}
            other => panic!("{}: a block in {other:?} is not tested", block.place),
        }
    }
}

/// Where the documents have the repository of the chart.
const REPOSITORY: &str = "https://charts.example.com";

/// Makes the repository of the chart, and gives the address at which it is served.
async fn chart_repository() -> String {
    let made = Command::new("make").arg("chart").current_dir(root()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let folder = root().join("target/chart");
    let file = async move |uri: Uri| match fs::read(folder.join(uri.path().trim_start_matches('/'))) {
        Ok(content) => (StatusCode::OK, content),
        Err(_) => (StatusCode::NOT_FOUND, Vec::new()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(file)).await });
    format!("http://{address}")
}

fn applied(world: &World, block: &Block, how: &[&str]) {
    let arguments = [["apply", "-f", "-"].as_slice(), how].concat();
    let output = world.cluster.kubectl_with(&arguments, &block.text);
    assert!(
        output.status.success(),
        "{}: {}",
        block.place,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn policy(block: &Block) {
    let policy: serde_json::Value =
        serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.place));
    let statements = policy["Statement"]
        .as_array()
        .unwrap_or_else(|| panic!("{}: no statements", block.place));
    for statement in statements {
        assert!(
            statement["Effect"].is_string() && !statement["Action"].is_null(),
            "{}: {statement}",
            block.place
        );
    }
}

fn command(world: &World, place: &str, line: &str) {
    let line = line.split('#').next().unwrap_or_default().trim();
    let Some((program, arguments)) = line.split_once(' ') else {
        return;
    };
    // Commands are split as a shell does, by a shell.
    let mut run = match program {
        "make" => {
            let mut make = Command::new("make");
            make.arg("--dry-run").env("PROGRAM", "make");
            make.args(arguments.split_whitespace());
            make
        }
        "kubectl" | "helm" => {
            let mut run = Command::new("sh");
            run.args(["-c", &format!("\"$PROGRAM\" {arguments}")]);
            for (name, value) in helm(world.folder()).get_envs() {
                run.env(name, value.unwrap_or_default());
            }
            run.env("PROGRAM", part(program));
            run
        }
        other => panic!("{place}: {other} cannot be tested"),
    };
    let output = run
        .env("KUBECONFIG", world.cluster.kubeconfig())
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{place}: {line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
