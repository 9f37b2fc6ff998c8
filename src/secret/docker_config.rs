//! `EcrDockerConfigJson`: a registry login as the kubelet, Docker, kaniko, buildah and skopeo read it.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/>

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::SecretData;
use crate::credentials::{ExposeSecret, RegistryLogin};

pub(super) const TYPE: &str = "kubernetes.io/dockerconfigjson";

/// The key is the URL exactly as given. `auth` repeats user name and password for the programs that read nothing else.
pub(super) fn render(url: &str, login: &RegistryLogin) -> SecretData {
    let password = login.password.expose_secret();
    let auth = BASE64_STANDARD.encode(format!("{}:{password}", login.username));
    let config = json!({
        "auths": {
            url: {"username": login.username, "password": password, "auth": auth}
        }
    });
    SecretData(BTreeMap::from([(
        ".dockerconfigjson".to_owned(),
        config.to_string().into(),
    )]))
}
