//! Bad input: malformed, garbled and hostile, made from bytes, and what must hold of the operator whatever it is given.
//!
//! Each `holds` takes some bytes and panics where something does not hold. The fuzz targets in `tests/fuzz` find the bytes with libFuzzer. The
//! tests here take some at random, so that what holds is looked at with every test run. The stories make resources of the same kinds for a
//! real API server.

pub mod aws_answer;
mod aws_answers;
pub mod choices;
pub mod ecr_url;
pub mod json;
pub mod spec;
pub mod specs;
pub mod status;
pub mod template;
mod templates;
pub mod watch;

use aws_assume_role::credentials::Credentials;
use aws_assume_role::digest;

use self::choices::Choices;

/// Something that nobody is to see, and that no input can hold, since it depends on all of it.
struct Planted(String);

impl Planted {
    fn in_answer_to(data: &[u8]) -> Self {
        Self(digest::sha256(data))
    }

    /// Credentials of three parts. Each of them would give it away.
    fn credentials(&self) -> Credentials {
        Credentials {
            access_key_id: format!("ASIA{}", self.0).into(),
            secret_access_key: format!("{}/+=", self.0).into(),
            session_token: format!("token-{}", self.0).into(),
        }
    }

    /// It is nowhere in a text.
    fn is_not_in(&self, text: &str) {
        assert!(!text.contains(&self.0), "it gives credentials away: {text}");
    }
}

/// What the bytes say: themselves as a text, or choices from which something is made.
enum Input<'a> {
    Text(String),
    Choices(Choices<'a>),
}

impl<'a> Input<'a> {
    fn of(data: &'a [u8]) -> Self {
        let mut choices = Choices::new(data);
        match choices.one_in(2) {
            true => Self::Text(choices.rest()),
            false => Self::Choices(choices),
        }
    }
}

/// The bytes of a seed, for whoever has no fuzzer to choose them.
pub fn bytes_of(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// What a person is shown: something, and no more than fits a condition.
fn is_told(text: &str) {
    assert!(!text.is_empty(), "nothing is told");
    assert!(text.len() <= 8192, "{} bytes are told: {text:.200}", text.len());
}

#[cfg(test)]
mod tests;
