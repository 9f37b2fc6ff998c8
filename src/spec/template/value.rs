//! What the engine computes with, and the account of the work that it does.

use std::rc::Rc;

/// How much work the templates of one resource may make, in units of about a nanosecond: a byte that is read or written costs one. This
/// is far below a second, and far above what 64 KiB of templates need that do not loop for the sake of it.
const WORK_MAX: usize = 10_000_000;

/// What a step costs: a statement, an operator, a filter, an item of a list. It is the price of a small allocation or two, so that it
/// bounds the memory as well.
pub(super) const STEP: usize = 64;

/// The most bytes of a text on the way. A Secret's whole content may have four times as much.
pub(super) const TEXT_MAX: usize = 256 << 10;

/// A value. Lists hold no lists: whatever is done with a value takes time in proportion to the bytes that were paid for.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A variable, an item or an attribute that does not exist.
    Undefined,
    None,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    List(Rc<[Value]>),
}

impl Value {
    /// What an error calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Undefined => "undefined value",
            Self::None => "none",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "number",
            Self::Text(_) => "text",
            Self::List(_) => "list",
        }
    }

    /// Whether it counts as true in a condition, as in Jinja.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(number) => *number != 0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
        }
    }

    /// A number that was written or counted.
    pub(super) fn count(number: usize) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// The work that is left.
#[derive(Debug)]
pub(super) struct Work(usize);

impl Work {
    /// All of it.
    pub(super) fn new() -> Self {
        Self(WORK_MAX)
    }

    /// Pays for work that is about to be done.
    pub(super) fn pay(&mut self, units: usize) -> Result<(), String> {
        match self.0.checked_sub(units) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => {
                // What catches this must not go on with something cheaper.
                self.0 = 0;
                Err("the templates take too much work: shorten their loops and texts".to_owned())
            }
        }
    }

    /// Pays for a text of so many bytes that is about to be made.
    pub(super) fn pay_text(&mut self, bytes: usize) -> Result<(), String> {
        if bytes > TEXT_MAX {
            return Err(format!("a text would have more than {TEXT_MAX} bytes (256 KiB)"));
        }
        self.pay(bytes)
    }

    /// A text that was paid for while it was made, or is no longer than what was.
    pub(super) fn text(&mut self, text: impl AsRef<str> + Into<Rc<str>>) -> Result<Value, String> {
        self.pay_text(text.as_ref().len())?;
        Ok(Value::Text(text.into()))
    }
}
