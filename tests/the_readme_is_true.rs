use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::control_plane::helm;
use support::world::World;
use support::{part, root};

/// A fenced block of a document.
struct Block {
    place: String,
    language: String,
    text: String,
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    std::iter::once(root().join("README.md"))
        .chain(docs.filter(|path| path.extension().is_some_and(|end| end == "md")))
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

/// Every manifest is one that the API server takes, every command one that works, every policy one that can be read.
#[tokio::test(flavor = "multi_thread")]
async fn every_block_of_the_documents_holds() {
    let world = World::start().await;
    let examples = root().join("docs/examples");
    world.cluster.kubectl_ok(&["apply", "-f", examples.to_str().unwrap()]);
    for resource in world.cluster.kubectl_ok(&["get", "aar", "-o", "name"]).lines() {
        world.ready(resource.rsplit('/').next().unwrap()).await;
    }
    let all: Vec<Block> = documents().iter().flat_map(|document| blocks(document)).collect();
    assert!(all.iter().any(|block| block.text.contains("make demo")));
    assert!(all.iter().any(|block| block.text.contains("make test")));
    for block in &all {
        match block.language.as_str() {
            "yaml" => manifests(&world, block),
            "json" => policy(block),
            "sh" => block.text.lines().for_each(|line| command(&world, &block.place, line)),
            "text" => {}
            other => panic!("{}: a block in {other:?} is not tested", block.place),
        }
    }
}

fn manifests(world: &World, block: &Block) {
    let output = world
        .cluster
        .kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &block.text);
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
