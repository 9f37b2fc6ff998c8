//! The Region that the operator calls when a resource names none, and where it was found.

use std::fmt;
use std::sync::Arc;

/// A Region, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// `eu-west-1`, ...
    pub name: Arc<str>,
    /// Where it was found.
    pub source: RegionSource,
}

/// Where a Region was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum RegionSource {
    /// `AWS_REGION` or `AWS_DEFAULT_REGION`.
    #[strum(serialize = "environment")]
    Environment,
    /// A profile in the shared configuration files.
    #[strum(serialize = "profile")]
    Profile,
    /// The instance metadata service.
    #[strum(serialize = "instance metadata")]
    InstanceMetadata,
    /// Nobody named one.
    #[strum(serialize = "fallback")]
    Fallback,
}

impl Region {
    /// The Region of that name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, source: RegionSource) -> Self {
        Self {
            name: name.into(),
            source,
        }
    }

    /// Whether it was named by anybody.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.source != RegionSource::Fallback
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The partition of a Region, by the beginning of its name.
/// <https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json>
#[must_use]
pub fn partition(region: &str) -> &'static str {
    const BY_PREFIX: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-iso-", "aws-iso"),
        ("eusc-", "aws-eusc"),
    ];
    let found = BY_PREFIX.iter().find(|(prefix, _)| region.starts_with(prefix));
    found.map_or("aws", |(_, partition)| partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_lies_in_one_partition() {
        for (region, expected) in [
            ("eu-west-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-east-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            assert_eq!(partition(region), expected, "{region}");
        }
    }
}
