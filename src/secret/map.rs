//! `Map`: a key for each part of the credentials.

use std::collections::BTreeMap;

use super::SecretData;
use crate::credentials::Credentials;

pub(super) const TYPE: &str = "Opaque";

pub(super) fn render(credentials: &Credentials) -> SecretData {
    SecretData(BTreeMap::from([
        ("awsAccessKeyId".to_owned(), credentials.access_key_id.clone()),
        ("awsSecretAccessKey".to_owned(), credentials.secret_access_key.clone()),
        ("awsSessionToken".to_owned(), credentials.session_token.clone()),
    ]))
}
