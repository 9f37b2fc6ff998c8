//! The operators. Each pays for the bytes that it looks at or makes before it does so.

use std::cmp::Ordering;

use minijinja::machinery::ast::{BinOpKind, CompareOpKind};

use super::filters::text;
use super::value::{STEP, Value, Work};

/// An operator between two values. `and` and `or` do not come here: they may leave their right side alone.
pub(super) fn binary(operator: BinOpKind, left: &Value, right: &Value, work: &mut Work) -> Result<Value, String> {
    let compared = |operator, work: &mut Work| compare(operator, left, right, work).map(Value::Bool);
    match operator {
        BinOpKind::Eq => compared(CompareOpKind::Eq, work),
        BinOpKind::Ne => compared(CompareOpKind::Ne, work),
        BinOpKind::Lt => compared(CompareOpKind::Lt, work),
        BinOpKind::Lte => compared(CompareOpKind::Lte, work),
        BinOpKind::Gt => compared(CompareOpKind::Gt, work),
        BinOpKind::Gte => compared(CompareOpKind::Gte, work),
        BinOpKind::In => compared(CompareOpKind::In, work),
        BinOpKind::Concat => concat(left, right, work),
        BinOpKind::Add => match (left, right) {
            (Value::Int(left), Value::Int(right)) => number(left.checked_add(*right)),
            (Value::Text(_), Value::Text(_)) => concat(left, right, work),
            _ => Err(unsuitable("+", left, right)),
        },
        BinOpKind::Sub => arithmetic("-", left, right, i64::checked_sub),
        BinOpKind::FloorDiv => arithmetic("//", left, right, i64::checked_div_euclid),
        BinOpKind::Rem => arithmetic("%", left, right, i64::checked_rem_euclid),
        BinOpKind::Mul | BinOpKind::Div | BinOpKind::Pow => {
            Err("the operators *, / and ** are not available in templates".to_owned())
        }
        BinOpKind::ScAnd | BinOpKind::ScOr => Err("and and or have two sides".to_owned()),
    }
}

/// Whether a comparison holds.
pub(super) fn compare(operator: CompareOpKind, left: &Value, right: &Value, work: &mut Work) -> Result<bool, String> {
    match operator {
        CompareOpKind::Eq => equal(left, right, work),
        CompareOpKind::Ne => equal(left, right, work).map(|equal| !equal),
        CompareOpKind::Lt => Ok(order("<", left, right, work)?.is_lt()),
        CompareOpKind::Lte => Ok(order("<=", left, right, work)?.is_le()),
        CompareOpKind::Gt => Ok(order(">", left, right, work)?.is_gt()),
        CompareOpKind::Gte => Ok(order(">=", left, right, work)?.is_ge()),
        CompareOpKind::In => contains(right, left, work),
        CompareOpKind::NotIn => contains(right, left, work).map(|contains| !contains),
    }
}

pub(super) fn negate(value: &Value) -> Result<Value, String> {
    match value {
        Value::Int(value) => number(value.checked_neg()),
        other => Err(format!("- takes a number, not a {}", other.kind())),
    }
}

/// An item of a list, or a character of a text. A negative index counts from the end.
pub(super) fn item(value: &Value, index: &Value, work: &mut Work) -> Result<Value, String> {
    let Value::Int(index) = index else {
        return Err(format!("an index is a number, not a {}", index.kind()));
    };
    let position = |length: usize| position(*index, length).filter(|position| *position < length);
    Ok(match value {
        Value::List(items) => position(items.len()).and_then(|position| items.get(position).cloned()),
        Value::Text(text) => {
            work.pay(2 * text.len())?;
            position(text.chars().count())
                .and_then(|position| text.chars().nth(position))
                .map(|char| Value::Text(char.to_string().into()))
        }
        other => return Err(format!("a {} has no items", other.kind())),
    }
    .unwrap_or(Value::Undefined))
}

/// Part of a list or a text.
pub(super) fn slice(
    value: &Value,
    start: Option<&Value>,
    stop: Option<&Value>,
    work: &mut Work,
) -> Result<Value, String> {
    let range = |length: usize| {
        let bound = |bound: Option<&Value>, otherwise: usize| match bound {
            None | Some(Value::None) => Ok(otherwise),
            Some(Value::Int(bound)) => Ok(position(*bound, length).unwrap_or_default().min(length)),
            Some(other) => Err(format!("a slice is bounded by numbers, not by a {}", other.kind())),
        };
        let (start, stop) = (bound(start, 0)?, bound(stop, length)?);
        Ok::<_, String>((start, stop.saturating_sub(start)))
    };
    match value {
        Value::List(items) => {
            let (start, length) = range(items.len())?;
            work.pay(length.saturating_mul(STEP))?;
            Ok(Value::List(items.iter().skip(start).take(length).cloned().collect()))
        }
        Value::Text(text) => {
            work.pay(2 * text.len())?;
            let (start, length) = range(text.chars().count())?;
            work.text(text.chars().skip(start).take(length).collect::<String>())
        }
        other => Err(format!("a {} cannot be sliced", other.kind())),
    }
}

/// Where an index points to, if it is not before the beginning.
fn position(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

fn concat(left: &Value, right: &Value, work: &mut Work) -> Result<Value, String> {
    let (left, right) = (text(left, "each side of ~")?, text(right, "each side of ~")?);
    work.pay_text(left.len() + right.len())?;
    Ok(Value::Text(format!("{left}{right}").into()))
}

fn arithmetic(
    name: &str,
    left: &Value,
    right: &Value,
    operation: impl Fn(i64, i64) -> Option<i64>,
) -> Result<Value, String> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => number(operation(*left, *right)),
        _ => Err(unsuitable(name, left, right)),
    }
}

fn number(result: Option<i64>) -> Result<Value, String> {
    let too_large = "a division by zero, or a number of more than 64 bits";
    result.map(Value::Int).ok_or_else(|| too_large.to_owned())
}

fn equal(left: &Value, right: &Value, work: &mut Work) -> Result<bool, String> {
    Ok(match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            work.pay(left.len().min(right.len()))?;
            left == right
        }
        (Value::List(left), Value::List(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            for (left, right) in left.iter().zip(right.iter()) {
                work.pay(STEP)?;
                if !equal(left, right, work)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::None, Value::None) => true,
        _ => false,
    })
}

fn order(name: &str, left: &Value, right: &Value, work: &mut Work) -> Result<Ordering, String> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => {
            work.pay(left.len().min(right.len()))?;
            Ok(left.cmp(right))
        }
        (Value::Int(left), Value::Int(right)) => Ok(left.cmp(right)),
        _ => Err(unsuitable(name, left, right)),
    }
}

fn contains(whole: &Value, part: &Value, work: &mut Work) -> Result<bool, String> {
    match (whole, part) {
        (Value::Text(whole), Value::Text(part)) => {
            work.pay(whole.len() + part.len())?;
            Ok(whole.contains(part.as_ref()))
        }
        (Value::List(items), part) => {
            for item in items.iter() {
                work.pay(STEP)?;
                if equal(item, part, work)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Err(unsuitable("in", part, whole)),
    }
}

fn unsuitable(operator: &str, left: &Value, right: &Value) -> String {
    format!(
        "{operator} does not go between a {} and a {}",
        left.kind(),
        right.kind()
    )
}
