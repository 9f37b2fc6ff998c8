//! The hands that people have in Secrets.

use std::time::Duration;

use super::Life;
use super::people::request;
use crate::api_server::{Stored, Trace};
use crate::place::{NAMESPACES, Place};
use aws_assume_role::secret::{EXPIRATION_ANNOTATION, Provenance};

impl Life {
    pub(super) fn edit_secret(&mut self, place: &Place) {
        let Some(resource) = self.api.resource(place) else {
            return;
        };
        let secret = place.beside(&resource.spec.secret_name);
        let Some(uid) = resource.metadata.uid else { return };
        if self.api.secret(&secret).and_then(|stored| stored.owner()) != Some(uid.clone()) {
            return;
        }
        self.checks.allow_call(&uid);
        match self.random.u32(0..12) {
            0 => {
                self.checks.count("secret: deleted by hand");
                self.api.delete_by_hand(&secret);
            }
            1..3 => {
                self.checks.count("secret: content edited");
                self.api.spoil(&secret, Trace::Theirs, |stored| touch(stored, |_| true));
            }
            3 => {
                self.checks.count("secret: touched and set back");
                self.api.edit(&secret, Trace::Theirs, |stored| touch(stored, |_| true));
            }
            // Their values are the same after the next refresh as well.
            4 => {
                self.checks.count("secret: hash of the spec touched and set back");
                self.api
                    .edit(&secret, Trace::Theirs, |stored| provenance(stored).annotations = false);
            }
            5 => {
                self.checks.count("secret: what stays the same touched and set back");
                self.api
                    .edit(&secret, Trace::Theirs, |stored| touch(stored, |key| key == "region"));
            }
            6 => {
                self.checks.count("secret: key taken out");
                self.api.spoil(&secret, Trace::Nothing, |stored| {
                    let key = provenance(stored).ours.pop_first();
                    stored.values.retain(|name, _| Some(name) != key.as_ref());
                });
            }
            7 => {
                self.checks.count("secret: end taken off");
                self.api.edit(&secret, Trace::Nothing, |stored| {
                    provenance(stored).annotations = false;
                    let annotations = stored.seen.metadata.annotations.get_or_insert_default();
                    annotations.remove(EXPIRATION_ANNOTATION);
                });
            }
            8 => {
                self.checks.count("secret: labels taken off");
                self.api
                    .edit(&secret, Trace::Nothing, |stored| stored.seen.metadata.labels = None);
            }
            9 => {
                self.checks.count("secret: key added");
                self.api.edit(&secret, Trace::Theirs, |stored| {
                    provenance(stored).others.insert("extra".to_owned());
                });
            }
            10 => {
                self.checks.count("secret: edited under the operator's name");
                self.api.spoil(&secret, Trace::OperatorsName, |_| ());
            }
            _ => self.forge_in_the_second_of_a_write(place, &secret),
        }
    }

    /// Somebody writes under the operator's name just after the operator, so that the times tell nothing.
    fn forge_in_the_second_of_a_write(&mut self, place: &Place, secret: &Place) {
        self.checks
            .count("secret: edited under the operator's name in the second of its write");
        self.number += 1;
        request(&self.api, &self.checks, place, self.number);
        let (api, checks, place, secret) = (self.api.clone(), self.checks.clone(), place.clone(), secret.clone());
        let pause = Duration::from_millis(self.random.u64(80..700));
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(uid) = api.uid(&place)
                && api.secret(&secret).and_then(|stored| stored.owner()) == Some(uid.clone())
            {
                checks.allow_call(&uid);
                api.spoil(&secret, Trace::OperatorsName, |_| ());
            }
        });
    }

    /// Somebody puts a label of his own on a Secret, or takes one off that somebody else put there. It is none of the operator's business.
    pub(super) fn label_secret(&mut self, place: &Place) {
        let Some(resource) = self.api.resource(place) else {
            return;
        };
        let secret = place.beside(&resource.spec.secret_name);
        match self.api.secret(&secret).map(|stored| stored.foreign_label) {
            Some(false) => {
                self.checks.count("secret: label of somebody put on");
                self.api
                    .edit(&secret, Trace::Theirs, |stored| stored.foreign_label = true);
            }
            Some(true) => {
                self.checks.count("secret: label of somebody taken off by another");
                // Who put it on has others there, and so is still named. Nothing tells it from a forgery in the second of the operator's own
                // write, for which the operator takes it.
                if let Some(uid) = resource.metadata.uid {
                    self.checks.has_reason(&uid);
                }
                self.api.edit(&secret, Trace::Nothing, |_| ());
            }
            None => {}
        }
    }

    pub(super) fn plant_foreign(&mut self) {
        self.checks.count("secret: of somebody else");
        self.number += 1;
        let namespace = NAMESPACES[self.random.usize(0..NAMESPACES.len())];
        let place = Place::new(namespace, &format!("f{}", self.number));
        self.api.plant(&place.beside(&format!("s-{}", place.name)), None);
        self.foreign.insert(place.clone());
        self.create(&place);
    }
}

fn provenance(stored: &mut Stored) -> &mut Provenance {
    stored.seen.provenance.as_mut().unwrap()
}

/// Puts somebody else's name at one of the operator's keys.
fn touch(stored: &mut Stored, which: impl Fn(&str) -> bool) {
    let provenance = provenance(stored);
    let key = provenance.ours.iter().find(|key| which(key)).cloned();
    if let Some(key) = key {
        provenance.ours.remove(&key);
        provenance.others.insert(key);
    }
}
