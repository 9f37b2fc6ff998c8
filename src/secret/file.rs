//! `File`: an AWS shared credentials file.
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::collections::BTreeMap;

use super::SecretData;
use crate::credentials::{Credentials, ExposeSecret};

pub(super) const TYPE: &str = "Opaque";

pub(super) fn render(credentials: &Credentials) -> SecretData {
    let file = format!(
        "[default]\naws_access_key_id={}\naws_secret_access_key={}\naws_session_token={}\n",
        credentials.access_key_id.expose_secret(),
        credentials.secret_access_key.expose_secret(),
        credentials.session_token.expose_secret(),
    );
    SecretData(BTreeMap::from([("credentials".to_owned(), file.into())]))
}
