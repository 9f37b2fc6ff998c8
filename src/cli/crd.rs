//! `aws-assume-role crd`: the custom resource definition, as YAML.

use std::error::Error;

use crate::api;

pub(super) fn print() -> Result<(), Box<dyn Error>> {
    print!("{}", serde_saphyr::to_string(&api::definition())?);
    Ok(())
}
