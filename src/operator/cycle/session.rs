//! The call for a session: by the operator itself, or as a ServiceAccount.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Cycle;
use super::ask::verdict;
use crate::aws::gate::Pass;
use crate::aws::{AssumeRole, AssumeRoleWithWebIdentity};
use crate::cluster::ClusterError;
use crate::credentials::{ServiceAccountToken, Session};
use crate::refresh::advice::WebIdentity;
use crate::refresh::outcome::Failure;
use crate::spec::Spec;

/// How long the API server may take for a token. It signs one in a few milliseconds; meanwhile a pass is held, for which others wait.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(5);

impl Cycle {
    /// Asks for the session, as whom the spec says, and gives the moment when it was asked for.
    pub(super) async fn session(
        &mut self,
        spec: &Spec,
        request: &AssumeRole,
        pass: Pass,
    ) -> Result<(Instant, Session), Failure> {
        let aws = self.context.aws.clone();
        // It is fetched after the wait at the gate, since it is not good for long.
        let token = match spec.service_account_name.as_deref() {
            Some(name) => Some((name, Box::pin(self.token(name)).await?)),
            None => None,
        };
        // The last moment: a policy may have changed while this waited.
        self.check_permission(spec).await?;
        let asked = Instant::now();
        self.memory.last_call = Some(asked);
        let answer = match &token {
            Some((_, token)) => {
                let request = AssumeRoleWithWebIdentity::from(request);
                aws.assume_role_with_web_identity(&request, token).await
            }
            None => aws.assume_role(request).await,
        };
        pass.tell(verdict(answer.as_ref().err()));
        self.measure_skew(match &answer {
            Ok(session) => session.answered,
            Err(error) => error.answer().date,
        });
        let error = match answer {
            Ok(session) => return Ok((asked, session)),
            Err(error) => error,
        };
        let issuer = token.as_ref().and_then(|(_, token)| token.issuer());
        let web_identity = token.map(|(name, _)| WebIdentity {
            namespace: &self.resource.key.namespace,
            service_account: name,
            issuer: issuer.as_deref(),
        });
        Err(self.advised(error, spec, request, web_identity).await)
    }

    /// A token of a ServiceAccount in the namespace of the resource.
    async fn token(&self, service_account: &str) -> Result<ServiceAccountToken, Failure> {
        let namespace = &self.resource.key.namespace;
        let asked = self.context.cluster.service_account_token(namespace, service_account);
        let answer = timeout(TOKEN_TIMEOUT, asked).await;
        let error = match answer {
            Ok(Ok(token)) => return Ok(token),
            Ok(Err(error)) => error,
            Err(_) => ClusterError::Unavailable(format!("no token within {} s", TOKEN_TIMEOUT.as_secs())),
        };
        let service_account = service_account.to_owned();
        Err(match error {
            ClusterError::Gone(_) => Failure::NoServiceAccount {
                namespace: namespace.to_string(),
                service_account,
            },
            ClusterError::Forbidden(message) | ClusterError::Refused(message) => Failure::NoToken {
                service_account,
                message,
            },
            ClusterError::Terminating(_) => Failure::NamespaceTerminating,
            other => other.into(),
        })
    }
}
