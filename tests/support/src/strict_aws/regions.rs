//! Which Regions know a caller: those of its partition, and of these the ones that its account has switched on.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_enable-regions.html>

use std::collections::BTreeSet;

use aws_assume_role::aws::region::partition;

use crate::fixtures::ACCOUNT;

use super::{Principal, Refusal, Request};

/// Regions that an account has to switch on. <https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html>
const OPT_IN: [&str; 16] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-south-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-7",
    "ca-west-1",
    "eu-central-2",
    "eu-south-1",
    "eu-south-2",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
];

/// What the account has chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Regions {
    /// The opt-in Regions that are switched on.
    pub(super) enabled: BTreeSet<String>,
    /// The Regions for which STS is switched off.
    pub(super) without_sts: BTreeSet<String>,
}

impl Regions {
    pub(super) fn check(&self, caller: &Principal, region: &str, request: &Request) -> Result<(), Refusal> {
        let of_caller = caller.arn.split(':').nth(1).unwrap_or_default();
        let is_off = OPT_IN.contains(&region) && !self.enabled.contains(region);
        if partition(region) != of_caller || is_off {
            return Err(Refusal::new(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid",
            ));
        }
        self.check_sts(region, request)
    }

    /// Whether STS is switched on where a session is asked for.
    pub(super) fn check_sts(&self, region: &str, request: &Request) -> Result<(), Refusal> {
        if request.role_arn().is_some() && self.without_sts.contains(region) {
            let message = format!(
                "STS is not activated in this region for account:{ACCOUNT}. Your account administrator can activate STS in this region using the IAM Console."
            );
            return Err(Refusal::new(403, "RegionDisabledException", message));
        }
        Ok(())
    }
}
