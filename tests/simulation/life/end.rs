//! The end of a life: everything works again, and then everything has to be in order.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_assume_role::secret::SecretMetadata;
use aws_assume_role::spec::Resource;

use super::Life;

impl Life {
    /// Everything works again, and there is time to put everything right.
    pub(super) async fn come_to_rest(&mut self) {
        while !self.going_on.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        *self.aws_faults.lock().unwrap() = false;
        self.api.stop_faults();
        // The longest suspension and the longest pause after a refusal.
        tokio::time::sleep(Duration::from_secs(20_000 + 600)).await;
        self.checks.check_secrets();
    }

    pub(super) fn judge(&self) {
        let secrets = self.api.secrets();
        let mut wanted_names = BTreeMap::new();
        for (place, resource) in self.api.resources() {
            let watched = Resource::from_resource(&resource);
            let wanted = watched.spec.as_ref().unwrap();
            let complain = |what: &str| {
                self.checks.fail(&format!(
                    "at the end {} {place}: {what}: {:?}",
                    watched.key.uid, resource.status
                ))
            };
            let status = resource.status.clone().unwrap_or_default();
            if status.observed_generation != resource.metadata.generation {
                complain("the status does not speak of the spec");
            }
            let ready = &status.conditions[0];
            let secret_place = place.beside(&wanted.secret_name);
            if self.foreign.contains(&place) && wanted.secret_name == format!("s-{}", place.name) {
                if ready.reason != "SecretConflict" || secrets[&secret_place].content != "foreign" {
                    complain("it took what is not its own");
                }
                continue;
            }
            if (ready.status.as_str(), ready.reason.as_str()) != ("True", "Issued") {
                complain("it is not ready");
            }
            let Some(secret) = secrets.get(&secret_place) else {
                complain("it has no Secret");
                continue;
            };
            // What an operator that is gone saw happening under its name, its successor cannot know.
            let good = (secret.spoilt.is_none() || secret.forged_unseen)
                && secret.owner().as_deref() == Some(&*watched.key.uid)
                && (secret.seen.is_intact(&wanted.format) || secret.unclaimed)
                && secret.seen.foreign_keys(&wanted.format).is_empty()
                && SecretMetadata::of(wanted).is_on(&secret.seen)
                && secret.seen.is_made_from(&wanted.spec_hash)
                && watched
                    .refresh_request
                    .as_ref()
                    .is_none_or(|request| secret.seen.answers(request));
            if !good {
                complain(&format!("its Secret is not right: {secret:?}"));
            }
            wanted_names.insert(secret_place, watched.key.uid.to_string());
        }
        for (place, secret) in &secrets {
            if secret.content != "foreign" && wanted_names.get(place) != secret.owner().as_ref() {
                self.checks
                    .fail(&format!("at the end Secret {place} is there and nobody wants it"));
            }
        }
    }
}
