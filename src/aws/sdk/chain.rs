//! Where the operator's own credentials are looked for: the SDK's chain of providers, with instance metadata or without.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>

use aws_config::BehaviorVersion;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::WebIdentityTokenCredentialsProvider;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_types::region::Region;

/// The name of instance metadata in the SDK's chain, and in a profile (`credential_source`).
const INSTANCE_METADATA: &str = "Ec2InstanceMetadata";

/// The SDK's own chain, set up anew.
pub(super) async fn whole(http_client: SharedHttpClient, region: Region) -> Option<SharedCredentialsProvider> {
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .region(region)
        .load()
        .await;
    config.credentials_provider()
}

/// The same chain, in its order, but that instance metadata is asked for no credentials: neither at the end of it, nor because a profile names
/// it as its source. The SDK has a variable for that only, which would also keep the Region from being found there.
pub(super) async fn without_instance_metadata(
    http_client: SharedHttpClient,
    region: Region,
) -> SharedCredentialsProvider {
    // The settings of the environment and the profile for calls to STS, as the SDK's own chain has them.
    let settings = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client.clone())
        .region(region.clone())
        .no_credentials()
        .load()
        .await;
    let mut config = ProviderConfig::without_region()
        .with_http_client(http_client)
        .with_region(Some(region))
        .with_use_fips(settings.use_fips())
        .with_use_dual_stack(settings.use_dual_stack());
    if let Some(retries) = settings.retry_config() {
        config = config.with_retry_config(retries.clone());
    }
    if let Some(timeouts) = settings.timeout_config() {
        config = config.with_timeout_config(timeouts.clone());
    }
    let profile = ProfileFileCredentialsProvider::builder()
        .configure(&config)
        .with_custom_provider(INSTANCE_METADATA, LeftOut);
    let web_identity = WebIdentityTokenCredentialsProvider::builder().configure(&config);
    let container = EcsCredentialsProvider::builder().configure(&config);
    let chain = CredentialsProviderChain::first_try("Environment", EnvironmentVariableCredentialsProvider::new())
        .or_else("Profile", profile.build())
        .or_else("WebIdentityToken", web_identity.build())
        .or_else("EcsContainer", container.build())
        .or_else(INSTANCE_METADATA, LeftOut);
    SharedCredentialsProvider::new(chain)
}

/// Stands where instance metadata would be asked, and says why it is not.
#[derive(Debug)]
struct LeftOut;

impl ProvideCredentials for LeftOut {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded(
            "instance metadata is not asked for credentials (--instance-metadata=false)",
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_smithy_runtime_api::client::http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    };
    use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;

    use super::*;
    use crate::errors::chain_of;

    /// A network where nobody answers, that takes down who was asked.
    #[derive(Clone, Debug, Default)]
    struct Nobody(Arc<Mutex<Vec<String>>>);

    impl HttpConnector for Nobody {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            self.0.lock().unwrap().push(request.uri().to_owned());
            HttpConnectorFuture::ready(Err(ConnectorError::user("nobody".into())))
        }
    }

    impl HttpClient for Nobody {
        fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn instance_metadata_that_is_left_out_is_not_asked_and_that_is_said() {
        let nobody = Nobody::default();
        let client = SharedHttpClient::new(nobody.clone());
        let provider = without_instance_metadata(client, Region::new("eu-west-1")).await;
        let found = provider.provide_credentials().await;
        let asked = nobody.0.lock().unwrap();
        assert!(!asked.iter().any(|uri| uri.contains("/latest/")), "{asked:?}");
        // Whoever runs this may have credentials of their own.
        if let Err(error) = found {
            let said = chain_of(&error);
            assert!(said.contains("--instance-metadata=false"), "{said}");
        }
    }
}
