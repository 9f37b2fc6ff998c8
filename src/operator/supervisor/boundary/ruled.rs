//! What the policies say of a resource, as far as the supervisor has to know it.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::refresh::policy::Ruling;
use crate::refresh::standing::WentBy;

/// What the policies say of a resource, as far as the supervisor has to know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::operator::supervisor) enum Ruled {
    /// Nothing is known.
    #[default]
    Unknown,
    /// A policy permits what it asks for, or there are none.
    Permitted,
    /// No policy names its namespace.
    Unlisted,
    /// It is refused, for a reason with that hash.
    Denied(u64),
}

impl From<Option<Ruling>> for Ruled {
    fn from(ruling: Option<Ruling>) -> Self {
        match ruling {
            None | Some(Ruling::Held(_)) => Self::Unknown,
            Some(Ruling::Permitted) => Self::Permitted,
            Some(Ruling::Unlisted) => Self::Unlisted,
            Some(Ruling::Denied(denial)) => {
                let mut hasher = DefaultHasher::new();
                denial.to_string().hash(&mut hasher);
                Self::Denied(hasher.finish())
            }
        }
    }
}

impl Ruled {
    /// The words for it in the metric, each with its number among the resources.
    pub(in crate::operator::supervisor) fn count(all: impl Iterator<Item = Self>) -> [(&'static str, usize); 4] {
        let mut counts = [("permitted", 0), ("unlisted", 0), ("denied", 0), ("unknown", 0)];
        for ruled in all {
            let place = match ruled {
                Self::Permitted => 0,
                Self::Unlisted => 1,
                Self::Denied(_) => 2,
                Self::Unknown => 3,
            };
            counts[place].1 += 1;
        }
        counts
    }

    /// Whether the last cycle of a resource went by another ruling: one that held for a moment, between two changes that came close together, or
    /// none, since it could not know who the operator is. One that could not know of a permission tries again by itself.
    pub(in crate::operator::supervisor) fn contradicts(self, went_by: WentBy) -> bool {
        match self {
            Self::Unknown => false,
            Self::Permitted | Self::Unlisted => went_by == WentBy::Refusal,
            Self::Denied(_) => matches!(went_by, WentBy::Permission | WentBy::Unknown),
        }
    }

    /// Whether a resource has to hear of it that rests since it was ruled on otherwise. One that may have its role now, and of which it was not
    /// known, goes on as it was unless it failed.
    pub(super) fn is_news(self, before: Self, failed: bool) -> bool {
        match self {
            Self::Unknown => false,
            Self::Denied(_) | Self::Unlisted => self != before,
            Self::Permitted => {
                matches!(before, Self::Denied(_) | Self::Unlisted) || (before == Self::Unknown && failed)
            }
        }
    }
}
