//! Short digests of text, for names and hashes that must be the same in every release.

use sha2::{Digest, Sha256};

/// How many hexadecimal digits a hash in an annotation has: 128 bits.
const HASH_LENGTH: usize = 32;

/// The SHA-256 of some bytes, in lower-case hexadecimal digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash of some bytes as annotations carry it.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    let mut text = sha256(bytes);
    text.truncate(HASH_LENGTH);
    text
}
