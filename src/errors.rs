//! How an error is put into words.

use std::error::Error;

/// The messages of an error and its causes, each once.
#[must_use]
pub fn chain_of(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in causes(error) {
        let message = cause.to_string();
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    messages.join(": ")
}

/// An error and its causes, from the outside in.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}
