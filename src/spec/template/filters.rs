//! The filters. Each pays for its result before it makes it, so that none can be made to fill the memory.

use std::rc::Rc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::format;
use super::value::{STEP, TEXT_MAX, Value, Work};

/// The arguments of a filter: those by position first, then by name.
pub(super) struct Arguments<'a> {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(&'a str, Value)>,
}

impl Arguments<'_> {
    /// The argument of that name, which is the next by position where it is not named.
    fn take(&mut self, name: &str) -> Option<Value> {
        if let Some(at) = self.named.iter().position(|(named, _)| *named == name) {
            return Some(self.named.remove(at).1);
        }
        (!self.positional.is_empty()).then(|| self.positional.remove(0))
    }

    fn text(&mut self, name: &str) -> Result<Option<Rc<str>>, String> {
        self.take(name).map(|value| text(&value, name)).transpose()
    }

    fn required_text(&mut self, name: &str) -> Result<Rc<str>, String> {
        self.text(name)?
            .ok_or_else(|| format!("the argument {name} is missing"))
    }

    fn count(&mut self, name: &str) -> Result<Option<usize>, String> {
        let count = |value| match value {
            Value::Int(number) => usize::try_from(number).map_err(|_| format!("{name} must not be negative")),
            other => Err(format!("{name} must be a number, not a {}", other.kind())),
        };
        self.take(name).map(count).transpose()
    }

    fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some_and(|value| value.is_true())
    }

    /// All have been taken.
    fn end(self) -> Result<(), String> {
        match self.positional.is_empty() && self.named.is_empty() {
            true => Ok(()),
            false => Err("it has an argument that it does not know".to_owned()),
        }
    }
}

/// Applies a filter. Only `default` is given an undefined value.
pub(super) fn apply(name: &str, input: Value, mut given: Arguments<'_>, work: &mut Work) -> Result<Value, String> {
    if let Value::Text(text) = &input {
        work.pay(text.len())?;
    }
    let result = match name {
        "default" => {
            let otherwise = given.take("default_value").unwrap_or_else(|| Value::Text("".into()));
            let empty_too = given.flag("boolean");
            match matches!(input, Value::Undefined) || (empty_too && !input.is_true()) {
                true => otherwise,
                false => input,
            }
        }
        "upper" => work.text(text(&input, "it")?.to_uppercase())?,
        "lower" => work.text(text(&input, "it")?.to_lowercase())?,
        "trim" => trim(&text(&input, "it")?, given.text("chars")?, work)?,
        "urlencode" => urlencode(&text(&input, "it")?, work)?,
        "tojson" => tojson(&input, work)?,
        "b64encode" => {
            let text = text(&input, "it")?;
            work.pay_text(text.len().div_ceil(3) * 4)?;
            Value::Text(BASE64_STANDARD.encode(text.as_bytes()).into())
        }
        "escape" | "e" => escape(&text(&input, "it")?, work)?,
        "replace" => {
            let (from, to) = (given.required_text("old")?, given.required_text("new")?);
            let count = given.count("count")?;
            replace(&text(&input, "it")?, &from, &to, count, work)?
        }
        "indent" => {
            let width = given.count("width")?.unwrap_or(4);
            let (first, blank) = (given.flag("first"), given.flag("blank"));
            indent(&text(&input, "it")?, width, first, blank, work)?
        }
        "join" => join(&input, &given.text("d")?.unwrap_or_else(|| "".into()), work)?,
        "split" => split(&text(&input, "it")?, given.text("sep")?, given.count("maxsplit")?, work)?,
        "format" => {
            let values = std::mem::take(&mut given.positional);
            format::format(&text(&input, "it")?, &values, work)?
        }
        "first" => end_of(&input, <[Value]>::first, |text| text.chars().next())?,
        "last" => end_of(&input, <[Value]>::last, |text| text.chars().next_back())?,
        "length" => match &input {
            Value::List(items) => Value::count(items.len()),
            other => Value::count(text(other, "it")?.chars().count()),
        },
        _ => return Err(format!("there is no filter {name}")),
    };
    given.end()?;
    Ok(result)
}

/// A value as it is printed.
pub(super) fn text(value: &Value, what: &str) -> Result<Rc<str>, String> {
    Ok(match value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string().into(),
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::None => "none".into(),
        Value::List(_) => return Err(format!("{what} must be a text, not a list: use join")),
        Value::Undefined => return Err(format!("{what} is undefined")),
    })
}

fn trim(text: &str, chars: Option<Rc<str>>, work: &mut Work) -> Result<Value, String> {
    match chars {
        None => work.text(text.trim()),
        Some(chars) => {
            work.pay(text.len().saturating_mul(chars.len()))?;
            work.text(text.trim_matches(|char| chars.contains(char)))
        }
    }
}

/// Everything but RFC 3986's unreserved characters, so that the result can stand anywhere in a URL. Jinja leaves `/` as it is, which in the
/// password of a URL would end its host.
fn urlencode(text: &str, work: &mut Work) -> Result<Value, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = text.bytes().filter(|byte| !plain(*byte)).count();
    work.pay_text(text.len() + 2 * escaped)?;
    let mut result = String::with_capacity(text.len() + 2 * escaped);
    for byte in text.bytes() {
        match plain(byte) {
            true => result.push(char::from(byte)),
            false => result.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(Value::Text(result.into()))
}

fn tojson(value: &Value, work: &mut Work) -> Result<Value, String> {
    fn json(value: &Value) -> Result<serde_json::Value, String> {
        Ok(match value {
            Value::Text(text) => text.as_ref().into(),
            Value::Int(number) => (*number).into(),
            Value::Bool(value) => (*value).into(),
            Value::None => serde_json::Value::Null,
            Value::List(items) => items.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
            Value::Undefined => return Err("it is undefined".to_owned()),
        })
    }
    if let Value::List(items) = value {
        let bytes = |item: &Value| {
            STEP + matches!(item, Value::Text(_))
                .then(|| text_len(item))
                .unwrap_or_default()
        };
        work.pay(items.iter().map(bytes).sum())?;
    }
    // Six bytes for each is the longest that JSON makes of one: `\u0001`.
    let longest = |item: &Value| 6 * text_len(item) + 3;
    let bound = match value {
        Value::List(items) => 2 + items.iter().map(longest).sum::<usize>(),
        other => longest(other),
    };
    if bound > 8 * TEXT_MAX {
        return Err(format!("its result could have more than {TEXT_MAX} bytes (256 KiB)"));
    }
    work.text(json(value)?.to_string())
}

fn text_len(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        _ => STEP,
    }
}

fn escape(text: &str, work: &mut Work) -> Result<Value, String> {
    let entity = |char| match char {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        _ => None,
    };
    let length = |char: char| entity(char).map_or(char.len_utf8(), str::len);
    let size = text.chars().map(length).sum();
    work.pay_text(size)?;
    let mut result = String::with_capacity(size);
    for char in text.chars() {
        match entity(char) {
            Some(entity) => result.push_str(entity),
            None => result.push(char),
        }
    }
    Ok(Value::Text(result.into()))
}

fn replace(text: &str, from: &str, to: &str, count: Option<usize>, work: &mut Work) -> Result<Value, String> {
    // Looking for a text takes time in proportion to both; it is done twice.
    work.pay(2 * (text.len() + from.len()))?;
    let found = text.matches(from).take(count.unwrap_or(usize::MAX)).count();
    let size = text.len() - found * from.len() + found.saturating_mul(to.len());
    work.pay_text(size)?;
    Ok(Value::Text(text.replacen(from, to, found).into()))
}

fn indent(text: &str, width: usize, first: bool, blank: bool, work: &mut Work) -> Result<Value, String> {
    let size = width
        .checked_mul(text.split('\n').count())
        .and_then(|spaces| spaces.checked_add(text.len()));
    work.pay_text(size.unwrap_or(usize::MAX))?;
    let spaces = " ".repeat(width);
    let mut result = String::new();
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            result.push('\n');
        }
        if (number > 0 || first) && (blank || !line.is_empty()) {
            result.push_str(&spaces);
        }
        result.push_str(line);
    }
    Ok(Value::Text(result.into()))
}

fn join(list: &Value, separator: &str, work: &mut Work) -> Result<Value, String> {
    let Value::List(items) = list else {
        return Err(format!("join takes a list, not a {}", list.kind()));
    };
    work.pay(items.len().saturating_mul(STEP))?;
    let size = items.iter().map(text_len).sum::<usize>() + items.len().saturating_mul(separator.len());
    work.pay_text(size)?;
    let mut result = String::new();
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            result.push_str(separator);
        }
        result.push_str(&text(item, "each item")?);
    }
    Ok(Value::Text(result.into()))
}

fn split(text: &str, separator: Option<Rc<str>>, most: Option<usize>, work: &mut Work) -> Result<Value, String> {
    work.pay(text.len())?;
    let parts = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let mut items = Vec::new();
    let mut keep = |part: &str| {
        work.pay(STEP + part.len())?;
        items.push(Value::Text(part.into()));
        Ok::<_, String>(())
    };
    match separator.as_deref() {
        Some("") => return Err("sep must not be empty".to_owned()),
        Some(separator) => text.splitn(parts, separator).try_for_each(&mut keep)?,
        None if most.is_none() => text.split_whitespace().try_for_each(&mut keep)?,
        None => text
            .trim_start()
            .splitn(parts, char::is_whitespace)
            .try_for_each(&mut keep)?,
    }
    Ok(Value::List(items.into()))
}

fn end_of(
    value: &Value,
    item: impl Fn(&[Value]) -> Option<&Value>,
    char: impl Fn(&str) -> Option<char>,
) -> Result<Value, String> {
    Ok(match value {
        Value::List(items) => item(items).cloned().unwrap_or(Value::Undefined),
        other => char(&text(other, "it")?).map_or(Value::Undefined, |char| Value::Text(char.to_string().into())),
    })
}
