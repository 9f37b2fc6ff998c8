//! Where the operator's Region is looked for, in the SDK's order, and looked for again until somebody names one.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html>

use std::sync::Arc;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use crate::aws::{Region, RegionSource};

/// The Region of the STS endpoint where neither the environment nor the machine names one. The `aws` partition's default endpoint.
const FALLBACK: &str = "us-east-1";

/// How long instance metadata may take to answer. Where there is none, nobody answers at all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long after one search for a Region the next begins.
const AGAIN: Duration = Duration::from_secs(30);

/// The present Region, for all who ask.
#[derive(Clone)]
pub(super) struct CurrentRegion {
    current: Arc<watch::Sender<Region>>,
    /// Goes on looking, where nobody has named one.
    _search: Option<Arc<AbortOnDropHandle<()>>>,
}

impl CurrentRegion {
    /// One that is given.
    pub(super) fn fixed(name: Option<&str>) -> Self {
        let region = match name {
            Some(name) => Region::new(name, RegionSource::Environment),
            None => Region::new(FALLBACK, RegionSource::Fallback),
        };
        Self {
            current: Arc::new(watch::Sender::new(region)),
            _search: None,
        }
    }

    /// Looks for it, and goes on looking in vain searches' stead.
    pub(super) async fn find(http_client: SharedHttpClient) -> Self {
        if let Some(region) = search(http_client.clone()).await {
            info!(%region, source = %region.source, "the Region for calls to AWS is known");
            return Self {
                current: Arc::new(watch::Sender::new(region)),
                _search: None,
            };
        }
        warn!(
            region = FALLBACK,
            source = %RegionSource::Fallback,
            "no Region is named by AWS_REGION, a profile or instance metadata, which is asked again: set AWS_REGION"
        );
        let current = Arc::new(watch::Sender::new(Region::new(FALLBACK, RegionSource::Fallback)));
        let search = AbortOnDropHandle::new(tokio::spawn(search_on(current.clone(), http_client)));
        Self {
            current,
            _search: Some(Arc::new(search)),
        }
    }

    /// The present one.
    pub(super) fn get(&self) -> Region {
        self.current.borrow().clone()
    }
}

async fn search_on(current: Arc<watch::Sender<Region>>, http_client: SharedHttpClient) {
    loop {
        tokio::time::sleep(AGAIN).await;
        if let Some(region) = search(http_client.clone()).await {
            info!(%region, source = %region.source, "the Region for calls to AWS is known now");
            current.send_replace(region);
            return;
        }
    }
}

/// Asks all sources, each anew.
async fn search(http_client: SharedHttpClient) -> Option<Region> {
    let config = ProviderConfig::without_region().with_http_client(http_client);
    let environment = EnvironmentVariableRegionProvider::new();
    if let Some(region) = named(&environment, RegionSource::Environment).await {
        return Some(region);
    }
    let profile = ProfileFileRegionProvider::builder().configure(&config).build();
    if let Some(region) = named(&profile, RegionSource::Profile).await {
        return Some(region);
    }
    let metadata = ImdsRegionProvider::builder().configure(&config).build();
    let asked = named(&metadata, RegionSource::InstanceMetadata);
    tokio::time::timeout(TIMEOUT, asked).await.ok().flatten()
}

/// What a source names. A variable that is set to nothing names nothing.
async fn named(provider: &impl ProvideRegion, source: RegionSource) -> Option<Region> {
    let region = provider.region().await?;
    let name = region.as_ref().trim();
    (!name.is_empty()).then(|| Region::new(name, source))
}
