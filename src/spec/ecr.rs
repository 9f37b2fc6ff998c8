//! The URL of a private ECR repository.

use std::str::FromStr;

use thiserror::Error;

/// A private ECR repository, from a URL with or without scheme and `/v2`, in the plain, FIPS and dual-stack host forms.
/// <https://docs.aws.amazon.com/general/latest/gr/ecr.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrRepository {
    /// The URL exactly as it was given, which is the key of the docker config.
    pub url: String,
    /// The account that owns the registry, twelve digits.
    pub account: String,
    /// The registry's Region.
    pub region: String,
    /// The repository, with its namespaces: `team/app`.
    pub name: String,
    /// What follows the Region in the host name.
    domain: String,
}

/// A text that is not the URL of a private ECR repository.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} does not name a private ECR repository: write https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>"
)]
pub struct NotAnEcrRepository(pub String);

/// The services' host labels before the Region: `dkr.ecr`, its FIPS form, and the dual-stack forms of both.
const SERVICE_LABELS: [&str; 4] = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."];

/// What follows the Region in the host name, per partition.
const DOMAINS: [&str; 10] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "on.aws",
    "on.amazonwebservices.com.cn",
    "on.amazonwebservices.eu",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];

impl EcrRepository {
    /// The repository's ARN, in the partition that its host and Region belong to.
    #[must_use]
    pub fn arn(&self) -> String {
        let partition = match self.domain.as_str() {
            "amazonaws.com.cn" | "on.amazonwebservices.com.cn" => "aws-cn",
            "amazonaws.eu" | "on.amazonwebservices.eu" => "aws-eusc",
            "c2s.ic.gov" => "aws-iso",
            "sc2s.sgov.gov" => "aws-iso-b",
            "cloud.adc-e.uk" => "aws-iso-e",
            "csp.hci.ic.gov" => "aws-iso-f",
            _ if self.region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!(
            "arn:{partition}:ecr:{}:{}:repository/{}",
            self.region, self.account, self.name
        )
    }
}

impl FromStr for EcrRepository {
    type Err = NotAnEcrRepository;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        parse(url).ok_or_else(|| NotAnEcrRepository(super::excerpt(url)))
    }
}

fn parse(url: &str) -> Option<EcrRepository> {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let (host, path) = rest.split_once('/')?;
    let name = path.strip_prefix("v2/").unwrap_or(path);
    let (account, service) = host.split_once('.')?;
    let (region, domain) = SERVICE_LABELS
        .iter()
        .find_map(|label| service.strip_prefix(label))?
        .split_once('.')?;

    let valid = account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && !region.is_empty()
        && region
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && DOMAINS.contains(&domain)
        && name.split('/').all(is_name_component);
    valid.then(|| EcrRepository {
        url: url.to_owned(),
        account: account.to_owned(),
        region: region.to_owned(),
        name: name.to_owned(),
        domain: domain.to_owned(),
    })
}

/// Lower-case letters and digits, with `.`, `_` and `-` only between them.
/// <https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html>
fn is_name_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    bytes.first().is_some_and(|b| alphanumeric(*b))
        && bytes.last().is_some_and(|b| alphanumeric(*b))
        && bytes.iter().all(|b| alphanumeric(*b) || b"._-".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_host_form_gives_region_and_repository() {
        for (url, region, name) in [
            (
                "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo",
                "eu-west-1",
                "my-repo",
            ),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/team/my-repo",
                "eu-west-1",
                "team/my-repo",
            ),
            (
                "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/my-repo",
                "eu-west-1",
                "my-repo",
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/my-repo",
                "cn-north-1",
                "my-repo",
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a_b/c.d",
                "us-gov-west-1",
                "a_b/c.d",
            ),
            ("123456789012.dkr-ecr.eu-west-1.on.aws/my-repo", "eu-west-1", "my-repo"),
            (
                "123456789012.dkr-ecr-fips.us-east-1.on.aws/v2/my-repo",
                "us-east-1",
                "my-repo",
            ),
        ] {
            let repository: EcrRepository = url.parse().unwrap();
            assert_eq!(
                (repository.region.as_str(), repository.name.as_str()),
                (region, name),
                "{url}"
            );
            assert_eq!(repository.account, "123456789012");
            assert_eq!(repository.url, url);
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_form_to_use() {
        for url in [
            "",
            "https://",
            "docker.io/library/nginx",
            "https://public.ecr.aws/v2/my-repo",
            "http://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/",
            "https://12345.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo",
            "https://1234567890123.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo",
            "https://123456789012.dkr.ecr.eu-west-1.example.com/v2/my-repo",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/My-Repo",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo:latest",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/-repo",
        ] {
            let error = url.parse::<EcrRepository>().unwrap_err();
            assert!(error.to_string().contains("https://<account>.dkr.ecr"), "{url}");
        }
    }

    #[test]
    fn the_arn_is_in_the_partition_of_the_host() {
        for (host, arn) in [
            (
                "dkr.ecr.eu-west-1.amazonaws.com",
                "arn:aws:ecr:eu-west-1:123456789012:repository/r",
            ),
            (
                "dkr-ecr.eu-west-1.on.aws",
                "arn:aws:ecr:eu-west-1:123456789012:repository/r",
            ),
            (
                "dkr.ecr.us-gov-west-1.amazonaws.com",
                "arn:aws-us-gov:ecr:us-gov-west-1:123456789012:repository/r",
            ),
            (
                "dkr.ecr.cn-north-1.amazonaws.com.cn",
                "arn:aws-cn:ecr:cn-north-1:123456789012:repository/r",
            ),
            (
                "dkr.ecr.eusc-de-east-1.amazonaws.eu",
                "arn:aws-eusc:ecr:eusc-de-east-1:123456789012:repository/r",
            ),
        ] {
            let repository: EcrRepository = format!("123456789012.{host}/r").parse().unwrap();
            assert_eq!(repository.arn(), arn);
        }
    }

    proptest! {
        #[test]
        fn what_is_made_of_its_parts_is_taken_apart_again(
            account in "[0-9]{12}",
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            name in "[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,3}(/[a-z0-9]{1,8}){0,2}",
            scheme in prop::bool::ANY,
            version in prop::bool::ANY,
        ) {
            // A first component `v2` is the API's version, by the rule that `/v2` may be left out.
            prop_assume!(!name.starts_with("v2/"));
            let url = format!(
                "{}{account}.dkr.ecr.{region}.amazonaws.com{}/{name}",
                if scheme { "https://" } else { "" },
                if version { "/v2" } else { "" },
            );
            let repository: EcrRepository = url.parse().unwrap();
            prop_assert_eq!(repository, EcrRepository { url, account, region, name, domain: "amazonaws.com".into() });
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = text.parse::<EcrRepository>();
        }
    }
}
