//! Which hosts are asked, by AWS's variables and by the form of a registry's host.

use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_types::sdk_config::Builder;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use super::super::SdkAws;
use crate::aws::{AssumeRole, Aws};
use crate::credentials::Credentials;
use crate::spec::SessionRequest;
use crate::spec::ecr::{EcrRepositoryUrl, endpoints};

/// A network in which every host answers that it has nothing to say, and is remembered.
#[derive(Clone, Debug, Default)]
struct Hosts(Arc<Mutex<Vec<String>>>);

impl HttpConnector for Hosts {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri: http::Uri = request.uri().parse().unwrap();
        self.0.lock().unwrap().push(uri.host().unwrap().to_owned());
        let answer = HttpResponse::new(500.try_into().unwrap(), SdkBody::empty());
        HttpConnectorFuture::ready(Ok(answer))
    }
}

impl HttpClient for Hosts {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// The host that STS is asked at, and the one that ECR is asked at for the registry of a URL.
async fn asked(change: impl Fn(Builder) -> Builder, url: &str) -> [String; 2] {
    let hosts = Hosts::default();
    let key = aws_credential_types::Credentials::for_tests();
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-2"))
        .http_client(SharedHttpClient::new(hosts.clone()))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(key));
    let aws = SdkAws::new(&change(config).build());
    let request = AssumeRole {
        role_arn: "arn:aws:iam::123456789012:role/r".into(),
        region: None,
        session: SessionRequest::default(),
        duration: std::time::Duration::from_secs(900),
    };
    let session = Credentials {
        access_key_id: "ASIA1".into(),
        secret_access_key: "secret".into(),
        session_token: "token".into(),
    };
    aws.assume_role(&request).await.unwrap_err();
    let url: EcrRepositoryUrl = url.parse().unwrap();
    for endpoint in endpoints([&url]) {
        aws.registry_login(&endpoint, &session).await.unwrap_err();
    }
    let hosts = hosts.0.lock().unwrap().clone();
    hosts.try_into().unwrap()
}

const PLAIN: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
const FIPS: &str = "123456789012.dkr.ecr-fips.us-east-1.amazonaws.com";
const DUAL_STACK: &str = "123456789012.dkr-ecr.us-east-1.on.aws";
const BOTH: &str = "123456789012.dkr-ecr-fips.us-east-1.on.aws";

#[tokio::test]
async fn ecr_is_asked_at_an_endpoint_of_the_kind_that_the_host_is() {
    for (url, ecr) in [
        (PLAIN, "api.ecr.us-east-1.amazonaws.com"),
        (FIPS, "api.ecr-fips.us-east-1.amazonaws.com"),
        (DUAL_STACK, "ecr.us-east-1.api.aws"),
        (BOTH, "ecr-fips.us-east-1.api.aws"),
    ] {
        let hosts = asked(|config| config, url).await;
        assert_eq!(hosts, ["sts.us-east-2.amazonaws.com", ecr], "{url}");
    }
}

/// The SDK reads them from `AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT`.
#[tokio::test]
async fn what_aws_variables_ask_for_counts_for_every_call() {
    let fips = asked(|config| config.use_fips(true), PLAIN).await;
    assert_eq!(
        fips,
        [
            "sts-fips.us-east-2.amazonaws.com",
            "api.ecr-fips.us-east-1.amazonaws.com"
        ]
    );
    let dual_stack = asked(|config| config.use_dual_stack(true), PLAIN).await;
    assert_eq!(dual_stack, ["sts.us-east-2.api.aws", "ecr.us-east-1.api.aws"]);
    let both = asked(|config| config.use_dual_stack(true), FIPS).await;
    assert_eq!(both, ["sts.us-east-2.api.aws", "ecr-fips.us-east-1.api.aws"]);
}

/// The SDK refuses to look for an endpoint of a kind where one is named.
#[tokio::test]
async fn an_endpoint_that_is_named_is_asked_whatever_the_host_is() {
    for url in [PLAIN, FIPS, DUAL_STACK, BOTH] {
        let hosts = asked(|config| config.endpoint_url("http://aws.example"), url).await;
        assert_eq!(hosts, ["aws.example", "aws.example"], "{url}");
    }
}

/// An environment in which only `AWS_ENDPOINT_URL_ECR` is set.
#[derive(Debug)]
struct EcrNamed;

impl LoadServiceConfig for EcrNamed {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let named = key.service_id() == "ECR" && key.env() == "AWS_ENDPOINT_URL";
        named.then(|| "http://ecr.example".to_owned())
    }
}

#[tokio::test]
async fn an_endpoint_can_be_named_for_ecr_alone() {
    for url in [PLAIN, BOTH] {
        let hosts = asked(|config| config.service_config(EcrNamed), url).await;
        assert_eq!(hosts, ["sts.us-east-2.amazonaws.com", "ecr.example"], "{url}");
    }
}
