//! What is asked about: a resource, or a role that no resource names yet.

use thiserror::Error;

use crate::spec::names::{is_namespace, is_object_name};

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A resource.
    Resource {
        /// Its namespace, where it is given.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
    /// A role.
    Role {
        /// Its ARN.
        arn: String,
        /// The namespace that a resource would be in, where it is given.
        namespace: Option<String>,
    },
}

/// A text that can be neither.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTarget {
    /// No name, and no ARN.
    #[error("{0:?} is neither a resource, as in my-app or team-a/my-app, nor the ARN of a role")]
    Name(String),
    /// Two namespaces.
    #[error("{0:?} names another namespace than --namespace does: leave one of them out")]
    Namespaces(String),
}

impl Target {
    /// Reads what is given on the command line.
    ///
    /// # Errors
    /// [`InvalidTarget`] says what to write instead.
    pub fn parse(text: &str, namespace: Option<&str>) -> Result<Self, InvalidTarget> {
        let given = namespace.map(str::to_owned);
        if text.starts_with("arn:") {
            return match text.split(':').count() == 6 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
                true => Ok(Self::Role {
                    arn: text.to_owned(),
                    namespace: given,
                }),
                false => Err(InvalidTarget::Name(text.to_owned())),
            };
        }
        let (own, name) = match text.split_once('/') {
            Some((own, name)) => (Some(own), name),
            None => (None, text),
        };
        if !is_object_name(name) || !own.is_none_or(is_namespace) {
            return Err(InvalidTarget::Name(text.to_owned()));
        }
        if own.is_some() && namespace.is_some() && own != namespace {
            return Err(InvalidTarget::Namespaces(text.to_owned()));
        }
        Ok(Self::Resource {
            namespace: own.map(str::to_owned).or(given),
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(namespace: Option<&str>, name: &str) -> Target {
        Target::Resource {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_resource_is_told_from_a_role() {
        assert_eq!(Target::parse("app", None), Ok(resource(None, "app")));
        assert_eq!(Target::parse("app", Some("team")), Ok(resource(Some("team"), "app")));
        assert_eq!(Target::parse("team/app", None), Ok(resource(Some("team"), "app")));
        assert_eq!(
            Target::parse("team/app", Some("team")),
            Ok(resource(Some("team"), "app"))
        );
        let arn = "arn:aws:iam::123456789012:role/team/app";
        let role = Target::Role {
            arn: arn.to_owned(),
            namespace: None,
        };
        assert_eq!(Target::parse(arn, None), Ok(role));
        assert_eq!(
            Target::parse("team/app", Some("other")),
            Err(InvalidTarget::Namespaces("team/app".to_owned()))
        );
        for bad in ["", "a/b/c", "Team/app", "a?b", "arn:aws:iam", "arn:aws:iam::1:role/a b"] {
            assert!(Target::parse(bad, None).is_err(), "{bad}");
        }
    }
}
