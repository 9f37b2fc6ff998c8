//! `aws-assume-role crd`: the custom resource definition, as YAML.

use std::error::Error;

use kube::CustomResourceExt;

use crate::api::AWSAssumeRole;

pub(super) fn print() -> Result<(), Box<dyn Error>> {
    print!("{}", serde_saphyr::to_string(&AWSAssumeRole::crd())?);
    Ok(())
}
