//! The URL of an ECR repository, or of a registry.

use aws_assume_role::spec::ecr::EcrRepositoryUrl;

use super::choices::Choices;
use super::{Input, is_told, json};

/// Whether a URL is refused with what to write instead, or means the same in whatever form it is written.
pub fn holds(data: &[u8]) {
    let url = match Input::of(data) {
        Input::Text(text) => text,
        Input::Choices(mut choices) => made(&mut choices),
    };
    let repository: EcrRepositoryUrl = match url.parse() {
        Ok(repository) => repository,
        Err(refusal) => {
            let told = refusal.to_string();
            is_told(&told);
            assert!(told.contains("https://<account>.dkr.ecr."), "{told}");
            return;
        }
    };
    assert_eq!(repository.url, url, "it is the key of the docker config");
    let rest = url.strip_prefix("https://").unwrap_or(&url);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    assert_eq!(host, repository.host);
    assert!(
        host.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b)),
        "{host}"
    );
    assert!(
        host.starts_with(&format!("{}.", repository.account)) && host.contains(&repository.region),
        "{host}"
    );
    assert!(repository.account.len() == 12 && repository.account.bytes().all(|b| b.is_ascii_digit()));
    assert!(!repository.region.starts_with('-') && !repository.region.ends_with('-') && !repository.region.is_empty());
    let name = repository.repository.clone().unwrap_or_default();
    assert!(
        path == name || path.strip_prefix("v2/") == Some(name.as_str()),
        "{path}"
    );
    assert!(
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._/".contains(&b)),
        "{name}"
    );
    assert!(
        !name.contains("//") && !name.starts_with('/') && !name.ends_with('/'),
        "{name}"
    );

    let arns = repository.arns();
    for arn in &arns {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let ["arn", partition, "ecr", region, account, resource] = parts[..] else {
            panic!("{arn}");
        };
        assert!(partition.starts_with("aws"), "{arn}");
        assert_eq!(
            (region, account),
            (repository.region.as_str(), repository.account.as_str())
        );
        let meant = resource.strip_prefix("repository/").unwrap();
        match name.as_str() {
            "" => assert_eq!(meant, "*"),
            name => assert!(meant == name || meant.strip_suffix("/*") == Some(name), "{arn}"),
        }
    }

    // Whatever form the URL has, it means the same.
    for other in [
        format!("https://{host}/v2/{name}"),
        format!("{host}/v2/{name}"),
        repository.url.clone(),
    ] {
        let again: EcrRepositoryUrl = other.parse().unwrap();
        assert_eq!(again.arns(), arns, "{other}");
    }
}

/// A URL, or what is nearly one.
pub fn made(choices: &mut Choices<'_>) -> String {
    let account = choices.of(&[
        "123456789012",
        "000000000000",
        "12345678901",
        "1234567890123",
        "１２３４５６７８９０１２",
    ]);
    let service = choices.of(&[
        "dkr.ecr",
        "dkr-ecr",
        "dkr.ecr-fips",
        "dkr-ecr-fips",
        "api.ecr",
        "dkr.ecr.",
    ]);
    let region = choices.of(&[
        "eu-west-1",
        "us-gov-west-1",
        "cn-north-1",
        "us-iso-east-1",
        "-",
        "",
        "a",
        "EU-WEST-1",
    ]);
    let domain = choices.of(&[
        "amazonaws.com",
        "amazonaws.com.cn",
        "on.aws",
        "amazonaws.eu",
        "c2s.ic.gov",
        "example.com",
        "",
    ]);
    let scheme = choices.of(&["https://", "", "http://", "https://https://", "HTTPS://"]);
    let version = choices.of(&["/v2/", "/", "", "/v2", "/v2/v2/", "//", "/v1/"]);
    let name = choices.of(&[
        "team/app",
        "a",
        "v2",
        "v2/v2",
        "a_b.c-d/e",
        "A",
        "a//b",
        "",
        "-a",
        "a:latest",
        "a@sha256:0",
        "a/../b",
    ]);
    let mut url = format!("{scheme}{account}.{service}.{region}.{domain}{version}{name}");
    if choices.one_in(4) {
        let place = choices.place_in(&url);
        url.insert_str(place, &json::text(choices));
    }
    url
}
