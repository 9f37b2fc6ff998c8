//! The URL of a private ECR repository, or of a whole registry.

use std::collections::BTreeMap;
use std::str::FromStr;

use thiserror::Error;

use super::names::is_region;

/// A private ECR registry or a repository in it, from a URL with or without scheme and `/v2`, in the plain, FIPS and dual-stack host forms.
/// <https://docs.aws.amazon.com/general/latest/gr/ecr.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrRepositoryUrl {
    /// The URL exactly as it was given, which is a key of the docker config.
    pub url: String,
    /// The registry's host: `123456789012.dkr.ecr.eu-west-1.amazonaws.com`.
    pub host: String,
    /// The account that owns the registry, twelve digits.
    pub account: String,
    /// The registry's Region.
    pub region: String,
    /// The repository, with its namespaces: `team/app`. It stands for what lies below it too. Where there is none, every repository of the
    /// registry is meant.
    pub repository: Option<String>,
    /// Whether the host is a FIPS endpoint.
    pub fips: bool,
    /// Whether the host is a dual-stack endpoint.
    pub dual_stack: bool,
    /// The partition that the host belongs to.
    partition: &'static str,
}

/// A text that is not the URL of a private ECR registry or repository.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "{0:?} does not name a private ECR repository: write https://<account>.dkr.ecr.<region>.amazonaws.com/v2/<repository>, or the host alone for all repositories"
)]
pub struct NotAnEcrRepositoryUrl(pub String);

/// The endpoint that a registry token is asked for at: one token opens all registries of a Region, whatever the form of their hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EcrEndpoint {
    /// The Region.
    pub region: String,
    /// Whether a FIPS endpoint is asked for.
    pub fips: bool,
    /// Whether a dual-stack endpoint is asked for.
    pub dual_stack: bool,
}

/// The labels of a host between the account and the Region, with whether it is a FIPS endpoint.
const IPV4_LABELS: [(&str, bool); 2] = [("dkr.ecr.", false), ("dkr.ecr-fips.", true)];

/// The same of a dual-stack endpoint.
const DUAL_STACK_LABELS: [(&str, bool); 2] = [("dkr-ecr.", false), ("dkr-ecr-fips.", true)];

/// What follows the Region in a host, and the partition that has it. In the first, `us-gov-` is another.
const IPV4_DOMAINS: [(&str, &str); 7] = [
    ("amazonaws.com", "aws"),
    ("amazonaws.com.cn", "aws-cn"),
    ("amazonaws.eu", "aws-eusc"),
    ("c2s.ic.gov", "aws-iso"),
    ("sc2s.sgov.gov", "aws-iso-b"),
    ("cloud.adc-e.uk", "aws-iso-e"),
    ("csp.hci.ic.gov", "aws-iso-f"),
];

/// The same for a dual-stack endpoint.
/// <https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-requests.html>
const DUAL_STACK_DOMAINS: [(&str, &str); 3] = [
    ("on.aws", "aws"),
    ("on.amazonwebservices.com.cn", "aws-cn"),
    ("on.amazonwebservices.eu", "aws-eusc"),
];

impl EcrRepositoryUrl {
    /// The ARNs of what is meant: the repository and what lies below it, or every repository of the registry.
    #[must_use]
    pub fn arns(&self) -> Vec<String> {
        let (partition, region, account) = (self.partition, &self.region, &self.account);
        let arn = |name: &str| format!("arn:{partition}:ecr:{region}:{account}:repository/{name}");
        match &self.repository {
            Some(repository) => vec![arn(repository), arn(&format!("{repository}/*"))],
            None => vec![arn("*")],
        }
    }

    /// Whether everything that another means is meant here too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let same_registry =
            (self.partition, &self.region, &self.account) == (other.partition, &other.region, &other.account);
        same_registry
            && match (&self.repository, &other.repository) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(this), Some(that)) => that
                    .strip_prefix(this.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            }
    }

    /// A URL without a scheme as an image is named, where it was not given so: containers/image, which skopeo, buildah and podman use, takes the
    /// `/v2` of such a key for a part of the repository's name.
    #[must_use]
    pub fn image_name(&self) -> Option<String> {
        let name = match &self.repository {
            Some(repository) => format!("{}/{repository}", self.host),
            None => self.host.clone(),
        };
        (!self.url.starts_with(SCHEME) && self.url != name).then_some(name)
    }
}

/// The endpoints to ask for tokens, one for each Region.
pub fn endpoints<'a>(urls: impl IntoIterator<Item = &'a EcrRepositoryUrl>) -> Vec<EcrEndpoint> {
    let mut endpoints: BTreeMap<&str, EcrEndpoint> = BTreeMap::new();
    for url in urls {
        let endpoint = endpoints.entry(&url.region).or_insert_with(|| EcrEndpoint {
            region: url.region.clone(),
            fips: false,
            dual_stack: false,
        });
        endpoint.fips |= url.fips;
        endpoint.dual_stack |= url.dual_stack;
    }
    endpoints.into_values().collect()
}

const SCHEME: &str = "https://";

impl FromStr for EcrRepositoryUrl {
    type Err = NotAnEcrRepositoryUrl;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        parse(url).ok_or_else(|| NotAnEcrRepositoryUrl(super::excerpt(url)))
    }
}

fn parse(url: &str) -> Option<EcrRepositoryUrl> {
    let rest = url.strip_prefix(SCHEME).unwrap_or(url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let name = path.strip_prefix("v2/").unwrap_or(path);
    let (account, service) = host.split_once('.')?;
    let (region, fips, dual_stack, partition) = endpoint(service, &IPV4_LABELS, &IPV4_DOMAINS)
        .map(|(region, fips, partition)| (region, fips, false, partition))
        .or_else(|| {
            endpoint(service, &DUAL_STACK_LABELS, &DUAL_STACK_DOMAINS)
                .map(|(region, fips, partition)| (region, fips, true, partition))
        })?;

    let valid = account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && is_region(region)
        && (name.is_empty() || name.split('/').all(is_name_component));
    valid.then(|| EcrRepositoryUrl {
        url: url.to_owned(),
        host: host.to_owned(),
        account: account.to_owned(),
        region: region.to_owned(),
        repository: (!name.is_empty()).then(|| name.to_owned()),
        fips,
        dual_stack,
        partition: match partition {
            "aws" if region.starts_with("us-gov-") => "aws-us-gov",
            other => other,
        },
    })
}

/// The Region of a host without its account, whether it is a FIPS endpoint, and its partition.
fn endpoint<'a>(
    service: &'a str,
    labels: &[(&str, bool)],
    domains: &[(&str, &'static str)],
) -> Option<(&'a str, bool, &'static str)> {
    let (rest, fips) = labels
        .iter()
        .find_map(|(label, fips)| Some((service.strip_prefix(label)?, *fips)))?;
    let (region, domain) = rest.split_once('.')?;
    let (_, partition) = domains.iter().find(|(known, _)| *known == domain)?;
    Some((region, fips, partition))
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

    fn parsed(url: &str) -> EcrRepositoryUrl {
        url.parse().unwrap()
    }

    #[test]
    fn every_host_form_gives_region_and_repository() {
        for (url, region, repository, fips, dual_stack) in [
            (
                "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo",
                "eu-west-1",
                "my-repo",
                false,
                false,
            ),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/team/my-repo",
                "eu-west-1",
                "team/my-repo",
                false,
                false,
            ),
            (
                "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/my-repo",
                "eu-west-1",
                "my-repo",
                false,
                false,
            ),
            (
                "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/my-repo",
                "cn-north-1",
                "my-repo",
                false,
                false,
            ),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com/a_b/c.d",
                "us-gov-west-1",
                "a_b/c.d",
                true,
                false,
            ),
            (
                "123456789012.dkr-ecr.eu-west-1.on.aws/my-repo",
                "eu-west-1",
                "my-repo",
                false,
                true,
            ),
            (
                "123456789012.dkr-ecr-fips.us-east-1.on.aws/v2/my-repo",
                "us-east-1",
                "my-repo",
                true,
                true,
            ),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com",
                "eu-west-1",
                "",
                false,
                false,
            ),
            (
                "https://123456789012.dkr-ecr.eu-west-1.on.aws",
                "eu-west-1",
                "",
                false,
                true,
            ),
            (
                "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/",
                "eu-west-1",
                "",
                false,
                false,
            ),
            (
                "123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/",
                "eu-west-1",
                "",
                false,
                false,
            ),
        ] {
            let found = parsed(url);
            let host = url.trim_start_matches("https://").split('/').next().unwrap();
            assert_eq!(
                (found.region.as_str(), found.repository.as_deref().unwrap_or_default()),
                (region, repository),
                "{url}"
            );
            assert_eq!((found.fips, found.dual_stack), (fips, dual_stack), "{url}");
            assert_eq!(
                (found.account.as_str(), found.host.as_str(), found.url.as_str()),
                ("123456789012", host, url)
            );
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
            "https://12345.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo",
            "https://1234567890123.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo",
            "https://123456789012.dkr.ecr.-.amazonaws.com/v2/my-repo",
            "https://123456789012.dkr.ecr.eu-west-1.example.com/v2/my-repo",
            "https://123456789012.dkr.ecr..amazonaws.com/v2/my-repo",
            "https://123456789012.dkr.ecr.eu-west-1.on.aws/v2/my-repo",
            "https://123456789012.dkr-ecr.eu-west-1.amazonaws.com/v2/my-repo",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/My-Repo",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo:latest",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/my-repo/",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com/v2/-repo",
            "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com//",
        ] {
            let error = url.parse::<EcrRepositoryUrl>().unwrap_err();
            assert!(error.to_string().contains("https://<account>.dkr.ecr"), "{url}");
        }
    }

    #[test]
    fn the_arns_are_in_the_partition_of_the_host() {
        for (host, prefix) in [
            ("dkr.ecr.eu-west-1.amazonaws.com", "arn:aws:ecr:eu-west-1"),
            ("dkr-ecr.eu-west-1.on.aws", "arn:aws:ecr:eu-west-1"),
            (
                "dkr.ecr.us-gov-west-1.amazonaws.com",
                "arn:aws-us-gov:ecr:us-gov-west-1",
            ),
            ("dkr-ecr-fips.us-gov-west-1.on.aws", "arn:aws-us-gov:ecr:us-gov-west-1"),
            ("dkr.ecr.cn-north-1.amazonaws.com.cn", "arn:aws-cn:ecr:cn-north-1"),
            (
                "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
                "arn:aws-cn:ecr:cn-north-1",
            ),
            ("dkr.ecr.eusc-de-east-1.amazonaws.eu", "arn:aws-eusc:ecr:eusc-de-east-1"),
        ] {
            let below = |name: &str| format!("{prefix}:123456789012:repository/{name}");
            let repository = parsed(&format!("123456789012.{host}/team/app"));
            assert_eq!(repository.arns(), [below("team/app"), below("team/app/*")]);
            let registry = parsed(&format!("https://123456789012.{host}"));
            assert_eq!(registry.arns(), [below("*")]);
        }
    }

    #[test]
    fn a_path_covers_what_lies_below_it_and_a_host_everything() {
        let of = |path: &str| parsed(&format!("123456789012.dkr.ecr.eu-west-1.amazonaws.com{path}"));
        assert!(
            of("").covers(&of("/team")) && of("/team").covers(&of("/team/app")) && of("/team").covers(&of("/v2/team"))
        );
        assert!(
            !of("/team").covers(&of("")) && !of("/team").covers(&of("/team2")) && !of("/team/app").covers(&of("/team"))
        );
        let dual_stack = parsed("123456789012.dkr-ecr.eu-west-1.on.aws");
        assert!(dual_stack.covers(&of("/team")), "one registry under two names");
        assert!(!parsed("123456789012.dkr.ecr.eu-west-2.amazonaws.com").covers(&of("/team")));
        assert!(!parsed("210987654321.dkr.ecr.eu-west-1.amazonaws.com").covers(&of("/team")));
    }

    #[test]
    fn a_url_without_a_scheme_has_another_key_where_it_is_not_the_name_of_an_image() {
        let host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        for (given, expected) in [
            (format!("{host}/v2/team/app"), Some(format!("{host}/team/app"))),
            (format!("{host}/v2/"), Some(host.to_owned())),
            (format!("{host}/"), Some(host.to_owned())),
            (format!("{host}/team/app"), None),
            (host.to_owned(), None),
            (format!("https://{host}/v2/team/app"), None),
            (format!("https://{host}"), None),
        ] {
            assert_eq!(parsed(&given).image_name(), expected, "{given}");
        }
    }

    #[test]
    fn a_region_is_asked_once_at_the_endpoint_that_its_hosts_ask_for() {
        let urls = [
            "123456789012.dkr.ecr.us-east-1.amazonaws.com/a",
            "210987654321.dkr.ecr-fips.us-east-1.amazonaws.com/b",
            "123456789012.dkr-ecr.eu-west-1.on.aws",
        ];
        let urls: Vec<_> = urls.iter().map(|url| parsed(url)).collect();
        let endpoint = |region: &str, fips, dual_stack| EcrEndpoint {
            region: region.into(),
            fips,
            dual_stack,
        };
        assert_eq!(
            endpoints(&urls),
            [endpoint("eu-west-1", false, true), endpoint("us-east-1", true, false)]
        );
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
            let host = format!("{account}.dkr.ecr.{region}.amazonaws.com");
            let url = format!(
                "{}{host}{}/{name}",
                if scheme { "https://" } else { "" },
                if version { "/v2" } else { "" },
            );
            let found = parsed(&url);
            prop_assert_eq!((found.account, found.region, found.host), (account, region, host));
            prop_assert_eq!((found.repository, found.url), (Some(name), url));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = text.parse::<EcrRepositoryUrl>();
        }
    }
}
