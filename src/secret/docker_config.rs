//! `EcrDockerConfigJson`: registry logins as the kubelet, Docker, kaniko, buildah and skopeo read them.
//! <https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/>

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::SecretData;
use crate::credentials::{ExposeSecret, RegistryLogin};
use crate::spec::ecr::EcrRepositoryUrl;

pub(super) const TYPE: &str = "kubernetes.io/dockerconfigjson";

/// The key of the Secret.
pub(super) const KEY: &str = ".dockerconfigjson";

/// What it holds where there is no login.
pub(super) const EMPTY: &str = r#"{"auths":{}}"#;

/// Each key is a URL exactly as given, followed by the name of an image where some programs need that. `auth` repeats user name and password
/// for the programs that read nothing else.
pub(super) fn render(logins: &[(&EcrRepositoryUrl, &RegistryLogin)]) -> SecretData {
    let mut entries: Map<String, Value> = Map::new();
    for (url, login) in logins {
        let entry = json!({
            "username": login.username,
            "password": login.password.expose_secret(),
            "auth": login.token().expose_secret(),
        });
        if let Some(name) = url.image_name() {
            entries.insert(name, entry.clone());
        }
        entries.insert(url.url.clone(), entry);
    }
    let config = json!({"auths": entries});
    SecretData(BTreeMap::from([(KEY.to_owned(), config.to_string().into())]))
}
