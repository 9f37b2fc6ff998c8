use std::fs;
use std::process::Command;

use support::operator::binary;
use support::root;

#[test]
fn the_definitions_in_the_tree_are_what_the_operator_prints() {
    let output = Command::new(binary()).arg("crd").output().unwrap();
    assert!(output.status.success());
    for folder in ["crds", "charts/aws-assume-role/crds"] {
        let path = root().join(folder).join("awsassumeroles.pincette.net.yaml");
        assert_eq!(
            fs::read(&path).unwrap(),
            output.stdout,
            "{} is stale: run make crds",
            path.display()
        );
    }
}
