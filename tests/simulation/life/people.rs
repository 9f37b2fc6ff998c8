//! The people of a life: they make resources, change and delete them, and take roles away.

use std::time::Duration;

use aws_assume_role::api::{AWSAssumeRoleSpec, SecretType, TemplateSpec};

use super::Life;
use super::policies::permission_of;
use crate::api_server::ApiServer;
use crate::checks::Checks;
use crate::place::{NAMESPACES, Place};
use support::fixtures::{ACCOUNT, ECR_URL};
use support::strict_aws::issuer::{provider, trusted_by};
use support::strict_aws::{Role, open_role};

/// The account of some of the roles, besides the operator's own.
pub(super) const OTHER_ACCOUNT: &str = "210987654321";

/// What those have in common whose registry is that account's.
pub(super) const SHARED_REGISTRY: &str = "the registry of the other account";

/// A Region that some resources name.
const OTHER_REGION: &str = "eu-central-1";

impl Life {
    pub(super) fn spec(&mut self, name: &str) -> AWSAssumeRoleSpec {
        let duration = match self.random.u32(0..100) {
            0..2 => 900,
            2..10 => 3600,
            10..35 => 14_400,
            _ => 43_200,
        };
        let mut spec = AWSAssumeRoleSpec {
            role_name: None,
            role_arn: None,
            secret_name: format!("s-{name}"),
            secret_type: SecretType::Map,
            ecr_repository_url: None,
            ecr_repository_urls: Vec::new(),
            duration_seconds: Some(self.durations.unwrap_or(duration)),
            refresh_before_seconds: None,
            region: (self.random.u8(0..10) == 0).then(|| OTHER_REGION.to_owned()),
            session: None,
            template: None,
            secret_template: None,
            service_account_name: (self.random.u8(0..8) == 0).then(|| "app".to_owned()),
            suspend: None,
        };
        if self.durations.is_none() && self.random.bool() {
            spec.refresh_before_seconds = Some(self.random.i32(duration / 3..duration / 2));
        }
        self.choose_type(&mut spec);
        spec
    }

    fn choose_type(&mut self, spec: &mut AWSAssumeRoleSpec) {
        spec.ecr_repository_url = None;
        spec.ecr_repository_urls = Vec::new();
        spec.template = None;
        spec.secret_type = match self.random.u32(0..5) {
            0 => SecretType::Map,
            1 => SecretType::File,
            2 => SecretType::CredentialProcess,
            3 => {
                let data = [
                    ("key", "{{ accessKeyId }}/{{ sessionToken }}"),
                    // It is the same after each refresh.
                    ("region", "{{ region }}"),
                ];
                let data = data.map(|(key, text)| (key.to_owned(), text.to_owned()));
                spec.template = Some(TemplateSpec {
                    data: data.into(),
                    ..TemplateSpec::default()
                });
                SecretType::Template
            }
            _ => {
                spec.ecr_repository_url = Some(ECR_URL.to_owned());
                if self.random.bool() {
                    let further = format!("{ACCOUNT}.dkr.ecr.{OTHER_REGION}.amazonaws.com");
                    spec.ecr_repository_urls = vec![further];
                }
                SecretType::EcrDockerConfigJson
            }
        };
    }

    /// A role that exists, for a resource that is known by it.
    pub(super) fn role(&mut self, place: &Place) -> String {
        self.number += 1;
        let account = match place.is_of_other_account() {
            true => OTHER_ACCOUNT,
            false => ACCOUNT,
        };
        let (namespace, name) = (&place.namespace, &place.name);
        let arn = format!("arn:aws:iam::{account}:role/{namespace}-{name}-{}", self.number);
        self.aws.add_role(&arn, open_role_of(account));
        arn
    }

    pub(super) fn create(&mut self, place: &Place) {
        let mut spec = self.spec(&place.name);
        spec.role_arn = Some(self.role(place));
        self.create_with(place, spec);
    }

    pub(super) fn create_with(&mut self, place: &Place, spec: AWSAssumeRoleSpec) {
        let arn = spec.role_arn.clone().unwrap();
        let uid = self.api.create(place, spec);
        if place.is_of_other_account() {
            self.checks.shares(&uid, SHARED_REGISTRY);
        }
        if let Some(permission) = permission_of(place) {
            self.checks.shares(&uid, permission);
        }
        if self.foreign.contains(place) {
            self.checks.is_in_conflict(&uid);
        }
        self.owners.lock().unwrap().insert(arn, uid);
    }

    pub(super) fn create_another(&mut self) {
        self.checks.count("resource: created");
        self.number += 1;
        let place = Place::new(self.some_namespace(), &format!("n{}", self.number));
        self.create(&place);
    }

    fn some_namespace(&mut self) -> &'static str {
        NAMESPACES[self.random.usize(0..NAMESPACES.len())]
    }

    pub(super) fn delete(&mut self, place: &Place) {
        if delete(&self.api, &self.checks, place) {
            self.checks.count("resource: deleted");
        }
    }

    pub(super) fn change(&mut self, place: &Place) {
        let Some(uid) = self.api.uid(place) else { return };
        self.checks.allow_call(&uid);
        match self.random.u32(0..5) {
            0 => {
                self.checks.count("spec: role");
                let arn = self.role(place);
                self.owners.lock().unwrap().insert(arn.clone(), uid);
                self.api.change(place, |spec| spec.role_arn = Some(arn));
            }
            1 => {
                self.checks.count("spec: type");
                let mut chosen = self.spec(&place.name);
                self.choose_type(&mut chosen);
                self.api.change(place, |spec| {
                    spec.secret_type = chosen.secret_type;
                    spec.template = chosen.template;
                    spec.ecr_repository_url = chosen.ecr_repository_url;
                    spec.ecr_repository_urls = chosen.ecr_repository_urls;
                });
            }
            2 => {
                self.checks.count("spec: name of the Secret");
                self.number += 1;
                let secret = format!("s-{}-{}", place.name, self.number);
                self.api.change(place, |spec| spec.secret_name = secret);
            }
            3 => {
                self.checks.count("spec: overlap");
                self.api.change(place, |spec| spec.refresh_before_seconds = None);
            }
            _ => {
                self.checks.count("spec: labels");
                let label = self.random.u32(0..10).to_string();
                let template = aws_assume_role::api::SecretTemplate {
                    labels: [("team".to_owned(), label)].into(),
                    ..Default::default()
                };
                self.api.change(place, |spec| spec.secret_template = Some(template));
            }
        }
    }

    pub(super) fn request(&mut self, place: &Place) {
        self.checks.count("resource: refresh requested");
        self.number += 1;
        request(&self.api, &self.checks, place, self.number);
    }

    pub(super) fn suspend_for_a_while(&mut self, place: &Place) {
        let Some(uid) = self.api.uid(place) else { return };
        self.checks.count("resource: suspended");
        self.checks.begin_outage_of(&uid);
        self.api.change(place, |spec| spec.suspend = Some(true));
        let (api, checks, place) = (self.api.clone(), self.checks.clone(), place.clone());
        let pause = self.random.u64(60..20_000);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            checks.allow_call(&uid);
            checks.end_outage_of(&uid);
            api.change(&place, |spec| spec.suspend = None);
        });
    }

    pub(super) fn take_role_away_for_a_while(&mut self, place: &Place) {
        let Some(resource) = self.api.resource(place) else {
            return;
        };
        let (Some(uid), Some(arn)) = (resource.metadata.uid, resource.spec.role_arn) else {
            return;
        };
        self.checks.count("aws: role away");
        self.checks.begin_outage_of(&uid);
        self.aws.remove_role(&arn);
        let (aws, checks) = (self.aws.clone(), self.checks.clone());
        let pause = self.random.u64(60..7200);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            aws.add_role(&arn, open_role_of(arn.split(':').nth(4).unwrap()));
            // A refusal is tried again after five minutes at the latest.
            tokio::time::sleep(Duration::from_secs(300)).await;
            checks.end_outage_of(&uid);
        });
    }
}

/// A role that trusts the operator, and the ServiceAccounts of the cluster.
fn open_role_of(account: &str) -> Role {
    trusted_by(open_role(), &provider(account))
}

/// Asks for a refresh.
pub(super) fn request(api: &ApiServer, checks: &Checks, place: &Place, number: u64) {
    if let Some(uid) = api.uid(place) {
        checks.allow_call(&uid);
        api.request_refresh(place, &number.to_string());
    }
}

/// Deletes a resource. The garbage collector takes a moment, and so does the word of the deletion.
pub(super) fn delete(api: &ApiServer, checks: &Checks, place: &Place) -> bool {
    const MOMENT: Duration = Duration::from_secs(3);
    let Some(uid) = api.delete(place) else {
        return false;
    };
    checks.note(&format!("{uid} deleted"));
    let (api, checks) = (api.clone(), checks.clone());
    tokio::spawn(async move {
        tokio::time::sleep(MOMENT).await;
        api.collect(&uid);
        while !api.is_heard() {
            tokio::time::sleep(MOMENT).await;
        }
        tokio::time::sleep(MOMENT).await;
        checks.resource_deleted(&uid);
        tokio::time::sleep(Duration::from_secs(120)).await;
        // What was written in the very moment of the deletion is collected as well.
        api.collect(&uid);
    });
    true
}
