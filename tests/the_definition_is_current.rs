use std::fs;
use std::process::Command;

use support::operator::binary;
use support::root;

#[test]
fn the_definitions_in_the_tree_are_what_the_operator_prints() {
    for (arguments, file) in [
        (&["crd"][..], "crds/awsassumeroles.pincette.net.yaml"),
        (&["crd"], "charts/aws-assume-role/crds/awsassumeroles.pincette.net.yaml"),
        (&["crd", "roles"], "crds/awsassumeroles.pincette.net.yaml"),
        (&["crd", "policies"], "crds/awsassumerolepolicies.pincette.net.yaml"),
        (
            &["crd", "policies"],
            "charts/aws-assume-role/files/awsassumerolepolicies.yaml",
        ),
    ] {
        let output = Command::new(binary()).args(arguments).output().unwrap();
        assert!(output.status.success());
        assert_eq!(
            fs::read(root().join(file)).unwrap(),
            output.stdout,
            "{file} is stale: run make crds"
        );
    }
}
