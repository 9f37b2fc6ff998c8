//! People who make resources, change and delete them, and have their hands in Secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_assume_role::api::AWSAssumeRole;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use support::fixtures::{ECR_URL, role_arn, with};
use support::strict_aws::{StrictAws, open_role};
use tokio::time::{sleep, timeout};

use crate::observer::SPOILT;
use crate::operators::CALL;
use crate::plan::{Deed, PlannedDeed};
use crate::record::Record;

/// Where people work.
const NAMESPACES: [&str; 3] = ["billing", "payments", "search"];

/// The fewest resources and the most.
const FEWEST: usize = 5;
const MOST: usize = 12;

/// A resource that somebody made.
#[derive(Clone, Debug)]
struct Made {
    secret_name: String,
    role_arn: String,
    /// Those that it asked for before, and may ask for still: a change that was not answered may not have been made.
    earlier_role_arns: Vec<String>,
    suspended: bool,
    /// A Secret of somebody else is in its way.
    foreign: bool,
}

type Place = (String, String);

/// The people.
pub struct Hands {
    client: Client,
    aws: StrictAws,
    record: Record,
    made: BTreeMap<Place, Made>,
    number: usize,
}

impl Hands {
    /// Makes their namespaces and the first resources.
    pub async fn begin(client: Client, aws: StrictAws, record: Record) -> Self {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in NAMESPACES {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        }
        let mut hands = Self {
            client,
            aws,
            record,
            made: BTreeMap::new(),
            number: 0,
        };
        for value in 0..FEWEST + 2 {
            assert!(hands.create(value as u64, value as u64).await.is_some());
        }
        hands.plant_foreign(0, 0).await.unwrap();
        hands
    }

    /// Does what is planned.
    pub async fn work(mut self, deeds: Vec<PlannedDeed>) {
        for planned in deeds {
            sleep(planned.at.saturating_sub(self.record.now())).await;
            let done = timeout(CALL, self.act(&planned)).await;
            let what = match done {
                Ok(Some(())) => format!("people: {:?}", planned.deed),
                _ => "people: could not do it, or there was nothing to do".to_owned(),
            };
            self.record.count(&what);
        }
        // What is suspended says nothing, so it goes on for the end.
        let places: Vec<Place> = self.made.keys().cloned().collect();
        for place in places {
            if self.made[&place].suspended {
                let _ = timeout(Duration::from_secs(30), self.resume(&place)).await;
            }
        }
    }

    async fn act(&mut self, planned: &PlannedDeed) -> Option<()> {
        let (pick, value) = (planned.pick, planned.value);
        match planned.deed {
            Deed::Create if self.made.len() < MOST => return self.create(pick, value).await,
            Deed::PlantForeign if self.made.len() < MOST => return self.plant_foreign(pick, value).await,
            Deed::DeleteForeign => return self.delete_foreign(pick).await,
            Deed::Resume => {
                let suspended = |made: &Made| made.suspended;
                let place = self.pick(pick, suspended)?;
                return self.resume(&place).await;
            }
            _ => {}
        }
        let place = self.pick(pick, |_| true)?;
        self.reason(&place);
        match planned.deed {
            Deed::Delete if self.made.len() > FEWEST => self.delete(&place).await,
            Deed::MakeAgain => self.make_again(&place, value).await,
            Deed::ChangeRole => self.change_role(&place).await,
            Deed::ChangeType => self.change(&place, type_of(value, true)).await,
            Deed::ChangeOverlap => {
                let overlap = [Value::Null, json!(60)][usize::from(value % 2 == 0)].clone();
                self.change(&place, json!({"refreshBeforeSeconds": overlap})).await
            }
            Deed::RenameSecret => self.rename_secret(&place).await,
            Deed::Label => {
                let label = json!({"secretTemplate": {"labels": {"team": format!("team-{}", value % 5)}}});
                self.change(&place, label).await
            }
            Deed::RequestRefresh => {
                let patch = json!({"metadata": {"annotations": {"pincette.net/refresh": value.to_string()}}});
                self.patch(&place, &patch).await
            }
            Deed::Suspend => {
                self.change(&place, json!({"suspend": true})).await?;
                self.made.get_mut(&place)?.suspended = true;
                Some(())
            }
            Deed::SpoilSecret | Deed::TouchSecret | Deed::DeleteSecret => {
                self.lay_hand_on_secret(&place, planned.deed, value).await
            }
            _ => None,
        }
    }

    fn resources(&self, place: &Place) -> Api<AWSAssumeRole> {
        Api::namespaced(self.client.clone(), &place.0)
    }

    fn secrets(&self, place: &Place) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &place.0)
    }

    fn pick(&self, number: u64, which: impl Fn(&Made) -> bool) -> Option<Place> {
        let places: Vec<&Place> = self
            .made
            .iter()
            .filter(|(_, made)| which(made))
            .map(|(place, _)| place)
            .collect();
        let index = number.checked_rem(places.len() as u64)?;
        Some(places[usize::try_from(index).ok()?].clone())
    }

    /// What is done with a resource now may cause calls.
    fn reason(&self, place: &Place) {
        if let Some(made) = self.made.get(place) {
            let now = self.record.now();
            for role_arn in made.earlier_role_arns.iter().chain([&made.role_arn]) {
                self.record.state().calls.reason(role_arn, now);
            }
        }
    }

    fn note(&self, place: &Place, what: &str) {
        self.record.note(&format!("{}/{}: {what}", place.0, place.1));
    }

    fn new_role(&mut self, place: &Place) -> String {
        self.number += 1;
        let arn = role_arn(&format!("{}-{}-{}", place.0, place.1, self.number));
        self.aws.add_role(&arn, open_role());
        arn
    }

    async fn create(&mut self, pick: u64, value: u64) -> Option<()> {
        let place = self.new_place(pick);
        let secret_name = format!("s-{}", place.1);
        self.create_at(&place, value, secret_name, false).await
    }

    fn new_place(&mut self, pick: u64) -> Place {
        self.number += 1;
        let namespace = NAMESPACES[usize::try_from(pick % 3).unwrap()];
        (namespace.to_owned(), format!("r{}", self.number))
    }

    async fn create_at(&mut self, place: &Place, value: u64, secret_name: String, foreign: bool) -> Option<()> {
        let role_arn = self.new_role(place);
        let spec = with(
            json!({"roleArn": role_arn, "secretName": secret_name}),
            &type_of(value, false),
        );
        let resource = json!({
            "apiVersion": "pincette.net/v1",
            "kind": "AWSAssumeRole",
            "metadata": {"name": place.1, "namespace": place.0},
            "spec": spec,
        });
        let made = Made {
            secret_name,
            role_arn,
            earlier_role_arns: Vec::new(),
            suspended: false,
            foreign,
        };
        let resource: AWSAssumeRole = serde_json::from_value(resource).unwrap();
        self.made.insert(place.clone(), made);
        self.reason(place);
        self.note(place, &format!("created with {spec}"));
        let created = self.resources(place).create(&PostParams::default(), &resource).await;
        if let Err(error) = created {
            self.note(place, &format!("was not created: {error}"));
            // If it was made all the same, it is judged all the same.
            self.made.remove(place);
            return None;
        }
        Some(())
    }

    async fn delete(&mut self, place: &Place) -> Option<()> {
        self.note(place, "deleted");
        let deleted = self.resources(place).delete(&place.1, &DeleteParams::default()).await;
        match deleted {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => drop(other.ok()?),
        }
        self.made.remove(place);
        Some(())
    }

    async fn make_again(&mut self, place: &Place, value: u64) -> Option<()> {
        let made = self.made.get(place)?.clone();
        self.delete(place).await?;
        self.create_at(place, value, made.secret_name, made.foreign).await
    }

    async fn patch(&self, place: &Place, patch: &Value) -> Option<()> {
        self.note(place, &format!("patched with {patch}"));
        let patched = self
            .resources(place)
            .patch(&place.1, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.map(drop).ok()
    }

    async fn change(&self, place: &Place, spec: Value) -> Option<()> {
        self.patch(place, &json!({"spec": spec})).await
    }

    async fn change_role(&mut self, place: &Place) -> Option<()> {
        let arn = self.new_role(place);
        let made = self.made.get_mut(place)?;
        let before = std::mem::replace(&mut made.role_arn, arn.clone());
        made.earlier_role_arns.push(before);
        self.reason(place);
        self.change(place, json!({"roleArn": arn})).await
    }

    async fn rename_secret(&mut self, place: &Place) -> Option<()> {
        self.number += 1;
        let name = format!("s-{}-{}", place.1, self.number);
        self.change(place, json!({"secretName": name})).await?;
        let made = self.made.get_mut(place)?;
        made.secret_name = name;
        made.foreign = false;
        Some(())
    }

    async fn resume(&mut self, place: &Place) -> Option<()> {
        self.reason(place);
        self.change(place, json!({"suspend": null})).await?;
        self.made.get_mut(place)?.suspended = false;
        Some(())
    }

    async fn lay_hand_on_secret(&self, place: &Place, deed: Deed, value: u64) -> Option<()> {
        let made = self.made.get(place)?;
        if made.foreign || made.suspended {
            return None;
        }
        let name = &made.secret_name;
        let secrets = self.secrets(place);
        self.note(place, &format!("{deed:?} {name}"));
        let patch = match deed {
            Deed::SpoilSecret => {
                let secret = secrets.get(name).await.ok()?;
                let keys: Vec<String> = secret.data?.into_keys().collect();
                let index = value.checked_rem(keys.len() as u64)?;
                json!({"stringData": {keys[usize::try_from(index).ok()?].clone(): SPOILT}})
            }
            Deed::TouchSecret => json!({"metadata": {"labels": {"seen-by": format!("somebody-{}", value % 7)}}}),
            _ => {
                let deleted = secrets.delete(name, &DeleteParams::default()).await;
                return deleted.map(drop).ok();
            }
        };
        let patched = secrets.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).ok()
    }

    async fn plant_foreign(&mut self, pick: u64, value: u64) -> Option<()> {
        let place = self.new_place(pick);
        let name = format!("s-{}", place.1);
        self.note(&place, &format!("a foreign {name} is made"));
        let secret = json!({
            "metadata": {"name": name, "labels": {"owner": "somebody-else"}},
            "stringData": {"password": format!("secret-{value}")},
        });
        let secret: Secret = serde_json::from_value(secret).unwrap();
        self.secrets(&place)
            .create(&PostParams::default(), &secret)
            .await
            .ok()?;
        self.create_at(&place, value, name, true).await
    }

    async fn delete_foreign(&mut self, pick: u64) -> Option<()> {
        let place = self.pick(pick, |made| made.foreign)?;
        self.reason(&place);
        let name = self.made.get(&place)?.secret_name.clone();
        self.note(&place, &format!("the foreign {name} is deleted"));
        self.record.state().foreign.release(&place.0, &name);
        self.secrets(&place)
            .delete(&name, &DeleteParams::default())
            .await
            .ok()?;
        self.made.get_mut(&place)?.foreign = false;
        Some(())
    }
}

/// The fields of a type. As a patch they take away those of another.
fn type_of(value: u64, as_patch: bool) -> Value {
    let mut fields = match value % 5 {
        0 => json!({"secretType": "Map"}),
        1 => json!({"secretType": "File"}),
        2 => json!({"secretType": "CredentialProcess"}),
        3 => json!({"secretType": "EcrDockerConfigJson", "ecrRepositoryUrl": ECR_URL}),
        _ => {
            let data = json!({"config": "{{ accessKeyId }} {{ secretAccessKey }} {{ sessionToken }}", "region": "{{ region }}"});
            json!({"secretType": "Template", "template": {"data": data}})
        }
    };
    if as_patch {
        for field in ["ecrRepositoryUrl", "template"] {
            let fields = fields.as_object_mut().unwrap();
            fields.entry(field).or_insert(Value::Null);
        }
    }
    fields
}
