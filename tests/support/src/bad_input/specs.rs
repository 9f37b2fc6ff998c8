//! Specs: good ones, good ones in which one thing is wrong, and wild ones.

use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::{ecr_url, json, templates};
use crate::fixtures::{ACCOUNT, ECR_URL};

/// A spec in which one thing is wrong.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The spec.
    pub spec: Value,
    /// The field at fault, as a path below `spec`. Empty where it is the spec as a whole.
    pub field: &'static str,
    /// Whether the operator sees it too. It leaves to AWS what is AWS's to say.
    pub seen_by_operator: bool,
}

/// What a field may hold.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// So many characters at most, and none of these texts.
    Text(usize, &'static [&'static str], Checked),
    /// At least, and at most.
    Number(i64, i64),
    /// Yes or no.
    Flag,
    /// So many texts of so many characters.
    Texts(usize, usize),
    /// So many texts of so many characters, by keys that are none of these. The operator may check keys and leave numbers and lengths.
    Map(usize, usize, &'static [&'static str], Checked, Checked),
    /// Other fields.
    Fields,
}

/// Whether the operator checks what the schema says, or leaves it to AWS and to the API server.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Checked {
    Here,
    Elsewhere,
}

/// The fields, each with what it may hold. Lengths are looked at by schema and operator alike.
const FIELDS: [(&str, Form); 23] = [
    (
        "secretName",
        Form::Text(
            253,
            &["", "A", "a_b", "-a", "a-", "a..b", "../a", "a/b", "a?b", "a\0", "ä"],
            Checked::Here,
        ),
    ),
    (
        "secretType",
        Form::Text(20, &["", "map", "Map ", "Yaml", "\0"], Checked::Here),
    ),
    (
        "roleName",
        Form::Text(
            576,
            &["", "/a", "a b", "arn:aws:iam::123456789012:role/r", "a\n", "ä"],
            Checked::Elsewhere,
        ),
    ),
    (
        "roleArn",
        Form::Text(
            2048,
            &[
                "",
                "r",
                "arn:aws:iam::1:role/r",
                "arn:aws:s3:::b",
                " arn:aws:iam::123456789012:role/r",
            ],
            Checked::Elsewhere,
        ),
    ),
    (
        "region",
        Form::Text(
            64,
            &["", "eu", "eu-west-1.example.com", "EU-WEST-1", "eu-west-1/", "-"],
            Checked::Elsewhere,
        ),
    ),
    ("durationSeconds", Form::Number(900, 43_200)),
    ("refreshBeforeSeconds", Form::Number(60, 43_199)),
    ("suspend", Form::Flag),
    (
        "ecrRepositoryUrl",
        Form::Text(
            512,
            &[
                "",
                "a",
                "docker.io/a",
                "https://123456789012.dkr.ecr.eu-west-1.example.com/a",
            ],
            Checked::Here,
        ),
    ),
    ("session", Form::Fields),
    (
        "session.name",
        Form::Text(64, &["", "a", "a b", "a/b", "ä\0"], Checked::Elsewhere),
    ),
    (
        "session.policy",
        Form::Text(2048, &["", "x", "[]", "\0"], Checked::Here),
    ),
    ("session.policyArns", Form::Texts(10, 2048)),
    (
        "session.tags",
        Form::Map(50, 256, &["", "aws:a"], Checked::Elsewhere, Checked::Here),
    ),
    ("session.transitiveTagKeys", Form::Texts(50, 128)),
    (
        "session.externalId",
        Form::Text(1224, &["", "a", "a b", "ä"], Checked::Elsewhere),
    ),
    (
        "session.sourceIdentity",
        Form::Text(64, &["", "a", "a b", "aws:a"], Checked::Elsewhere),
    ),
    ("template", Form::Fields),
    (
        "template.data",
        Form::Map(
            64,
            16_384,
            &["", ".", "..", "..a", "a b", "a/b", "ä"],
            Checked::Here,
            Checked::Here,
        ),
    ),
    ("secretTemplate", Form::Fields),
    (
        "secretTemplate.labels",
        Form::Map(
            64,
            63,
            &["", "pincette.net/a", "a b", "-a", "a/b/c", "ä"],
            Checked::Here,
            Checked::Elsewhere,
        ),
    ),
    (
        "secretTemplate.annotations",
        Form::Map(
            64,
            16_384,
            &["", "pincette.net/a", "a b", "a/", "ä"],
            Checked::Here,
            Checked::Elsewhere,
        ),
    ),
    ("", Form::Fields),
];

/// A spec that the schema and the operator take. Its Secret has that name.
pub fn good(choices: &mut Choices<'_>, secret_name: &str) -> Value {
    let mut spec = json!({"secretName": secret_name, "secretType": "Map"});
    match choices.one_in(3) {
        true => spec["roleArn"] = format!("arn:aws:iam::{ACCOUNT}:role/{secret_name}").into(),
        false => spec["roleName"] = secret_name.into(),
    }
    match choices.of(&["Map", "File", "CredentialProcess", "EcrDockerConfigJson", "Template"]) {
        "EcrDockerConfigJson" => {
            spec["secretType"] = "EcrDockerConfigJson".into();
            spec["ecrRepositoryUrl"] = ECR_URL.into();
        }
        "Template" => {
            spec["secretType"] = "Template".into();
            spec["template"] = json!({"data": {"key": "{{ accessKeyId }} {{ secretAccessKey }} {{ sessionToken }}"}});
        }
        other => spec["secretType"] = other.into(),
    }
    let options = [
        ("durationSeconds", json!(900)),
        ("durationSeconds", json!(3600)),
        ("refreshBeforeSeconds", json!(60)),
        ("region", json!("eu-west-1")),
        ("suspend", json!(false)),
        ("session.name", json!("a-session")),
        ("session.tags", json!({"Team": "blue", "Stage": ""})),
        ("session.externalId", json!("an:external/id")),
        (
            "secretTemplate.labels",
            json!({"example.com/team": "blue", "empty": ""}),
        ),
        (
            "secretTemplate.annotations",
            json!({"Example.com/note": "any text\n\u{10ffff}"}),
        ),
    ];
    for _ in 0..choices.below(4) {
        let (path, value) = choices.of(&options);
        json::put(&mut spec, path, value);
    }
    spec
}

/// A good spec in which one thing is wrong.
pub fn broken(choices: &mut Choices<'_>, secret_name: &str) -> Broken {
    let mut spec = good(choices, secret_name);
    if choices.one_in(8) {
        return broken_between_fields(choices, spec);
    }
    let (field, form) = choices.of(&FIELDS);
    // What belongs to the field, so that the field alone is at fault.
    match field.split('.').next().unwrap_or_default() {
        "roleName" => drop(take(&mut spec, "roleArn")),
        "roleArn" => drop(take(&mut spec, "roleName")),
        "ecrRepositoryUrl" => {
            spec["secretType"] = "EcrDockerConfigJson".into();
            take(&mut spec, "template");
        }
        "template" => {
            spec["secretType"] = "Template".into();
            take(&mut spec, "ecrRepositoryUrl");
        }
        _ => {}
    }
    if choices.one_in(3) {
        let wrong = wrong_type(choices, form);
        match field {
            "" => spec = wrong,
            field => json::put(&mut spec, field, wrong),
        }
        return Broken {
            spec,
            field,
            seen_by_operator: true,
        };
    }
    let (wrong, seen_by_operator) = wrong_content(choices, form);
    match (field, wrong) {
        ("", _) | (_, None) => {
            let field = choices.of(&["secretName", "secretType"]);
            take(&mut spec, field);
            Broken {
                spec,
                field,
                seen_by_operator: true,
            }
        }
        (field, Some(wrong)) => {
            json::put(&mut spec, field, wrong);
            Broken {
                spec,
                field,
                seen_by_operator,
            }
        }
    }
}

/// Where each field is right, and two of them do not go together.
fn broken_between_fields(choices: &mut Choices<'_>, mut spec: Value) -> Broken {
    let tags: Map<String, Value> = [("team".to_owned(), "a".into())].into_iter().collect();
    let (field, seen_by_operator) = match choices.below(6) {
        0 => {
            take(&mut spec, "roleArn");
            take(&mut spec, "roleName");
            ("", true)
        }
        1 => {
            spec["roleName"] = "r".into();
            spec["roleArn"] = format!("arn:aws:iam::{ACCOUNT}:role/r").into();
            ("", true)
        }
        2 => {
            spec["durationSeconds"] = 900.into();
            spec["refreshBeforeSeconds"] = 900.into();
            ("", true)
        }
        3 => {
            spec["secretType"] = choices.of(&["Template", "EcrDockerConfigJson"]).into();
            take(&mut spec, "template");
            take(&mut spec, "ecrRepositoryUrl");
            ("", true)
        }
        4 => {
            let policy = format!("{{\"Statement\": \"{}\"}}", "x".repeat(2020));
            spec["session"] = json!({"policy": policy, "policyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]});
            ("session", true)
        }
        _ => {
            spec["session"] = json!({"tags": tags, "transitiveTagKeys": ["other"]});
            ("session", true)
        }
    };
    Broken {
        spec,
        field,
        seen_by_operator,
    }
}

fn take(spec: &mut Value, field: &str) -> Option<Value> {
    spec.as_object_mut().and_then(|fields| fields.remove(field))
}

fn wrong_type(choices: &mut Choices<'_>, form: Form) -> Value {
    match form {
        // serde takes a list for a struct, item by item, and an object with one field for an enum.
        Form::Fields => choices.of(&[json!("text"), json!(7), json!(true)]),
        Form::Text(..) => choices.of(&[json!(7), json!(true), json!(["a"]), json!(1.5)]),
        Form::Number(..) => json::of_another_type(choices, &json!(1)),
        Form::Flag => json::of_another_type(choices, &json!(true)),
        Form::Texts(..) => choices.of(&[json!("text"), json!({"a": "b"}), json!(7), json!([7]), json!([["a"]])]),
        Form::Map(..) => choices.of(&[
            json!("text"),
            json!(["a"]),
            json!(7),
            json!({"a": 7}),
            json!({"a": {"b": "c"}}),
        ]),
    }
}

/// A value of the right type that is wrong, where there is one, and whether the operator sees that.
fn wrong_content(choices: &mut Choices<'_>, form: Form) -> (Option<Value>, bool) {
    let too_long = |choices: &mut Choices<'_>, most: usize| {
        let filling = choices.of(&["a", "ä", "\u{10ffff}"]);
        filling.repeat(most + 1 + choices.of(&[0, 1, 1000]))
    };
    match form {
        Form::Text(most, wrong, checked) => match choices.one_in(3) {
            true => (Some(too_long(choices, most).into()), true),
            false => (Some(choices.of(wrong).into()), checked == Checked::Here),
        },
        Form::Number(least, most) => {
            let wrong = [
                least - 1,
                most + 1,
                0,
                -1,
                i64::from(i32::MIN),
                i64::from(i32::MAX) + 1,
                i64::MAX,
            ];
            (Some(choices.of(&wrong).into()), true)
        }
        Form::Texts(items, length) => {
            let wrong = match choices.one_in(2) {
                true => json!([too_long(choices, length)]),
                false => (0..=items)
                    .map(|number| Value::from(format!("item-{number}")))
                    .collect(),
            };
            (Some(wrong), true)
        }
        Form::Map(items, length, wrong, keys, limits) => match choices.below(3) {
            0 => (Some(json!({choices.of(wrong): "x"})), keys == Checked::Here),
            1 => (Some(json!({"a": too_long(choices, length)})), limits == Checked::Here),
            _ => {
                let fields = (0..=items).map(|number| (format!("key-{number}"), Value::from("x")));
                (Some(Value::Object(fields.collect())), limits == Checked::Here)
            }
        },
        Form::Flag | Form::Fields => (None, true),
    }
}

/// A spec of which nothing is known: some fields, some values, not always of the right type, and what is no field.
pub fn wild(choices: &mut Choices<'_>, secret_name: &str) -> Value {
    if choices.one_in(16) {
        return json::value(choices, 4);
    }
    let mut spec = good(choices, secret_name);
    for _ in 0..=choices.below(6) {
        let (field, form) = choices.of(&FIELDS);
        let value = match (field, choices.below(4)) {
            ("template.data", 0 | 1) => {
                let key = choices.of(&["key", ".dockerconfigjson", "a..b"]);
                json!({key: templates::made(choices)})
            }
            ("ecrRepositoryUrl", 0 | 1) => ecr_url::made(choices).into(),
            (_, 0) => wrong_content(choices, form).0.unwrap_or(Value::Null),
            (_, 1) => wrong_type(choices, form),
            (_, 2) => json::text(choices).into(),
            _ => json::value(choices, 4),
        };
        match choices.one_in(8) {
            true => json::put(&mut spec, &json::text(choices).replace('.', "_"), value),
            false if field.is_empty() => json::put(&mut spec, "unknown", value),
            false => json::put(&mut spec, field, value),
        }
    }
    spec
}
