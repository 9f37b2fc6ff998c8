//! What is asked of the API server that changes nothing: who somebody is to it, what somebody may do, and one resource as it is now.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use thiserror::Error;

use super::ClusterError;
use super::guarded::WatchedResource;
use crate::spec::Resource;
use crate::spec::names::{is_namespace, is_object_name};

/// The beginning of the user name of a ServiceAccount.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#service-account-tokens>
const SERVICE_ACCOUNT_USER: &str = "system:serviceaccount:";

/// A ServiceAccount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccountName {
    /// The one of that user name, if it is one's.
    #[must_use]
    pub fn of_user(user: &str) -> Option<Self> {
        let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_USER)?.split_once(':')?;
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// What the API server calls it.
    #[must_use]
    pub fn user(&self) -> String {
        format!("{SERVICE_ACCOUNT_USER}{}:{}", self.namespace, self.name)
    }

    /// The groups that it is in.
    fn groups(&self) -> Vec<String> {
        vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{}", self.namespace),
            "system:authenticated".to_owned(),
        ]
    }
}

impl fmt::Display for ServiceAccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ServiceAccountName {
    type Err = NotAServiceAccount;

    fn from_str(text: &str) -> Result<Self, NotAServiceAccount> {
        match text.split_once('/') {
            Some((namespace, name)) if is_namespace(namespace) && is_object_name(name) => Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(NotAServiceAccount),
        }
    }
}

/// A text that names no ServiceAccount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("give a namespace and a name, as in aws-assume-role/aws-assume-role-controller")]
pub struct NotAServiceAccount;

/// Something that somebody may do, or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Right {
    /// `get`, `list`, ...
    pub verb: String,
    /// The API group. Empty for the core one.
    pub group: String,
    /// The plural of the kind.
    pub resource: String,
    /// `status`, `token`, ...
    pub subresource: Option<String>,
    /// The namespace. `None` stands for all, and for what is in none.
    pub namespace: Option<String>,
    /// The name, where only that is meant.
    pub name: Option<String>,
}

impl From<&Right> for ResourceAttributes {
    fn from(right: &Right) -> Self {
        Self {
            verb: Some(right.verb.clone()),
            group: Some(right.group.clone()),
            resource: Some(right.resource.clone()),
            subresource: right.subresource.clone(),
            namespace: right.namespace.clone(),
            name: right.name.clone(),
            ..Self::default()
        }
    }
}

/// Who a client is to the API server. Everybody may ask who he is (`system:basic-user`). Nothing where the API server does not tell.
/// <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#self-subject-review>
///
/// # Errors
/// [`ClusterError`] when it cannot be asked.
pub async fn user(client: &Client) -> Result<Option<String>, ClusterError> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let reviewed = reviews
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await;
    match reviewed {
        Ok(review) => Ok(review.status.and_then(|status| status.user_info?.username)),
        Err(kube::Error::Api(status)) if status.code != 401 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a ServiceAccount has a right, or the client itself. About itself everybody may ask (`system:basic-user`).
/// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access>
///
/// # Errors
/// [`ClusterError::Forbidden`] when the client may not ask about others.
pub async fn may(client: &Client, whose: Option<&ServiceAccountName>, right: &Right) -> Result<bool, ClusterError> {
    let parameters = PostParams::default();
    let attributes = Some(right.into());
    let status = match whose {
        None => {
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: attributes,
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
            reviews.create(&parameters, &review).await?.status
        }
        Some(account) => {
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    resource_attributes: attributes,
                    user: Some(account.user()),
                    groups: Some(account.groups()),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
            reviews.create(&parameters, &review).await?.status
        }
    };
    Ok(status.is_some_and(|status| status.allowed))
}

/// The ServiceAccounts of that name, in whatever namespace.
///
/// # Errors
/// [`ClusterError::Forbidden`] when the client may not list them.
pub async fn service_accounts(client: &Client, name: &str) -> Result<Vec<ServiceAccountName>, ClusterError> {
    let accounts: Api<ServiceAccount> = Api::all(client.clone());
    let named = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = accounts.list_metadata(&named).await?;
    let of = |account: PartialObjectMeta<ServiceAccount>| ServiceAccountName {
        namespace: account.metadata.namespace.unwrap_or_default(),
        name: name.to_owned(),
    };
    Ok(found.items.into_iter().map(of).collect())
}

/// What a Deployment starts its container with. Whoever put an access key into a variable does not find it in the [`Debug`](fmt::Debug) of this.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Deployed {
    /// The name of the Deployment.
    pub name: String,
    /// The arguments of the container.
    pub arguments: Vec<String>,
    /// The variables that it names with their values.
    pub environment: BTreeMap<String, String>,
    /// The variables whose values are elsewhere.
    pub elsewhere: Vec<String>,
}

impl fmt::Debug for Deployed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deployed")
            .field("name", &self.name)
            .field("environment", &self.environment.keys())
            .field("elsewhere", &self.elsewhere)
            .finish_non_exhaustive()
    }
}

impl Deployed {
    /// What a Deployment says of its first container, if its pods run as that ServiceAccount.
    fn of(name: String, deployment: &Value, account: &str) -> Option<Self> {
        let pod = deployment.pointer("/spec/template/spec")?;
        if pod["serviceAccountName"] != account {
            return None;
        }
        let container = &pod["containers"][0];
        let texts = |value: &Value| value.as_str().map(str::to_owned);
        let variables = container["env"].as_array().into_iter().flatten();
        let (elsewhere, here): (Vec<_>, Vec<_>) = variables.partition(|entry| entry["valueFrom"].is_object());
        let variable = |entry: &&Value| Some((texts(&entry["name"])?, texts(&entry["value"])?));
        Some(Self {
            name,
            environment: here.iter().filter_map(variable).collect(),
            elsewhere: elsewhere.iter().filter_map(|entry| texts(&entry["name"])).collect(),
            arguments: container["args"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(texts)
                .collect(),
        })
    }
}

/// The only Deployment whose pods run as a ServiceAccount, if there is one.
///
/// # Errors
/// [`ClusterError::Forbidden`] when the client may not list Deployments there.
pub async fn deployed(client: &Client, account: &ServiceAccountName) -> Result<Option<Deployed>, ClusterError> {
    let kind = ApiResource::erase::<Deployment>(&());
    let deployments: Api<DynamicObject> = Api::namespaced_with(client.clone(), &account.namespace, &kind);
    let listed = deployments.list(&ListParams::default()).await?;
    let mut found = listed
        .items
        .into_iter()
        .filter_map(|deployment| Deployed::of(deployment.name_any(), &deployment.data, &account.name));
    let first = found.next();
    Ok(first.filter(|_| found.next().is_none()))
}

/// The resource of that name, narrowed, or nothing.
///
/// # Errors
/// [`ClusterError`] says what can be done. Where the kind is not known, there is no such resource either.
pub async fn resource(client: &Client, namespace: &str, name: &str) -> Result<Option<Resource>, ClusterError> {
    let resources: Api<WatchedResource> = Api::namespaced(client.clone(), namespace);
    let found = resources.get_opt(name).await?;
    Ok(found.map(WatchedResource::into_resource))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_says_what_its_container_is_started_with() {
        let container = json!({
            "args": ["--log-format=json"],
            "env": [{"name": "CLUSTER_NAME", "value": "prod"}, {"name": "POD_NAME", "valueFrom": {"fieldRef": {}}}],
        });
        let deployment =
            json!({"spec": {"template": {"spec": {"serviceAccountName": "ours", "containers": [container]}}}});
        let deployed = Deployed::of("operator".to_owned(), &deployment, "ours").unwrap();
        assert_eq!(deployed.arguments, ["--log-format=json"]);
        assert_eq!(
            deployed.environment,
            BTreeMap::from([("CLUSTER_NAME".to_owned(), "prod".to_owned())])
        );
        assert_eq!(deployed.elsewhere, ["POD_NAME"]);
        let shown = format!("{deployed:?}");
        assert!(shown.contains("CLUSTER_NAME") && !shown.contains("prod"), "{shown}");
        assert_eq!(Deployed::of("operator".to_owned(), &deployment, "theirs"), None);
    }

    #[test]
    fn a_service_account_has_its_namespace_and_its_name_in_its_user_name() {
        let account = ServiceAccountName::of_user("system:serviceaccount:team:operator").unwrap();
        assert_eq!(
            (account.namespace.as_str(), account.name.as_str()),
            ("team", "operator")
        );
        assert_eq!(account.user(), "system:serviceaccount:team:operator");
        assert_eq!(account.to_string().parse(), Ok(account));
        for other in ["system:serviceaccount:team", "kubernetes-admin"] {
            assert_eq!(ServiceAccountName::of_user(other), None, "{other}");
        }
        for bad in ["", "operator", "team/", "/operator", "Team/operator", "a/b/c"] {
            assert!(bad.parse::<ServiceAccountName>().is_err(), "{bad}");
        }
    }
}
