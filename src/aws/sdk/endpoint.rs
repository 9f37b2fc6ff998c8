//! Whether somebody has named the endpoint of a service.

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

/// Whether `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_<service>` or a profile names the endpoint of a service.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
pub(super) fn is_named(config: &SdkConfig, service: &str) -> bool {
    let key = ServiceConfigKey::builder()
        .service_id(service)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let of_service = key
        .ok()
        .and_then(|key| config.service_config()?.load_config(key))
        .is_some();
    of_service || config.endpoint_url().is_some()
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
