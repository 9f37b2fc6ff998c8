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
use super::resource;
use super::session::{self, NotAsked};
use super::surroundings;
use super::target::Target;
use crate::api::AWSAssumeRoleSpec;
use crate::cluster::inquiry::{self, Deployed, ServiceAccountName};
use crate::operator::boundary::Tenancy;
use crate::operator::renderer::Renderer;
use crate::refresh::plan::Situation;
use crate::refresh::policy::{Denial, Ruling};
use crate::spec::{Format, Resource, ResourceKey, Spec, template};

/// The name of the resource that a role alone is asked for as.
const ROLE_RESOURCE: &str = "doctor";

/// How the operator is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// From where they are known.
    pub source: Source,
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

/// From where it is known how the operator is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From an operator that runs here.
    RunningOperator,
    /// From the operator's Deployment of that name.
    Deployment(String),
    /// From the environment and the flags of this command.
    Command,
}

/// How an operator is set up that is started so, if that can be read.
pub type SettingsOf<'a> = &'a (dyn Fn(&Deployed) -> Option<Settings> + Sync);

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
pub async fn examine(question: Question, settings_of: SettingsOf<'_>) -> Report {
    let mut checks = Vec::new();
    let cluster = InCluster::connect(&question, &mut checks).await;
    let question = &match &cluster {
        Some(cluster) if question.settings.source == Source::Command => {
            let told = cluster.deployed().await.and_then(|deployed| settings_of(&deployed));
            let own = question.settings;
            let settings = match told {
                // AWS is asked with this command's own credentials.
                Some(told) => Settings {
                    instance_metadata: own.instance_metadata,
                    ..told
                },
                None => own,
            };
            Question { settings, ..question }
        }
        _ => question,
    };
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
            let served = &question.settings.watch_namespaces;
            if cluster.subject.is_operator() && !resource::is_served(namespace, served) {
                // It may not look there either.
                return checks.push(resource::not_served(namespace));
            }
            match inquiry::resource(&cluster.client, namespace, name).await {
                Ok(Some(found)) => look_at_resource(&found, question, cluster, aws, checks).await,
                Ok(None) => checks.push(resource::not_found(namespace, name, None)),
                Err(error) => checks.push(resource::not_found(namespace, name, Some(&error))),
            }
        }
        Target::Role { arn, namespace } => {
            if let Some(namespace) = namespace
                && !resource::is_served(namespace, &question.settings.watch_namespaces)
            {
                let check = resource::not_served(namespace);
                checks.push(match cluster {
                    Some(cluster) => cluster.subject.judged(check, &question.settings.source),
                    None => check.in_doubt(),
                });
            }
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
    let settings = &question.settings;
    let is_served = resource::is_served(&found.key.namespace, &settings.watch_namespaces);
    let there = resource::found(found, &settings.watch_namespaces);
    checks.push(match is_served {
        true => there,
        false => cluster.subject.judged(there, &settings.source),
    });
    let templates = match &found.spec {
        Ok(spec) => check_templates(spec, &found.key).await,
        Err(_) => None,
    };
    checks.push(resource::spec(
        found,
        templates.as_ref().map(|error| error as &dyn fmt::Display),
    ));
    if let Ok(spec) = &found.spec {
        let known = found.status.as_deref().and_then(|status| status.role_arn.as_deref());
        let asked = resource::with_known_role(spec, known);
        look_at_spec(&asked, Some(&found.key.namespace), question, Some(cluster), aws, checks).await;
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
    // The account of whoever runs this need not be the operator's.
    let is_operator = cluster.is_some_and(|cluster| cluster.subject.is_operator());
    let supposed = !is_operator && spec.role.known_arn().is_none();
    // The name of the session follows from the namespace, and the external ID.
    let without_namespace = namespace.is_none();
    let mut found = Vec::new();
    let mut permitted = true;
    match (namespace, cluster) {
        (Some(namespace), Some(cluster)) => {
            let (check, may) = policy(spec, namespace, &question.settings, cluster, aws).await;
            found.push(check);
            permitted = may;
        }
        (Some(_), None) => found.push(resource::policies_unknown("the cluster was not looked at")),
        (None, _) => found.push(resource::namespace_unknown(tenancy)),
    }
    match (aws, &spec.service_account_name) {
        (None, _) => found.push(session::not_asked(&NotAsked::NoIdentity)),
        _ if !permitted => found.push(session::not_asked(&NotAsked::NotPermitted)),
        (_, Some(account)) => found.push(session::not_asked(&NotAsked::ServiceAccount(account.to_string()))),
        (Some(aws), None) => found.extend(aws.session(spec, tenancy, namespace).await),
    }
    checks.extend(found.into_iter().map(|check| match supposed {
        true => resource::supposed(check),
        false if without_namespace => check.in_doubt(),
        false => check,
    }));
}

/// What the policies say, and whether AWS may be asked then.
async fn policy(
    spec: &Spec,
    namespace: &str,
    settings: &Settings,
    cluster: &InCluster,
    aws: Option<&AtAws>,
) -> (Check, bool) {
    let (boundary, labels_unknown) = match cluster.boundary(&settings.tenancy, namespace).await {
        Ok(known) => known,
        Err(why) => {
            return (
                resource::policies_unknown(&format!("they cannot be listed: {why}")),
                false,
            );
        }
    };
    let identity = aws.and_then(|at| at.identity.as_ref());
    let ruling = match identity {
        // Somebody else's identity tells the account at most. Whether the role is the operator's own, it does not.
        Some(identity) if !cluster.subject.is_operator() && !boundary.is_open() => {
            Some(boundary.rule(namespace, spec, &identity.arn_of(&spec.role), None))
        }
        identity => boundary.rule_by(namespace, spec, identity),
    };
    let Some(ruling) = ruling else {
        return (
            resource::policies_unknown("it depends on the account of the one who asks, which is not known"),
            false,
        );
    };
    if let (Ruling::Held(_), Some(why)) = (&ruling, labels_unknown) {
        let why = format!("the labels of the namespace {namespace} are not known here: {why}");
        return (resource::policies_unknown(&why), false);
    }
    let role = match (identity, spec.role.known_arn()) {
        (Some(identity), _) => identity.arn_of(&spec.role),
        (None, known) => known.unwrap_or("the role").to_owned(),
    };
    let may = matches!(ruling, Ruling::Permitted | Ruling::Unlisted);
    let check = resource::policy(&role, namespace, boundary.is_open(), &ruling);
    // What holds where no policy says anything is a setting.
    let by_setting = boundary.is_open() || matches!(ruling, Ruling::Unlisted | Ruling::Denied(Denial::Unlisted { .. }));
    let in_doubt = by_setting && settings.source == Source::Command && !cluster.subject.is_operator();
    match in_doubt {
        true => (resource::by_unknown_setting(check), may),
        false => (check, may),
    }
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
