//! Which role is meant, and the name under which its session appears in CloudTrail.

use crate::digest;

/// A role as the spec names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleReference {
    /// A role of the operator's own account, with its path if it has one.
    Name(String),
    /// Any role, by its full ARN.
    Arn(String),
}

impl RoleReference {
    /// The ARN, if it can be known without knowing who the operator is.
    #[must_use]
    pub fn known_arn(&self) -> Option<&str> {
        match self {
            Self::Arn(arn) => Some(arn),
            Self::Name(_) => None,
        }
    }
}

/// `RoleSessionName` is 2 to 64 of `[\w+=,.@-]`.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
const SESSION_NAME_MAX: usize = 64;

/// How much of the hash a cut name carries: 48 bits, so that among a million long names a clash has odds of about one in 500.
const HASH_LENGTH: usize = 12;

/// The session name of a resource: `<namespace>.<name>`, cut and marked with a hash of the whole where it is too long.
///
/// A namespace holds no dot, so the whole is unambiguous; Kubernetes names hold only characters that AWS allows here.
#[must_use]
pub fn session_name(namespace: &str, name: &str) -> String {
    let whole = format!("{namespace}.{name}");
    if whole.len() <= SESSION_NAME_MAX {
        return whole;
    }
    let hash = digest::sha256(whole.as_bytes());
    // Names are ASCII, but a cut must not panic even if one were not.
    let kept: String = whole.chars().take(SESSION_NAME_MAX - HASH_LENGTH - 1).collect();
    format!("{kept}-{}", &hash[..HASH_LENGTH])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_session_name_is_always_valid(
            namespace in "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
            name in "[a-z0-9]([-.a-z0-9]{0,200}[a-z0-9])?",
        ) {
            let session = session_name(&namespace, &name);
            prop_assert!((2..=64).contains(&session.len()));
            prop_assert!(session.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b)));
            prop_assert!(session.starts_with(&namespace[..namespace.len().min(51)]));
        }

        #[test]
        fn names_that_differ_only_behind_the_cut_stay_apart(
            namespace in "[a-z]{60}",
            one in "[a-z]{10,100}",
            other in "[a-z]{10,100}",
        ) {
            prop_assume!(one != other);
            prop_assert_ne!(session_name(&namespace, &one), session_name(&namespace, &other));
        }
    }
}
