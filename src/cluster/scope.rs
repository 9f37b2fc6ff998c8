//! What a watch is on: all namespaces, or one. Each watch has a list of its own, so the end of one says nothing about what another shows.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// All namespaces, or one of them. As Kubernetes has it, the empty name stands for all.
/// <https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/apis/meta/v1/types.go> (`NamespaceAll`)
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// All namespaces.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// That namespace.
    #[must_use]
    pub fn of(namespace: &str) -> Self {
        Self(namespace.into())
    }

    /// The namespace, if it is one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        Some(&*self.0).filter(|name| !name.is_empty())
    }

    /// Whether what is in that namespace belongs to it.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespace().is_none_or(|own| own == namespace)
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            Some(namespace) => write!(f, "namespace {namespace}"),
            None => f.write_str("all namespaces"),
        }
    }
}
