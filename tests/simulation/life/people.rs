//! The people of a life: they make resources, change and delete them, and have their hands in Secrets and roles.

use std::time::Duration;

use aws_assume_role::api::{AWSAssumeRoleSpec, SecretType, TemplateSpec};

use super::Life;
use crate::api_server::Stored;
use support::fixtures::{ECR_URL, role_arn};
use support::strict_aws::open_role;

impl Life {
    // --- resources

    fn spec(&mut self, name: &str) -> AWSAssumeRoleSpec {
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
            duration_seconds: Some(duration),
            refresh_before_seconds: self.random.bool().then(|| self.random.i32(duration / 3..duration / 2)),
            region: None,
            session: None,
            template: None,
            secret_template: None,
            suspend: None,
        };
        self.choose_type(&mut spec);
        spec
    }

    fn choose_type(&mut self, spec: &mut AWSAssumeRoleSpec) {
        spec.ecr_repository_url = None;
        spec.template = None;
        spec.secret_type = match self.random.u32(0..5) {
            0 => SecretType::Map,
            1 => SecretType::File,
            2 => SecretType::CredentialProcess,
            3 => {
                let data = [("key".to_owned(), "{{ accessKeyId }}/{{ sessionToken }}".to_owned())];
                spec.template = Some(TemplateSpec { data: data.into() });
                SecretType::Template
            }
            _ => {
                spec.ecr_repository_url = Some(ECR_URL.to_owned());
                SecretType::EcrDockerConfigJson
            }
        };
    }

    /// A role that exists, for a resource that is known by it.
    fn role(&mut self, name: &str) -> String {
        self.number += 1;
        let arn = role_arn(&format!("{name}-{}", self.number));
        self.aws.add_role(&arn, open_role());
        arn
    }

    pub(super) fn create(&mut self, name: &str) {
        let mut spec = self.spec(name);
        let arn = self.role(name);
        spec.role_arn = Some(arn.clone());
        let uid = self.api.create(name, spec);
        self.owners.lock().unwrap().insert(arn, uid);
    }

    pub(super) fn create_another(&mut self) {
        self.checks.count("resource: created");
        self.number += 1;
        let name = format!("n{}", self.number);
        self.create(&name);
    }

    pub(super) fn delete(&mut self, name: &str) {
        if let Some(uid) = self.api.delete(name) {
            self.checks.count("resource: deleted");
            let (api, checks) = (self.api.clone(), self.checks.clone());
            let broken = self.is_going_on("watch") || self.operator.is_none();
            tokio::spawn(async move {
                // The garbage collector takes a moment, and so does the word of the deletion.
                tokio::time::sleep(Duration::from_secs(3)).await;
                api.collect(&uid);
                if !broken {
                    checks.resource_deleted(&uid);
                }
                tokio::time::sleep(Duration::from_secs(120)).await;
                // What was written in the very moment of the deletion is collected as well.
                api.collect(&uid);
            });
        }
    }

    fn uid(&self, name: &str) -> Option<String> {
        self.api.resource(name)?.metadata.uid
    }

    pub(super) fn change(&mut self, name: &str) {
        let Some(uid) = self.uid(name) else { return };
        self.checks.allow_call(&uid);
        match self.random.u32(0..5) {
            0 => {
                self.checks.count("spec: role");
                let arn = self.role(name);
                self.owners.lock().unwrap().insert(arn.clone(), uid);
                self.api.change(name, |spec| spec.role_arn = Some(arn));
            }
            1 => {
                self.checks.count("spec: type");
                let mut chosen = self.spec(name);
                self.choose_type(&mut chosen);
                self.api.change(name, |spec| {
                    spec.secret_type = chosen.secret_type;
                    spec.template = chosen.template;
                    spec.ecr_repository_url = chosen.ecr_repository_url;
                });
            }
            2 => {
                self.checks.count("spec: name of the Secret");
                self.number += 1;
                let secret = format!("s-{name}-{}", self.number);
                self.api.change(name, |spec| spec.secret_name = secret);
            }
            3 => {
                self.checks.count("spec: overlap");
                self.api.change(name, |spec| spec.refresh_before_seconds = None);
            }
            _ => {
                self.checks.count("spec: labels");
                let label = self.random.u32(0..10).to_string();
                let template = aws_assume_role::api::SecretTemplate {
                    labels: [("team".to_owned(), label)].into(),
                    ..Default::default()
                };
                self.api.change(name, |spec| spec.secret_template = Some(template));
            }
        }
    }

    pub(super) fn request(&mut self, name: &str) {
        let Some(uid) = self.uid(name) else { return };
        self.checks.count("resource: refresh requested");
        self.checks.allow_call(&uid);
        self.number += 1;
        self.api.request_refresh(name, &self.number.to_string());
    }

    pub(super) fn suspend_for_a_while(&mut self, name: &str) {
        let Some(uid) = self.uid(name) else { return };
        self.checks.count("resource: suspended");
        self.checks.begin_outage_of(&uid);
        self.api.change(name, |spec| spec.suspend = Some(true));
        let (api, checks, name) = (self.api.clone(), self.checks.clone(), name.to_owned());
        let pause = self.random.u64(60..20_000);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            checks.allow_call(&uid);
            checks.end_outage_of(&uid);
            api.change(&name, |spec| spec.suspend = None);
        });
    }

    pub(super) fn take_role_away_for_a_while(&mut self, name: &str) {
        let Some(resource) = self.api.resource(name) else {
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
            aws.add_role(&arn, open_role());
            // A refusal is tried again after five minutes at the latest.
            tokio::time::sleep(Duration::from_secs(300)).await;
            checks.end_outage_of(&uid);
        });
    }

    // --- Secrets

    pub(super) fn edit_secret(&mut self, name: &str) {
        let Some(resource) = self.api.resource(name) else {
            return;
        };
        let secret = resource.spec.secret_name.clone();
        let Some(uid) = resource.metadata.uid else { return };
        if self.api.secret(&secret).and_then(|stored| stored.owner()) != Some(uid.clone()) {
            return;
        }
        self.checks.allow_call(&uid);
        let spoil = |stored: &mut Stored| {
            stored.spoilt = true;
            let provenance = stored.seen.provenance.as_mut().unwrap();
            let key = provenance.ours.pop_first();
            provenance.others.extend(key);
        };
        match self.random.u32(0..4) {
            0 => {
                self.checks.count("secret: deleted by hand");
                self.api.delete_by_hand(&secret);
            }
            1 => {
                self.checks.count("secret: content edited");
                self.api.edit(&secret, spoil);
            }
            2 => {
                self.checks.count("secret: labels taken off");
                self.api.edit(&secret, |stored| stored.seen.metadata.labels = None);
            }
            _ => {
                self.checks.count("secret: key added");
                self.api.edit(&secret, |stored| {
                    let provenance = stored.seen.provenance.as_mut().unwrap();
                    provenance.others.insert("extra".to_owned());
                });
            }
        }
    }

    pub(super) fn plant_foreign(&mut self) {
        self.checks.count("secret: of somebody else");
        self.number += 1;
        let name = format!("f{}", self.number);
        self.api.plant_foreign(&format!("s-{name}"));
        self.foreign.insert(name.clone());
        self.create(&name);
    }
}
