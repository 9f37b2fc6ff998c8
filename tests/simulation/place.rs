//! Where a resource or a Secret is.

use std::fmt;

/// The namespaces of those who mean well.
pub const NAMESPACES: [&str; 4] = ["alpha", "beta", "gamma", "delta"];

/// The namespace of the one who does not.
pub const HOSTILE: &str = "mallory";

/// A namespace and a name in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub namespace: String,
    pub name: String,
}

impl Place {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Another name in the same namespace.
    pub fn beside(&self, name: &str) -> Self {
        Self::new(&self.namespace, name)
    }

    /// Whether its role is in another account than the operator.
    pub fn is_of_other_account(&self) -> bool {
        self.name.ends_with('3')
    }

    pub fn is_hostile(&self) -> bool {
        self.namespace == HOSTILE
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
