//! `CredentialProcess`: a configuration whose `credential_process` prints the credentials with their end. AWS SDKs run it again when they
//! run out, so that a pod that runs for long needs no restart.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::SecretData;
use crate::credentials::{Credentials, ExposeSecret};

pub(super) const TYPE: &str = "Opaque";

/// Mounted at `/.aws`, as the credentials file of the predecessors is.
const CONFIG: &str = "[default]\ncredential_process = cat /.aws/credentials.json\n";

pub(super) fn render(credentials: &Credentials, expiration: Timestamp) -> SecretData {
    let document = json!({
        "Version": 1,
        "AccessKeyId": credentials.access_key_id.expose_secret(),
        "SecretAccessKey": credentials.secret_access_key.expose_secret(),
        "SessionToken": credentials.session_token.expose_secret(),
        "Expiration": expiration.to_string(),
    });
    SecretData(BTreeMap::from([
        ("config".to_owned(), CONFIG.into()),
        ("credentials.json".to_owned(), document.to_string().into()),
    ]))
}
