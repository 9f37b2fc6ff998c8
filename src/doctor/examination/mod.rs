//! The looking and the asking. Nothing is written: the API server is asked for objects and for reviews of rights, AWS for who calls, for one
//! session of the role and for a registry login, which are dropped at once.

mod aws;
mod cluster;

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use self::aws::AtAws;
use self::cluster::InCluster;
use super::report::{Check, Report};
use super::resource::{self, NotAsked};
use super::surroundings;
use super::target::Target;
use crate::api::AWSAssumeRoleSpec;
use crate::cluster::inquiry::{self, ServiceAccountName};
use crate::operator::boundary::Tenancy;
use crate::operator::renderer::Renderer;
use crate::refresh::plan::Situation;
use crate::refresh::policy::Ruling;
use crate::spec::{Format, Resource, ResourceKey, Spec, template};

/// The name of the resource that a role alone is asked for as.
const ROLE_RESOURCE: &str = "doctor";

/// How the operator is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether they were read from an operator that runs here.
    pub of_running_operator: bool,
    /// How tenants are kept apart.
    pub tenancy: Tenancy,
    /// The namespaces that are watched. None: all.
    pub watch_namespaces: Vec<String>,
    /// Whether the operator keeps its definition up to date.
    pub upgrades_definition: bool,
    /// The namespace, where it is known, and the name of the Lease, if there is one.
    pub lease: Option<(Option<String>, String)>,
    /// Whether instance metadata may give credentials.
    pub instance_metadata: bool,
}

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Question {
    /// How the operator is set up.
    pub settings: Settings,
    /// The operator's ServiceAccount, where it is given.
    pub service_account: Option<ServiceAccountName>,
    /// The resource or the role, if it is about one.
    pub target: Option<Target>,
}

/// Looks at everything.
pub async fn examine(question: &Question) -> Report {
    let mut checks = Vec::new();
    let cluster = InCluster::connect(question, &mut checks).await;
    let subject = cluster.as_ref().map(|cluster| &cluster.subject);
    checks.push(surroundings::settings(&question.settings, subject));
    if let Some(cluster) = &cluster {
        cluster.look_around(question, &mut checks).await;
    }
    let aws = AtAws::call(question, subject, &mut checks).await;
    if let Some(target) = &question.target {
        look_at(target, question, cluster.as_ref(), aws.as_ref(), &mut checks).await;
    }
    Report { checks }
}

async fn look_at(
    target: &Target,
    question: &Question,
    cluster: Option<&InCluster>,
    aws: Option<&AtAws>,
    checks: &mut Vec<Check>,
) {
    match target {
        Target::Resource { namespace, name } => {
            let Some(cluster) = cluster else {
                return;
            };
            let namespace = namespace.as_deref().unwrap_or(cluster.client.default_namespace());
            match inquiry::resource(&cluster.client, namespace, name).await {
                Ok(Some(found)) => look_at_resource(&found, question, cluster, aws, checks).await,
                Ok(None) => checks.push(resource::not_found(namespace, name, None)),
                Err(error) => checks.push(resource::not_found(namespace, name, Some(&error))),
            }
        }
        Target::Role { arn, namespace } => {
            let spec = match role_spec(arn, namespace.as_deref()) {
                Ok(spec) => spec,
                Err(check) => return checks.push(check),
            };
            look_at_spec(&spec, namespace.as_deref(), question, cluster, aws, checks).await;
        }
    }
}

async fn look_at_resource(
    found: &Resource,
    question: &Question,
    cluster: &InCluster,
    aws: Option<&AtAws>,
    checks: &mut Vec<Check>,
) {
    checks.push(resource::found(found, &question.settings.watch_namespaces));
    let templates = match &found.spec {
        Ok(spec) => check_templates(spec, &found.key).await,
        Err(_) => None,
    };
    checks.push(resource::spec(
        found,
        templates.as_ref().map(|error| error as &dyn fmt::Display),
    ));
    if let Ok(spec) = &found.spec {
        look_at_spec(spec, Some(&found.key.namespace), question, Some(cluster), aws, checks).await;
        let region = aws.map(|at| at.aws.region()).filter(|region| region.is_known());
        let situation = Situation {
            resource: &found.key,
            generation: found.generation,
            spec,
            refresh_request: found.refresh_request.as_deref(),
            status: &found.status.as_deref().cloned().unwrap_or_default(),
            region: region.as_ref().map(|region| &*region.name),
            overdue: None,
            now: aws.map_or_else(Timestamp::now, |at| at.now),
        };
        checks.push(cluster.secret(situation).await);
    }
    checks.push(resource::status(found));
}

/// What the policies and AWS say to a spec in a namespace. Without one only AWS is asked.
async fn look_at_spec(
    spec: &Spec,
    namespace: Option<&str>,
    question: &Question,
    cluster: Option<&InCluster>,
    aws: Option<&AtAws>,
    checks: &mut Vec<Check>,
) {
    let tenancy = &question.settings.tenancy;
    let mut permitted = true;
    if let (Some(namespace), Some(cluster)) = (namespace, cluster) {
        let (check, may) = policy(spec, namespace, tenancy, cluster, aws).await;
        checks.push(check);
        permitted = may;
    } else {
        let check = resource::policies_unknown("it depends on the namespace");
        checks.push(check.with_advice("Name the namespace that the resource is to be in with --namespace."));
    }
    let Some(aws) = aws else {
        return checks.push(resource::not_asked(&NotAsked::NoIdentity));
    };
    match &spec.service_account_name {
        _ if !permitted => checks.push(resource::not_asked(&NotAsked::NotPermitted)),
        Some(account) => checks.push(resource::not_asked(&NotAsked::ServiceAccount(account.to_string()))),
        None => checks.extend(aws.session(spec, tenancy, namespace.unwrap_or_default()).await),
    }
}

/// What the policies say, and whether AWS may be asked then.
async fn policy(
    spec: &Spec,
    namespace: &str,
    tenancy: &Tenancy,
    cluster: &InCluster,
    aws: Option<&AtAws>,
) -> (Check, bool) {
    let boundary = match cluster.boundary(tenancy, namespace).await {
        Ok(boundary) => boundary,
        Err(why) => {
            return (
                resource::policies_unknown(&format!("they cannot be listed: {why}")),
                false,
            );
        }
    };
    let identity = aws.and_then(|at| at.identity.as_ref());
    let Some(ruling) = boundary.rule_by(namespace, spec, identity) else {
        return (
            resource::policies_unknown("it depends on the account of the one who asks, which is not known"),
            false,
        );
    };
    let role = match (identity, spec.role.known_arn()) {
        (Some(identity), _) => identity.arn_of(&spec.role),
        (None, known) => known.unwrap_or("the role").to_owned(),
    };
    let may = matches!(ruling, Ruling::Permitted | Ruling::Unlisted);
    (resource::policy(&role, namespace, boundary.is_open(), &ruling), may)
}

/// The error of the templates, if they have one.
async fn check_templates(spec: &Spec, key: &ResourceKey) -> Option<template::TemplateError> {
    let Format::Template(template) = spec.format.clone() else {
        return None;
    };
    // It needs a thread with a large stack.
    let renderer = Renderer::start().await.ok()?;
    let checked = renderer.run(&key.namespace, move || template::check(&template)).await;
    if let Some(actor) = renderer.cell() {
        actor.stop(None);
    }
    checked.unwrap_or(Err(template::TemplateError::Unfinished)).err()
}

/// The spec of a resource that asks for a role and nothing else.
fn role_spec(arn: &str, namespace: Option<&str>) -> Result<Spec, Check> {
    let key = ResourceKey {
        namespace: namespace.unwrap_or("default").into(),
        name: ROLE_RESOURCE.into(),
        uid: "".into(),
    };
    let wrong = |error: &dyn fmt::Display| Check::failed("spec", error.to_string(), "Correct the ARN.");
    let fields = json!({"roleArn": arn, "secretName": ROLE_RESOURCE, "secretType": "Map"});
    let spec: AWSAssumeRoleSpec = serde_json::from_value(fields).map_err(|error| wrong(&error))?;
    Spec::from_api(&key, &spec).map_err(|error| wrong(&error))
}
