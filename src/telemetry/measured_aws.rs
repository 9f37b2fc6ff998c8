//! An [`Aws`] around another: each call in a span of its own, and counted.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tracing::Instrument;

use super::metrics::Metrics;
use super::spans;
use crate::aws::error::Operation;
use crate::aws::{AssumeRole, AssumeRoleWithWebIdentity, Aws, AwsError, Identity, Region};
use crate::credentials::{Credentials, RegistryLogin, ServiceAccountToken, Session};
use crate::spec::ecr::EcrEndpoint;

/// An [`Aws`] whose calls show in traces and metrics.
pub struct MeasuredAws {
    aws: Arc<dyn Aws>,
    metrics: Metrics,
}

impl MeasuredAws {
    /// Measures the calls of `aws`.
    #[must_use]
    pub fn new(aws: Arc<dyn Aws>, metrics: Metrics) -> Self {
        Self { aws, metrics }
    }

    async fn measured<T>(
        &self,
        operation: Operation,
        region: Arc<str>,
        call: BoxFuture<'_, Result<T, AwsError>>,
    ) -> Result<T, AwsError> {
        let span = spans::aws_call(operation, &region);
        let started = Instant::now();
        let result = call.instrument(span.clone()).await;
        let error = result.as_ref().err();
        self.metrics.called_aws(operation, error, started.elapsed());
        if let Some(error) = error {
            let code = error.answer().code.as_deref();
            spans::failed(&span, code.unwrap_or_else(|| error.reason().into()), error);
        }
        result
    }
}

impl Aws for MeasuredAws {
    fn region(&self) -> Region {
        self.aws.region()
    }

    fn credentials_generation(&self) -> u64 {
        self.aws.credentials_generation()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        self.measured(Operation::GetCallerIdentity, self.region().name, self.aws.identity())
            .boxed()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        let region = request.region.as_deref().map_or_else(|| self.region().name, Arc::from);
        self.measured(Operation::AssumeRole, region, self.aws.assume_role(request))
            .boxed()
    }

    fn assume_role_with_web_identity<'a>(
        &'a self,
        request: &'a AssumeRoleWithWebIdentity,
        token: &'a ServiceAccountToken,
    ) -> BoxFuture<'a, Result<Session, AwsError>> {
        let region = request.region.as_deref().map_or_else(|| self.region().name, Arc::from);
        let call = self.aws.assume_role_with_web_identity(request, token);
        self.measured(Operation::AssumeRoleWithWebIdentity, region, call)
            .boxed()
    }

    fn registry_login<'a>(
        &'a self,
        endpoint: &'a EcrEndpoint,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        let call = self.aws.registry_login(endpoint, credentials);
        self.measured(Operation::GetAuthorizationToken, endpoint.region.as_str().into(), call)
            .boxed()
    }
}
