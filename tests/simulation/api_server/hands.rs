//! What happens to Secrets other than by the operator: hands in them, forgeries, the garbage collector.

use aws_assume_role::secret::{EXPIRATION_ANNOTATION, MANAGED_BY_LABEL, OPERATOR_LABEL, SPEC_HASH_ANNOTATION};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;

use super::{ApiServer, Stored};
use crate::place::Place;

/// What an edit leaves in the account of who wrote what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// The name of whoever wrote something.
    Theirs,
    /// The operator's own name, which anybody can give.
    OperatorsName,
    /// None: something was only taken off.
    Nothing,
}

/// A Secret that looks as if the operator had written it.
pub struct Forgery {
    /// The resource that it says controls it.
    pub owner_name: String,
    pub owner_uid: String,
    pub expiration: String,
    pub spec_hash: String,
}

impl ApiServer {
    /// When it is, as the API server writes it down.
    pub(super) fn second(&self) -> Timestamp {
        Timestamp::from_second(self.time.now().as_second()).unwrap()
    }

    /// What the garbage collector does some time after a resource went.
    pub fn collect(&self, owner: &str) {
        let mut state = self.state();
        let orphans: Vec<Place> = state
            .secrets
            .iter()
            .filter(|(_, secret)| secret.owner().as_deref() == Some(owner))
            .map(|(place, _)| place.clone())
            .collect();
        for place in orphans {
            state.drop_secret(&place);
            self.checks.secret_gone(&place);
        }
    }

    /// Makes a Secret that belongs to nobody whom the operator knows, or says that it belongs to somebody.
    pub fn plant(&self, place: &Place, forgery: Option<&Forgery>) {
        let mut state = self.state();
        if state.secrets.contains_key(place) {
            return;
        }
        let mut seen = state.named(place);
        if let Some(forgery) = forgery {
            let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
            seen.metadata.labels = Some([MANAGED_BY_LABEL, OPERATOR_LABEL].map(text).into());
            let annotations = [
                (EXPIRATION_ANNOTATION, forgery.expiration.as_str()),
                (SPEC_HASH_ANNOTATION, forgery.spec_hash.as_str()),
            ];
            seen.metadata.annotations = Some(annotations.map(text).into());
            seen.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "pincette.net/v1".to_owned(),
                kind: "AWSAssumeRole".to_owned(),
                name: forgery.owner_name.clone(),
                uid: forgery.owner_uid.clone(),
                controller: Some(true),
                block_owner_deletion: None,
            }]);
        }
        let secret = Stored {
            seen,
            type_: "Opaque".to_owned(),
            content: "foreign".to_owned(),
            values: Default::default(),
            spoilt: None,
            forged_unseen: false,
            unclaimed: false,
            foreign_label: false,
        };
        state.put_secret(place, secret);
    }

    /// Takes a Secret away by hand.
    pub fn delete_by_hand(&self, place: &Place) {
        let mut state = self.state();
        state.drop_secret(place);
        self.checks.secret_gone(place);
    }

    /// Spoils the credentials in a Secret by hand.
    pub fn spoil(&self, place: &Place, trace: Trace, edit: impl FnOnce(&mut Stored)) {
        let now = self.second().as_second();
        self.edit(place, trace, |stored| {
            stored.spoilt.get_or_insert(now);
            edit(stored);
        });
    }

    /// Edits a Secret by hand.
    pub fn edit(&self, place: &Place, trace: Trace, edit: impl FnOnce(&mut Stored)) {
        let mut state = self.state();
        let Some(mut secret) = state.secrets.get(place).cloned() else {
            return;
        };
        edit(&mut secret);
        let version = state.version;
        if let Some(provenance) = &mut secret.seen.provenance {
            match trace {
                Trace::Theirs => {
                    provenance.their_last_write = Some(self.second());
                    // Unlike any before.
                    provenance.their_writes = version;
                }
                Trace::OperatorsName => provenance.our_last_write = Some(self.second()),
                Trace::Nothing => {}
            }
        }
        self.checks.note(&format!("{place} edited by hand, trace {trace:?}"));
        state.put_secret(place, secret);
    }

    /// Checks that no Secret stays as somebody spoilt it, but where no operator can know of it.
    pub fn check_spoilt(&self) {
        let spoilt: Vec<(Place, String, i64)> = self
            .state()
            .secrets
            .iter()
            .filter(|(_, secret)| !secret.forged_unseen)
            .filter_map(|(place, secret)| Some((place.clone(), secret.owner()?, secret.spoilt?)))
            .collect();
        for (place, owner, since) in spoilt {
            self.checks.is_put_right_in_time(&place, &owner, since);
        }
    }
}
