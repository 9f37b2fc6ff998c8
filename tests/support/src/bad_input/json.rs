//! Texts, numbers and JSON that a parser might stumble over.

use serde_json::{Map, Number, Value, json};

use super::choices::Choices;

/// A text of JSON in which [`deep`] has marked something as deep.
const DEEP: &str = "deeper-than-a-value-can-be:";

/// Texts that mean something to somebody: to a path, a URL, a shell, a template, a log, a terminal.
const SPECIAL: [&str; 34] = [
    "",
    "a",
    " ",
    "\0",
    "\n",
    "\r\nX-Header: x",
    "\u{1b}[2J\u{7}",
    "\u{7f}",
    "\u{2028}\u{2029}",
    "\u{feff}",
    "\u{202e}txt.exe",
    "\u{fffd}",
    "\u{10ffff}",
    "e\u{301}\u{301}\u{301}\u{301}",
    "👩‍👩‍👧‍👦",
    "ß",
    "İ",
    "ﬃ",
    ".",
    "..",
    "../../kube-system/secrets/other",
    "a/b",
    "a?dryRun=All",
    "a#b",
    "a%2e%2e%2fb",
    "null",
    "true",
    "-1",
    "1e999",
    "{}",
    "{{ secretAccessKey }}",
    "%s%n%d",
    "${jndi:ldap://127.0.0.1/a}",
    "'; DROP TABLE roles; --",
];

/// Lengths around the limits of Kubernetes, AWS and the operator.
const LENGTHS: [usize; 22] = [
    1, 2, 3, 62, 63, 64, 65, 128, 129, 252, 253, 254, 256, 257, 512, 513, 576, 2048, 2049, 16_384, 16_385, 65_537,
];

/// Characters to make long texts of.
const FILLINGS: [&str; 8] = ["a", "-", ".", "ä", "\u{10ffff}", "{{", "[", "\\\""];

/// A text.
pub fn text(choices: &mut Choices<'_>) -> String {
    match choices.below(4) {
        0 | 1 => choices.of(&SPECIAL).to_owned(),
        2 => long_text(choices),
        _ => {
            let (one, other) = (choices.of(&SPECIAL), choices.of(&SPECIAL));
            format!("{one}{}{other}", choices.of(&["", "a", "-", "/", "\n"]))
        }
    }
}

/// A text of a length that is a limit somewhere, or one off.
pub fn long_text(choices: &mut Choices<'_>) -> String {
    let (filling, length) = (choices.of(&FILLINGS), choices.of(&LENGTHS));
    filling.chars().cycle().take(length).collect()
}

/// A number.
pub fn number(choices: &mut Choices<'_>) -> Number {
    const WHOLE: [i64; 16] = [
        0,
        1,
        -1,
        59,
        60,
        899,
        900,
        901,
        43_200,
        43_201,
        i32::MAX as i64,
        i32::MIN as i64,
        i32::MAX as i64 + 1,
        1 << 53,
        i64::MAX,
        i64::MIN,
    ];
    const OTHER: [f64; 7] = [0.5, 900.0, -0.0, 1e300, -1e300, 1e-300, 1.8446744073709552e19];
    match choices.below(3) {
        0 | 1 => choices.of(&WHOLE).into(),
        _ if choices.one_in(3) => u64::MAX.into(),
        _ => Number::from_f64(choices.of(&OTHER)).unwrap_or_else(|| 0.into()),
    }
}

/// A value, with so many levels at most.
pub fn value(choices: &mut Choices<'_>, levels: usize) -> Value {
    match choices.below(if levels > 0 { 9 } else { 4 }) {
        0 => Value::Null,
        1 => choices.of(&[true, false]).into(),
        2 => number(choices).into(),
        3 | 4 => text(choices).into(),
        5 | 6 => {
            let items = choices.below(4);
            (0..items).map(|_| value(choices, levels - 1)).collect()
        }
        7 => {
            let fields = choices.below(4);
            let fields = (0..fields).map(|_| (text(choices), value(choices, levels - 1)));
            Value::Object(fields.collect())
        }
        _ => deep(choices),
    }
}

/// A value that is no text, no number and so on, as little as the one that is given.
pub fn of_another_type(choices: &mut Choices<'_>, than: &Value) -> Value {
    let others = [
        json!(true),
        json!(7),
        json!("text"),
        json!(1.5),
        json!([]),
        json!([1, "a", null]),
        json!({}),
        json!({"a": {"b": "c"}}),
    ];
    let differs = |other: &Value| std::mem::discriminant(other) != std::mem::discriminant(than);
    let others: Vec<Value> = others.into_iter().filter(differs).collect();
    choices.of(&others)
}

/// A value that is nested deep. [`to_text`] makes it deeper than serde_json would read.
pub fn deep(choices: &mut Choices<'_>) -> Value {
    let levels = choices.of(&[20, 90, 100, 110, 127, 128, 129, 500, 5000]);
    format!("{DEEP}{levels}").into()
}

/// JSON as text, with what is deep in its place.
pub fn to_text(value: &Value) -> String {
    let text = value.to_string();
    let marked = format!("\"{DEEP}");
    let mut parts = text.split(marked.as_str());
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A key that says so is none.
        let (levels, rest) = part.split_once('"').unwrap_or((part, ""));
        match levels.parse::<usize>() {
            Ok(levels) if !rest.starts_with(':') => {
                let (open, close) = if levels % 2 == 0 { ("[", "]") } else { ("{\"a\":", "}") };
                result.push_str(&format!("{}1{}{rest}", open.repeat(levels), close.repeat(levels)));
            }
            _ => result.push_str(&format!("{marked}{part}")),
        }
    }
    result
}

/// The value at a path of field names, joined by dots, and the objects on the way to it.
pub fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for field in path.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[field];
    }
    *place = value;
}
