//! What is wrong with the Secrets of a snapshot: not made, not gone, expired.

use k8s_openapi::jiff::Timestamp;

use super::conditions::Wrong;

/// The kinds that [`wrong`] gives besides [`Wrong::Expired`].
pub const OTHER_KINDS: [Wrong; 4] = [Wrong::Unmade, Wrong::Orphaned, Wrong::LeftOver, Wrong::Unsaid];

/// A resource as it was seen.
#[derive(Clone, Debug)]
pub struct SeenResource {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub secret_name: String,
    /// The `type` of its Secret.
    pub secret_type: String,
    pub role_arn: String,
    pub suspended: bool,
    /// The reason of its condition `Ready`, if that speaks of the present spec, and whether it is true.
    pub ready: Option<(bool, String)>,
}

/// A Secret as it was seen.
#[derive(Clone, Debug)]
pub struct SeenSecret {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub type_: String,
    /// The UID of the resource that controls it, if one does.
    pub controller: Option<String>,
    /// Whose credentials it holds, if it holds any that AWS knows.
    pub held: Option<Held>,
    /// The whole object.
    pub text: String,
}

/// Credentials.
#[derive(Clone, Debug)]
pub struct Held {
    pub role_arn: String,
    pub expiration: Timestamp,
}

/// All resources and Secrets at a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What time it was for AWS.
    pub aws_now: Timestamp,
    pub resources: Vec<SeenResource>,
    pub secrets: Vec<SeenSecret>,
}

impl SeenResource {
    pub fn subject(&self) -> String {
        format!("{}/{} ({})", self.namespace, self.name, self.uid)
    }
}

impl SeenSecret {
    pub fn subject(&self) -> String {
        format!("Secret {}/{} ({})", self.namespace, self.name, self.uid)
    }
}

impl Snapshot {
    /// The Secret that a resource asks for, whosever it is.
    pub fn wanted(&self, resource: &SeenResource) -> Option<&SeenSecret> {
        let is_it =
            |secret: &&SeenSecret| secret.namespace == resource.namespace && secret.name == resource.secret_name;
        self.secrets.iter().find(is_it)
    }

    fn owner(&self, secret: &SeenSecret) -> Option<&SeenResource> {
        let controller = secret.controller.as_ref()?;
        self.resources
            .iter()
            .find(|resource| resource.uid == *controller && resource.namespace == secret.namespace)
    }
}

/// What is wrong in a snapshot, each with its subject.
pub fn wrong(snapshot: &Snapshot) -> Vec<(Wrong, String)> {
    let mut wrong = Vec::new();
    for resource in snapshot.resources.iter().filter(|resource| !resource.suspended) {
        let secret = snapshot.wanted(resource);
        let said = match secret {
            Some(secret) if secret.controller.is_none() => (false, "SecretConflict"),
            Some(secret) if is_as_wanted(resource, secret) => (true, "Issued"),
            _ => {
                wrong.push((Wrong::Unmade, resource.subject()));
                continue;
            }
        };
        let ready = resource.ready.as_ref().map(|(ready, reason)| (*ready, reason.as_str()));
        if ready != Some(said) {
            wrong.push((Wrong::Unsaid, resource.subject()));
        }
    }
    for secret in snapshot.secrets.iter().filter(|secret| secret.controller.is_some()) {
        let Some(owner) = snapshot.owner(secret) else {
            wrong.push((Wrong::Orphaned, secret.subject()));
            continue;
        };
        if owner.suspended {
            continue;
        }
        if owner.secret_name != secret.name {
            wrong.push((Wrong::LeftOver, secret.subject()));
        } else if secret
            .held
            .as_ref()
            .is_some_and(|held| held.expiration <= snapshot.aws_now)
        {
            wrong.push((Wrong::Expired, secret.subject()));
        }
    }
    wrong
}

fn is_as_wanted(resource: &SeenResource, secret: &SeenSecret) -> bool {
    secret.controller.as_ref() == Some(&resource.uid)
        && secret.type_ == resource.secret_type
        && secret
            .held
            .as_ref()
            .is_some_and(|held| held.role_arn == resource.role_arn)
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::super::conditions::Conditions;
    use super::super::timeline::Timeline;
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// One resource with its Secret, which is good for another minute.
    pub fn snapshot() -> Snapshot {
        let resource = SeenResource {
            namespace: "team".to_owned(),
            name: "a".to_owned(),
            uid: "uid-a".to_owned(),
            secret_name: "s-a".to_owned(),
            secret_type: "Opaque".to_owned(),
            role_arn: "arn-a".to_owned(),
            suspended: false,
            ready: Some((true, "Issued".to_owned())),
        };
        let secret = SeenSecret {
            namespace: "team".to_owned(),
            name: "s-a".to_owned(),
            uid: "uid-s".to_owned(),
            type_: "Opaque".to_owned(),
            controller: Some("uid-a".to_owned()),
            held: Some(Held {
                role_arn: "arn-a".to_owned(),
                expiration: NOW + Duration::from_secs(60),
            }),
            text: "{}".to_owned(),
        };
        Snapshot {
            aws_now: NOW,
            resources: vec![resource],
            secrets: vec![secret],
        }
    }

    fn wrongs(change: impl FnOnce(&mut Snapshot)) -> Vec<Wrong> {
        let mut changed = snapshot();
        change(&mut changed);
        wrong(&changed).into_iter().map(|(wrong, _)| wrong).collect()
    }

    #[test]
    fn a_secret_as_it_should_be_is_not_wrong() {
        assert_eq!(wrongs(|_| ()), []);
    }

    #[test]
    fn what_is_missing_spoilt_or_of_another_is_unmade() {
        assert_eq!(wrongs(|all| all.secrets.clear()), [Wrong::Unmade]);
        assert_eq!(wrongs(|all| all.secrets[0].held = None), [Wrong::Unmade]);
        let other_type = wrongs(|all| all.secrets[0].type_ = "kubernetes.io/dockerconfigjson".to_owned());
        assert_eq!(other_type, [Wrong::Unmade]);
        let other_role = wrongs(|all| all.resources[0].role_arn = "arn-b".to_owned());
        assert_eq!(other_role, [Wrong::Unmade]);
        let of_an_earlier_one = wrongs(|all| all.secrets[0].controller = Some("uid-before".to_owned()));
        assert_eq!(of_an_earlier_one, [Wrong::Unmade, Wrong::Orphaned]);
        // A UID in another namespace says nothing.
        let elsewhere = wrongs(|all| all.secrets[0].namespace = "other".to_owned());
        assert_eq!(elsewhere, [Wrong::Unmade, Wrong::Orphaned]);
    }

    #[test]
    fn what_is_gone_or_renamed_leaves_no_secret() {
        assert_eq!(wrongs(|all| all.resources.clear()), [Wrong::Orphaned]);
        let renamed = wrongs(|all| all.resources[0].secret_name = "s-b".to_owned());
        assert_eq!(renamed, [Wrong::Unmade, Wrong::LeftOver]);
    }

    #[test]
    fn credentials_expire_by_the_clock_of_aws() {
        assert_eq!(
            wrongs(|all| all.aws_now = NOW + Duration::from_secs(60)),
            [Wrong::Expired]
        );
        let suspended = wrongs(|all| {
            all.aws_now = NOW + Duration::from_secs(60);
            all.resources[0].suspended = true;
        });
        assert_eq!(suspended, []);
    }

    #[test]
    fn a_foreign_secret_is_a_conflict_that_the_status_tells() {
        assert_eq!(wrongs(|all| all.secrets[0].controller = None), [Wrong::Unsaid]);
        let told = wrongs(|all| {
            all.secrets[0].controller = None;
            all.resources[0].ready = Some((false, "SecretConflict".to_owned()));
        });
        assert_eq!(told, []);
        assert_eq!(wrongs(|all| all.resources[0].ready = None), [Wrong::Unsaid]);
    }

    /// What is found when a Secret is changed from the tenth second on, until it is put right or for good.
    fn found_after(change: impl Fn(&mut Snapshot), put_right: Option<u64>) -> Vec<String> {
        let (mut conditions, timeline) = (Conditions::default(), Timeline::default());
        let mut found = Vec::new();
        for second in 0..120 {
            let mut seen = snapshot();
            if second >= 10 && put_right.is_none_or(|right| second < right) {
                change(&mut seen);
            }
            let at = Duration::from_secs(second);
            let kinds = [&[Wrong::Expired][..], &OTHER_KINDS].concat();
            found.extend(conditions.see(at, &kinds, wrong(&seen), &timeline));
        }
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn an_intruder_is_no_offence_but_what_he_did_may_not_stay() {
        let spoil = |all: &mut Snapshot| all.secrets[0].held = None;
        assert!(found_after(spoil, Some(40)).is_empty());
        assert_eq!(found_after(spoil, None).len(), 1);
    }

    /// A Secret that is deleted while the operator stands still, and nothing went wrong that would excuse it.
    #[test]
    fn a_secret_that_nobody_makes_again_is_found() {
        let delete = |all: &mut Snapshot| all.secrets.clear();
        assert!(found_after(delete, Some(40)).is_empty());
        let found = found_after(delete, None);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("team/a (uid-a) has no Secret as it asks for"),
            "{found:?}"
        );
    }

    #[test]
    fn expired_credentials_are_found_within_seconds() {
        let expire = |all: &mut Snapshot| all.aws_now = NOW + Duration::from_secs(60);
        assert!(found_after(expire, Some(20)).is_empty());
        assert_eq!(found_after(expire, Some(30)).len(), 1);
    }
}
