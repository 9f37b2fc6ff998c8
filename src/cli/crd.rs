//! `aws-assume-role crd`: a custom resource definition, as YAML.

use std::error::Error;

use clap::ValueEnum;

use crate::api;

/// A definition to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Definition {
    /// That of AWSAssumeRole.
    #[default]
    Roles,
    /// That of AWSAssumeRolePolicy.
    Policies,
}

pub(super) fn print(definition: Definition) -> Result<(), Box<dyn Error>> {
    let definition = match definition {
        Definition::Roles => api::definition(),
        Definition::Policies => api::policy_definition(),
    };
    print!("{}", serde_saphyr::to_string(&definition)?);
    Ok(())
}
