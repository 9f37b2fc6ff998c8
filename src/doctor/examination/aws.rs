//! What is asked of AWS: who calls, a session of the role as the operator would ask for it, and a registry login with that.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::Question;
use crate::aws::identity::KnownIdentity;
use crate::aws::sdk::SdkAws;
use crate::aws::{AssumeRole, Aws, Identity};
use crate::doctor::report::Check;
use crate::doctor::session::{self, Asked, NotAsked};
use crate::doctor::surroundings::{self, Subject};
use crate::fence::Fence;
use crate::operator::boundary::Tenancy;
use crate::refresh::advice::CHAINED_SESSION_MAX;
use crate::refresh::schedule::shifted;
use crate::spec::{Format, Spec};

/// AWS, and who this is to it.
pub(super) struct AtAws {
    pub(super) aws: Arc<dyn Aws>,
    pub(super) identity: Option<Identity>,
    /// By AWS's clock.
    pub(super) now: Timestamp,
    is_operator: bool,
}

impl AtAws {
    pub(super) async fn call(question: &Question, subject: Option<&Subject>, checks: &mut Vec<Check>) -> Option<Self> {
        let aws = match SdkAws::from_environment(Fence::open(), question.settings.instance_metadata).await {
            Ok(aws) => aws,
            Err(error) => {
                checks.push(Check::failed("aws-identity", error.to_string(), "Correct the setting."));
                return None;
            }
        };
        let caller = aws.caller().await;
        let now = Timestamp::now();
        checks.extend(surroundings::aws(&caller, subject, now));
        let skew = surroundings::skew(&caller, now).unwrap_or_default();
        Some(Self {
            aws: Arc::new(KnownIdentity::new(Arc::new(aws))),
            identity: caller.identity.ok(),
            now: shifted(now, skew),
            is_operator: subject.is_some_and(Subject::is_operator),
        })
    }

    /// What AWS says to the session of a spec, and to the registry logins with it. Without a namespace it has no external ID but that of the spec.
    pub(super) async fn session(&self, spec: &Spec, tenancy: &Tenancy, namespace: Option<&str>) -> Vec<Check> {
        let Some(operator) = &self.identity else {
            return vec![session::not_asked(&NotAsked::NoIdentity)];
        };
        if spec.duration > CHAINED_SESSION_MAX && operator.is_role_session() {
            let check = session::not_asked(&NotAsked::Chained);
            return vec![match self.is_operator {
                true => check,
                false => check.in_doubt(),
            }];
        }
        let request = request(spec, operator, tenancy, namespace);
        let asked = Asked {
            request: &request,
            operator,
            registry: matches!(spec.format, Format::EcrDockerConfigJson(_)),
            is_operator: self.is_operator,
        };
        let session = match self.aws.assume_role(&request).await {
            Ok(session) => session,
            Err(error) => return asked.session(Err(error), Timestamp::now()),
        };
        let mut checks = asked.session(Ok(&session), Timestamp::now());
        for endpoint in spec.format.registry_endpoints() {
            let login = self.aws.registry_login(&endpoint, &session.credentials).await;
            checks.push(asked.registry(&endpoint, login.err(), Timestamp::now()));
        }
        checks
    }
}

/// The request that the operator makes.
fn request(spec: &Spec, operator: &Identity, tenancy: &Tenancy, namespace: Option<&str>) -> AssumeRole {
    let own = || spec.session.clone();
    AssumeRole {
        role_arn: operator.arn_of(&spec.role),
        region: spec.region.clone(),
        session: namespace.map_or_else(own, |namespace| tenancy.session_request(namespace, spec)),
        duration: spec.duration,
    }
}
