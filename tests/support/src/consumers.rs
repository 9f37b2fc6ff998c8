//! What those read who use the operator's Secrets, by their own code or their own parsers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{part, root};

/// The password that each program finds for each of some images in a docker config, by the name of its library. An empty one is none.
pub fn passwords(docker_config: &str, images: &[String]) -> BTreeMap<String, Vec<String>> {
    let question = json!({"config": docker_config, "images": images});
    let found = answer(
        Command::new(part("go-consumers")).arg("keyrings"),
        &question.to_string(),
    );
    serde_json::from_value(found).unwrap()
}

/// What each program in Go reads from a shared credentials file, by the name of its library.
pub fn profiles(credentials_file: &str) -> Value {
    answer(Command::new(part("go-consumers")).arg("profile"), credentials_file)
}

/// What each program of docs/consumers.md reads from the keys of its Secret, by the name of its example.
pub fn read(secrets: &BTreeMap<String, BTreeMap<String, String>>) -> Value {
    // The Python that moto runs with has parsers of YAML and of AWS's own files.
    let moto = fs::read_link(part("moto_server")).unwrap();
    let mut python = Command::new(moto.parent().unwrap().join("python"));
    let script = root().join("tests/consumers/read.py");
    answer(python.arg(script), &json!(secrets).to_string())
}

fn answer(command: &mut Command, given: &str) -> Value {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
