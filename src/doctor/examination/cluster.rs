//! What is asked of the API server: who this is to it, its definitions, rights, the Lease, policies, labels and Secrets.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::time::timeout;

use super::{Question, Settings, Source};
use crate::api;
use crate::cluster::connection::connect;
use crate::cluster::crd::{self, published::published};
use crate::cluster::inquiry::{self, Deployed, Right, ServiceAccountName};
use crate::cluster::kube::KubeCluster;
use crate::cluster::lease::Leases;
use crate::cluster::lease::kube::KubeLease;
use crate::cluster::{Cluster, TenancyEvent};
use crate::doctor::report::Check;
use crate::doctor::resource;
use crate::doctor::rights::{self, Needs, Rule};
use crate::doctor::surroundings::{self, Subject};
use crate::doctor::target::Target;
use crate::fence::Fence;
use crate::operator::boundary::{Boundary, Known, Labels, Tenancy};
use crate::refresh::plan::Situation;
use crate::refresh::policy::Policies;

/// The name of the chart's ServiceAccount, which is the same in every release.
const SERVICE_ACCOUNT: &str = "aws-assume-role-controller";

/// The name of this in events, of which it publishes none.
const INSTANCE: &str = "doctor";

/// How long a list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// How many rules are asked about at the same time.
const REVIEWS: usize = 8;

/// The cluster, and who this is to it.
pub(super) struct InCluster {
    pub(super) client: Client,
    pub(super) subject: Subject,
}

impl InCluster {
    pub(super) async fn connect(question: &Question, checks: &mut Vec<Check>) -> Option<Self> {
        let client = match connect().await {
            Ok(client) => client,
            Err(error) => {
                checks.push(surroundings::no_cluster(&error));
                return None;
            }
        };
        let user = match inquiry::user(&client).await {
            Ok(user) => user,
            Err(error) => {
                checks.push(surroundings::no_cluster(&error));
                return None;
            }
        };
        let own = user.as_deref().and_then(ServiceAccountName::of_user);
        // Other ServiceAccounts have kubeconfigs too.
        let is_its_pod = question.settings.source == Source::RunningOperator;
        let subject = match (own, &question.service_account) {
            (Some(own), None) if is_its_pod || own.name == SERVICE_ACCOUNT => Subject::Operator(own),
            (Some(own), Some(given)) if own == *given => Subject::Operator(own),
            (_, Some(given)) => Subject::Somebody {
                user,
                operator: Some(given.clone()),
            },
            (_, None) => Subject::Somebody {
                user,
                operator: the_only_operator(&client).await,
            },
        };
        checks.push(surroundings::cluster(&subject));
        Some(Self { client, subject })
    }

    /// What the operator's Deployment starts it with, where this is somebody else's command and may look.
    pub(super) async fn deployed(&self) -> Option<Deployed> {
        match &self.subject {
            Subject::Somebody {
                operator: Some(account),
                ..
            } => inquiry::deployed(&self.client, account).await.ok().flatten(),
            _ => None,
        }
    }

    pub(super) async fn look_around(&self, question: &Question, checks: &mut Vec<Check>) {
        let release = self.release().await;
        let roles = published(&self.client, api::definition()).await;
        checks.push(surroundings::definition("AWSAssumeRole", roles, release.as_ref()));
        let policies = published(&self.client, api::policy_definition()).await;
        checks.push(surroundings::definition(surroundings::POLICIES, policies, None));
        let lease = self.lease(&question.settings);
        let tokens_in = self.tokens_in(question.target.as_ref()).await;
        let needs = Needs {
            watch_namespaces: &question.settings.watch_namespaces,
            upgrades_definition: question.settings.upgrades_definition,
            lease: lease
                .as_ref()
                .map(|(namespace, name)| (namespace.as_str(), name.as_str())),
            tokens_in: tokens_in.as_deref(),
        };
        let rules = rights::rules(&needs);
        let source = &question.settings.source;
        let answers = stream::iter(&rules)
            .map(|rule| self.review(rule, source))
            .buffered(REVIEWS);
        checks.extend(answers.collect::<Vec<_>>().await);
        if let Some((namespace, name)) = &lease {
            let found = KubeLease::new(self.client.clone(), Some(namespace), name).get().await;
            let record = found.map(|lease| lease.map(|lease| lease.record));
            let leader = surroundings::leader((namespace, name), record, Timestamp::now());
            checks.push(self.subject.judged(leader, source));
        }
    }

    /// The release that the definition is of, where the client may look: not everybody may, and nothing is to be refused in vain.
    async fn release(&self) -> Option<(String, bool)> {
        let right = Right {
            verb: "get".to_owned(),
            group: "apiextensions.k8s.io".to_owned(),
            resource: "customresourcedefinitions".to_owned(),
            name: Some("awsassumeroles.pincette.net".to_owned()),
            ..Right::default()
        };
        match inquiry::may(&self.client, None, &right).await {
            Ok(true) => crd::release(self.client.clone()).await.ok().flatten(),
            _ => None,
        }
    }

    /// The Lease, where its namespace is known.
    fn lease(&self, settings: &Settings) -> Option<(String, String)> {
        let (namespace, name) = settings.lease.as_ref()?;
        let own = self.subject.account().map(|account| &account.namespace);
        let namespace = namespace.as_ref().or(own)?;
        Some((namespace.clone(), name.clone()))
    }

    /// The namespace in which the operator needs tokens for the resource that is asked about.
    async fn tokens_in(&self, target: Option<&Target>) -> Option<String> {
        let Target::Resource { namespace, name } = target? else {
            return None;
        };
        let namespace = namespace.as_deref().unwrap_or(self.client.default_namespace());
        let resource = inquiry::resource(&self.client, namespace, name).await.ok()??;
        let spec = resource.spec.ok()?;
        spec.service_account_name.map(|_| namespace.to_owned())
    }

    async fn review(&self, rule: &Rule, source: &Source) -> Check {
        let (who, whose) = self.subject.holder();
        let rights = rule.rights();
        let answers = rights.iter().map(|right| inquiry::may(&self.client, whose, right));
        let answers = futures::future::join_all(answers).await.into_iter();
        let answers: Vec<_> = answers
            .map(|answer| answer.map_err(|error| error.to_string()))
            .collect();
        self.subject.judged(rule.check(&who, &answers), source)
    }

    /// What is known of who may have what in a namespace, and why the namespace's labels are not if they are not, or else why nothing is.
    pub(super) async fn boundary(
        &self,
        tenancy: &Tenancy,
        namespace: &str,
    ) -> Result<(Boundary, Option<String>), String> {
        let cluster = KubeCluster::new(self.client.clone(), INSTANCE, Fence::open());
        let cluster = cluster.watching(&[namespace.to_owned()]);
        let mut policies = Policies::default();
        for policy in listed(cluster.watch_policies()).await? {
            // Why one cannot be read is kept with it.
            let _ = policies.insert(policy.name, policy.spec);
        }
        let (found, unknown) = match listed(cluster.watch_namespaces().map(|(_, event)| event)).await {
            Ok(found) => (found, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let found = found.into_iter();
        let labels: Labels = found.map(|found| (found.name, Arc::new(found.labels))).collect();
        let boundary = Boundary::new(tenancy.clone());
        boundary.publish(Known {
            policies,
            labels,
            held: None,
        });
        Ok((boundary, unknown))
    }

    pub(super) async fn secret(&self, situation: Situation<'_>) -> Check {
        let cluster = KubeCluster::new(self.client.clone(), INSTANCE, Fence::open());
        let (namespace, name) = (&situation.resource.namespace, &situation.spec.secret_name);
        let observed = cluster.observe_secret(namespace, name).await;
        let observed = observed.as_ref().map(Option::as_ref).map_err(Clone::clone);
        resource::secret(situation, observed)
    }
}

/// The ServiceAccount of the only release of the chart, if the client may look for it.
async fn the_only_operator(client: &Client) -> Option<ServiceAccountName> {
    let mut found = inquiry::service_accounts(client, SERVICE_ACCOUNT).await.ok()?;
    let first = found.pop()?;
    found.is_empty().then_some(first)
}

/// The objects of the list that a watch begins with. A kind that is not installed has none.
async fn listed<T>(events: impl Stream<Item = TenancyEvent<T>>) -> Result<Vec<T>, String> {
    let mut events = Box::pin(events);
    let list = async {
        let mut objects = Vec::new();
        while let Some(event) = events.next().await {
            match event {
                TenancyEvent::Listed(object) => objects.push(object),
                TenancyEvent::ListDone | TenancyEvent::NotInstalled => break,
                TenancyEvent::Failed(why) => return Err(why),
                _ => {}
            }
        }
        Ok(objects)
    };
    let silence = || format!("no answer within {} s", LIST_TIMEOUT.as_secs());
    timeout(LIST_TIMEOUT, list).await.unwrap_or_else(|_| Err(silence()))
}
