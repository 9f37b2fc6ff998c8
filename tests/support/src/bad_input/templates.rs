//! Templates: what the grammar gives, and what is nearly so.

use super::choices::Choices;
use super::json;

/// The names that a template may use, and others.
const NAMES: [&str; 14] = [
    "region",
    "accessKeyId",
    "secretAccessKey",
    "sessionToken",
    "expiration",
    "roleArn",
    "accountId",
    "x",
    "s",
    "loop",
    "nothing",
    "self",
    "true",
    "none",
];

const OPERATORS: [&str; 18] = [
    "~", "+", "-", "//", "%", "*", "/", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or",
];

const FILTERS: [&str; 22] = [
    "trim",
    "upper",
    "lower",
    "urlencode",
    "tojson",
    "b64encode",
    "escape",
    "e",
    "replace",
    "indent",
    "join",
    "split",
    "default",
    "format",
    "first",
    "last",
    "length",
    "int",
    "safe",
    "map",
    "attr",
    "x",
];

const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "2",
    "255",
    "1024",
    "1025",
    "100000",
    "9223372036854775807",
    "9223372036854775808",
    "340282366920938463463374607431768211456",
    "0x7f",
    "1_0.5e300",
];

/// A template.
pub fn made(choices: &mut Choices<'_>) -> String {
    let mut template = String::new();
    for _ in 0..=choices.below(4) {
        statement(choices, 3, &mut template);
    }
    for _ in 0..choices.below(3) {
        let (one, other) = (choices.place_in(&template), choices.place_in(&template));
        let range = one.min(other)..one.max(other);
        match choices.below(3) {
            0 => template.replace_range(range, ""),
            1 => {
                let copy = template[range].to_owned();
                template.insert_str(one, &copy);
            }
            _ => template.insert_str(
                one,
                choices.of(&["{{", "}}", "{%", "%}", "{#", "#}", "-", "|", "'", "\\", "\0", "ä"]),
            ),
        }
    }
    template
}

fn statement(choices: &mut Choices<'_>, levels: usize, out: &mut String) {
    let body = |choices: &mut Choices<'_>, out: &mut String| {
        if levels > 0 {
            statement(choices, levels - 1, out);
        }
    };
    match choices.below(10) {
        0 => out.push_str(&json::text(choices)),
        1..=4 => {
            let (open, close) = choices.of(&[("{{ ", " }}"), ("{{- ", " -}}"), ("{{+", "}}")]);
            out.push_str(&format!("{open}{}{close}", expression(choices, 4)));
        }
        5 => {
            out.push_str(&format!("{{% if {} %}}", expression(choices, 3)));
            body(choices, out);
            out.push_str(choices.of(&["", "{% else %}", "{% elif x %}"]));
            body(choices, out);
            out.push_str("{% endif %}");
        }
        6 => {
            let (name, filter) = (choices.of(&NAMES), choices.of(&["", " if loop", " recursive"]));
            out.push_str(&format!("{{% for {name} in {}{filter} %}}", expression(choices, 3)));
            body(choices, out);
            out.push_str(choices.of(&["", "{% else %}"]));
            body(choices, out);
            out.push_str("{% endfor %}");
        }
        7 => out.push_str(&format!(
            "{{% set {} = {} %}}",
            choices.of(&NAMES),
            expression(choices, 3)
        )),
        8 => {
            out.push_str(&format!("{{% set {}{} %}}", choices.of(&NAMES), filters(choices, 2)));
            body(choices, out);
            out.push_str("{% endset %}");
        }
        _ => {
            let (open, close) = choices.of(&[
                ("{# ", " #}"),
                ("{% raw %}", "{% endraw %}"),
                ("{% with %}", "{% endwith %}"),
                ("{% filter upper %}", "{% endfilter %}"),
                ("{% autoescape true %}", "{% endautoescape %}"),
                ("{% macro x() %}", "{% endmacro %}"),
                ("{% block x %}", "{% endblock %}"),
                ("{% include ", "%}"),
            ]);
            out.push_str(open);
            body(choices, out);
            out.push_str(close);
        }
    }
}

fn expression(choices: &mut Choices<'_>, levels: usize) -> String {
    if levels == 0 {
        return choices.of(&NAMES).to_owned();
    }
    let inner = |choices: &mut Choices<'_>| expression(choices, levels - 1);
    match choices.below(16) {
        0..=2 => choices.of(&NAMES).to_owned(),
        3 => choices.of(&NUMBERS).to_owned(),
        4 => format!("'{}'", json::text(choices).replace('\'', "")),
        5 => format!(
            "'{}'",
            choices
                .of(&["a", "%5s", "\\n", "\\u12", "{{", "\u{10ffff}", "&<"])
                .repeat(choices.of(&[1, 100, 3000]))
        ),
        6 | 7 => format!("{} {} {}", inner(choices), choices.of(&OPERATORS), inner(choices)),
        8 => format!("{}{}", choices.of(&["-", "not ", "- -"]), inner(choices)),
        9 | 10 => format!("{}{}", inner(choices), filters(choices, levels - 1)),
        11 => format!(
            "{} is {}",
            inner(choices),
            choices.of(&["defined", "undefined", "none", "not none", "lower", "x(1)"])
        ),
        12 => format!("{} if {} else {}", inner(choices), inner(choices), inner(choices)),
        13 => {
            let (from, to) = (
                choices.of(&["", "1", "-1", "x"]),
                choices.of(&["", ":", ":2", ":-9223372036854775808", "::2"]),
            );
            format!("{}[{from}{to}]", inner(choices))
        }
        14 => format!("[{}, {}]", inner(choices), inner(choices)),
        _ => match choices.below(3) {
            0 => format!("({})", inner(choices)),
            1 => format!(
                "{}.{}",
                inner(choices),
                choices.of(&["index", "last", "x", "__class__"])
            ),
            _ => format!(
                "{}({}, *{}, k={})",
                inner(choices),
                inner(choices),
                inner(choices),
                inner(choices)
            ),
        },
    }
}

fn filters(choices: &mut Choices<'_>, levels: usize) -> String {
    let mut filters = String::new();
    for _ in 0..=choices.below(3) {
        filters.push_str(&format!("|{}", choices.of(&FILTERS)));
        if choices.one_in(2) {
            let first = expression(choices, levels);
            let rest = choices.of(&[
                "",
                ", 1",
                ", '', 1",
                ", count=2",
                ", width=100000",
                ", true, true",
                ", *x",
            ]);
            filters.push_str(&format!("({first}{rest})"));
        }
    }
    filters
}
