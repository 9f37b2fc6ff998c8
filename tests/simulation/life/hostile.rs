//! A tenant who means ill, as far as a namespace and its rights go. Nobody else may notice.

use std::time::Duration;

use aws_assume_role::api::SecretType;
use k8s_openapi::jiff::SignedDuration;

use super::Life;
use super::people::delete;
use crate::api_server::Forgery;
use crate::place::{HOSTILE, NAMESPACES, Place};
use support::fixtures::{ACCOUNT, role_arn};

/// A Region that nobody else uses, and that does not answer while the tenant attacks.
const SILENT_REGION: &str = "us-west-2";

/// Later than any end that the operator can write down itself.
const FAR: &str = "9999-12-31T23:59:59Z";

/// How the names of those begin that the tenant always has.
pub(super) const LASTING: char = 'h';

/// What a mass of resources has in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mass {
    /// Their roles do not exist.
    Refused,
    /// They name a Region whose endpoints hang.
    Hanging,
    /// Nothing is wrong with them but their number.
    Good,
}

impl Life {
    pub(super) fn hostility(&mut self) {
        match self.random.u8(0..8) {
            0 => self.mass_comes(Mass::Refused),
            1 | 2 => self.mass_comes(Mass::Hanging),
            3 => self.mass_comes(Mass::Good),
            4 => self.edits_in_a_burst(),
            5 => self.requests_in_a_burst(),
            _ => self.forges_secrets(),
        }
    }

    /// Many resources at once, which go again after a while.
    fn mass_comes(&mut self, mass: Mass) {
        let seconds = self.random.u64(300..3600);
        let (aws, checks) = (self.aws.clone(), self.checks.clone());
        if !self.for_a_while("mass", seconds, move || {
            checks.note("* the hostile mass goes");
            aws.silence_region(SILENT_REGION, false);
        }) {
            return;
        }
        self.checks.note("* a hostile mass comes");
        self.checks.count(match mass {
            Mass::Refused => "hostile: mass of refused resources",
            Mass::Hanging => "hostile: mass that names a Region that hangs",
            Mass::Good => "hostile: mass of newcomers",
        });
        if mass == Mass::Hanging {
            self.aws.silence_region(SILENT_REGION, true);
        }
        for _ in 0..self.random.usize(self.mass_max / 4..=self.mass_max) {
            self.number += 1;
            let place = Place::new(HOSTILE, &format!("m{}", self.number));
            let mut spec = self.spec(&place.name);
            spec.role_arn = Some(match mass {
                Mass::Refused => role_arn(&format!("none-{}", self.number)),
                Mass::Hanging | Mass::Good => self.role(&place),
            });
            if mass == Mass::Hanging {
                match spec.secret_type {
                    // Its session comes, and the registry hangs.
                    SecretType::EcrDockerConfigJson => {
                        let url = format!("https://{ACCOUNT}.dkr.ecr.{SILENT_REGION}.amazonaws.com/v2/team/app");
                        spec.ecr_repository_url = Some(url);
                    }
                    _ => spec.region = Some(SILENT_REGION.to_owned()),
                }
            }
            self.create_with(&place, spec);
            let (api, checks) = (self.api.clone(), self.checks.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                delete(&api, &checks, &place);
            });
        }
    }

    /// One that is always there.
    fn lasting(&mut self) -> Place {
        let names = self.api.places(HOSTILE);
        let lasting: Vec<&Place> = names.iter().filter(|place| place.name.starts_with(LASTING)).collect();
        lasting[self.random.usize(0..lasting.len())].clone()
    }

    /// Each edit asks for other credentials, so that each is a reason for a call. The operator has to bound them by itself.
    fn edits_in_a_burst(&mut self) {
        self.checks.count("hostile: burst of edits");
        let (place, api) = (self.lasting(), self.api.clone());
        let mut random = self.random.fork();
        tokio::spawn(async move {
            for duration in 0..random.i32(10..60) {
                tokio::time::sleep(Duration::from_millis(random.u64(0..3000))).await;
                api.change(&place, |spec| {
                    spec.duration_seconds = Some(3600 + duration);
                    spec.refresh_before_seconds = None;
                });
            }
        });
    }

    fn requests_in_a_burst(&mut self) {
        self.checks.count("hostile: burst of requests");
        let (place, api) = (self.lasting(), self.api.clone());
        let mut random = self.random.fork();
        tokio::spawn(async move {
            for _ in 0..random.u8(10..60) {
                tokio::time::sleep(Duration::from_millis(random.u64(0..3000))).await;
                api.request_refresh(&place, &random.u64(..).to_string());
            }
        });
    }

    /// Secrets in its own namespace that say that they belong to others, under names that mean something in those others' namespaces.
    fn forges_secrets(&mut self) {
        let namespace = NAMESPACES[self.random.usize(0..NAMESPACES.len())];
        for _ in 0..self.random.u8(1..10) {
            let victims = self.api.places(namespace);
            let victim = victims[self.random.usize(0..victims.len())].clone();
            let Some(resource) = self.api.resource(&victim) else {
                continue;
            };
            self.checks.count("hostile: forged Secret");
            self.number += 1;
            let name = match self.random.u8(0..3) {
                0 => format!("forged-{}", self.number),
                // The one that one of its own asks for.
                1 => {
                    let own = self.lasting();
                    self.api.resource(&own).unwrap().spec.secret_name
                }
                _ => resource.spec.secret_name.clone(),
            };
            let place = Place::new(HOSTILE, &name);
            if self.random.bool() && self.api.secret(&place).is_some() {
                self.api.delete_by_hand(&place);
            }
            let expiration = match self.random.bool() {
                true => (self.time.now() + SignedDuration::from_hours(self.random.i64(24..10_000))).to_string(),
                false => FAR.to_owned(),
            };
            let forgery = Forgery {
                owner_name: victim.name.clone(),
                owner_uid: resource.metadata.uid.clone().unwrap_or_default(),
                expiration,
                spec_hash: "0".repeat(64),
            };
            self.api.plant(&place, Some(&forgery));
            let api = self.api.clone();
            let pause = self.random.u64(60..7200);
            tokio::spawn(async move {
                // What says that it belongs to somebody who is not there is collected, or else deleted by hand.
                tokio::time::sleep(Duration::from_secs(pause)).await;
                if api.secret(&place).is_some_and(|stored| stored.content == "foreign") {
                    api.delete_by_hand(&place);
                }
            });
        }
    }
}
