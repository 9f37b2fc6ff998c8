//! What calls came to, as the programs saw it and as AWS did.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::strict_aws::{Request, StrictAws};

/// The calls of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The version of the SDK.
    pub version: String,
    pub calls: u64,
    /// The calls that AWS refused.
    pub refused: u64,
    /// What AWS said to those.
    pub codes: Vec<String>,
    /// The calls that did not come so far.
    pub failed: u64,
    /// What the program said to the first of those.
    pub failure: Option<String>,
    /// Whether a call went well after one that did not.
    pub recovered: bool,
    /// How often the credential process ran.
    pub runs: u64,
}

/// When a program reads a file again that tells no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rereading {
    InTime,
    TooLate,
    Never,
}

impl Tally {
    /// Reads what a program printed, a line for each call. What SDKs print besides, such as warnings, is passed over.
    pub fn read(log: &str) -> Self {
        let mut tally = Self::default();
        for line in log.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "version" => rest.clone_into(&mut tally.version),
                "ok" => tally.recovered |= tally.refused + tally.failed > 0,
                "refused" => {
                    tally.refused += 1;
                    if !tally.codes.iter().any(|code| code == rest) {
                        tally.codes.push(rest.to_owned());
                    }
                }
                "failed" => {
                    tally.failed += 1;
                    tally.failure.get_or_insert_with(|| rest.to_owned());
                }
                _ => continue,
            }
            if word != "version" {
                tally.calls += 1;
            }
        }
        tally
    }

    /// When the program read its file again, in a run that was longer than what was in it was good for.
    pub fn rereading(&self) -> Rereading {
        match (self.refused, self.recovered) {
            (0, _) => Rereading::InTime,
            (_, true) => Rereading::TooLate,
            (_, false) => Rereading::Never,
        }
    }
}

/// How long a call may have been under way. One that began before its credentials ended and came after their end is nobody's fault.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// The sessions of a role, as AWS saw them used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// How many sessions were used.
    pub sessions: usize,
    /// The calls that were refused.
    pub refused: u64,
    /// Those of them that were under way when their session ended.
    pub under_way: u64,
}

impl Use {
    /// What AWS remembers of the sessions of a role.
    pub fn of(aws: &StrictAws, role_arn: &str) -> Self {
        let mut seen = Self::default();
        let mut keys = BTreeSet::new();
        for call in aws.calls() {
            let session = aws
                .principal(&call.access_key_id)
                .and_then(|principal| principal.session);
            let Some(session) = session.filter(|session| session.role_arn == role_arn) else {
                continue;
            };
            if !matches!(call.request, Request::GetCallerIdentity | Request::HeadBucket) {
                continue;
            }
            if call.refused.is_some() {
                seen.refused += 1;
                seen.under_way += u64::from(call.at < session.expiration + UNDER_WAY);
            }
            keys.insert(call.access_key_id);
        }
        seen.sessions = keys.len();
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_a_line() {
        let tally =
            Tally::read("version 1.2\na warning\nok\nrefused ExpiredToken\nrefused ExpiredToken\nfailed no cat\n");
        assert_eq!(tally.version, "1.2");
        assert_eq!((tally.calls, tally.refused, tally.failed), (4, 2, 1));
        assert_eq!(tally.codes, ["ExpiredToken"]);
        assert_eq!(tally.failure.as_deref(), Some("no cat"));
        assert_eq!(tally.rereading(), Rereading::Never);
    }

    #[test]
    fn who_goes_on_after_a_refusal_read_too_late() {
        assert_eq!(Tally::read("ok\nok\n").rereading(), Rereading::InTime);
        assert_eq!(
            Tally::read("ok\nrefused ExpiredToken\nok\n").rereading(),
            Rereading::TooLate
        );
    }
}
