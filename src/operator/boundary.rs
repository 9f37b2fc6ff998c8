//! The boundary between tenants, as the supervisor knows it and every actor asks it: the policies, the labels of the namespaces, and what
//! holds where no policy says anything.
//!
//! The supervisor owns what is known and publishes it whole. Whoever is about to ask AWS looks at the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::aws::{Aws, AwsError, Identity};
use crate::refresh::policy::{Demand, Policies, Ruling, UnlistedNamespaces, rule};
use crate::refresh::withdrawal::WhenWithdrawn;
use crate::spec::{SessionRequest, Spec};

/// How tenants are kept apart, as the operator was told when it started.
#[derive(Clone, Debug, Default)]
pub struct Tenancy {
    /// What a namespace may have that no policy names.
    pub unlisted_namespaces: UnlistedNamespaces,
    /// What becomes of the Secret of a role that is not permitted any more.
    pub when_withdrawn: WhenWithdrawn,
    /// The cluster's name in external ids. Without it there are none but those of the specs.
    pub cluster_name: Option<String>,
}

impl Tenancy {
    /// The external id of a namespace's sessions where the spec gives none.
    /// A namespace has no colon, and neither has the cluster's name, so no two are the same.
    #[must_use]
    pub fn external_id(&self, namespace: &str) -> Option<String> {
        let cluster = self.cluster_name.as_ref()?;
        Some(format!("k8s:{cluster}:{namespace}"))
    }

    /// The session as it is asked for: with the external id of the namespace, where there is one and the spec gives none.
    #[must_use]
    pub fn session_request(&self, namespace: &str, spec: &Spec) -> SessionRequest {
        let mut session = spec.session.clone();
        if session.external_id.is_none() {
            session.external_id = self.external_id(namespace);
        }
        session
    }
}

/// The labels of the namespaces, by name.
pub type Labels = BTreeMap<Arc<str>, Arc<BTreeMap<String, String>>>;

/// What is known of the policies and the namespaces.
#[derive(Clone, Debug)]
pub struct Known {
    /// The policies.
    pub policies: Policies,
    /// The labels of the namespaces of which they are known.
    pub labels: Labels,
    /// Why no role may be assumed now, if that is so.
    pub held: Option<String>,
}

impl Known {
    /// Nothing yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            policies: Policies::default(),
            labels: Labels::new(),
            held: Some("the AWSAssumeRolePolicies are not listed yet".to_owned()),
        }
    }
}

/// The boundary. Each copy shows the same.
#[derive(Clone)]
pub struct Boundary {
    /// How tenants are kept apart.
    pub tenancy: Arc<Tenancy>,
    known: Arc<watch::Sender<Arc<Known>>>,
}

impl Default for Boundary {
    fn default() -> Self {
        Self::new(Tenancy::default())
    }
}

impl Boundary {
    /// One of which nothing is known yet but how the operator was told to keep it.
    #[must_use]
    pub fn new(tenancy: Tenancy) -> Self {
        Self {
            tenancy: Arc::new(tenancy),
            known: Arc::new(watch::channel(Arc::new(Known::nothing())).0),
        }
    }

    /// From now on this is known.
    pub fn publish(&self, known: Known) {
        self.known.send_replace(Arc::new(known));
    }

    fn known(&self) -> Arc<Known> {
        self.known.borrow().clone()
    }

    /// Whether nothing is said of anybody: there is no policy, and that is known, and nobody needs one.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let known = self.known.borrow();
        known.held.is_none()
            && known.policies.is_empty()
            && self.tenancy.unlisted_namespaces == UnlistedNamespaces::Allow
    }

    /// Whether a namespace may have what a spec asks for: the session of a role, to an operator of that identity.
    #[must_use]
    pub fn rule(&self, namespace: &str, spec: &Spec, role_arn: &str, operator: Option<&Identity>) -> Ruling {
        let known = self.known();
        if let Some(why) = &known.held {
            return Ruling::Held(why.clone());
        }
        let demand = Demand {
            namespace,
            labels: known.labels.get(namespace).map(|labels| &**labels),
            role_arn,
            spec,
            operator,
        };
        rule(&known.policies, self.tenancy.unlisted_namespaces, &demand)
    }

    /// The same by what is known without asking: `None` where it depends on whose account it is and that is not known.
    #[must_use]
    pub fn rule_by(&self, namespace: &str, spec: &Spec, operator: Option<&Identity>) -> Option<Ruling> {
        if self.is_open() {
            return Some(Ruling::Permitted);
        }
        let role_arn = match operator {
            Some(operator) => operator.arn_of(&spec.role),
            None => spec.role.known_arn()?.to_owned(),
        };
        Some(self.rule(namespace, spec, &role_arn, operator))
    }

    /// The same, with the operator's identity asked for where it matters. An operator without one has no role of its own to keep for itself.
    ///
    /// # Errors
    /// Why the identity is not known, where the ruling depends on it.
    pub async fn ask(&self, aws: &dyn Aws, namespace: &str, spec: &Spec) -> Result<Ruling, AwsError> {
        if self.is_open() {
            return Ok(Ruling::Permitted);
        }
        let operator = match aws.identity().await {
            Ok(operator) => Some(operator),
            Err(AwsError::NoIdentity(_)) if spec.role.known_arn().is_some() => None,
            Err(error) => return Err(error),
        };
        // It was `None` only where the ARN is known.
        let ruling = self.rule_by(namespace, spec, operator.as_ref());
        Ok(ruling.unwrap_or_else(|| Ruling::Held("the operator's own account is not known".to_owned())))
    }
}
