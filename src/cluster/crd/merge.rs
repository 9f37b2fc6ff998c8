//! What becomes of a definition that is stored when the operator brings its own into it.
//!
//! The schema of the operator's own version is the operator's to say, but for what an administrator added: validation rules, wherever they are,
//! and printer columns. So that those can be told from rules of earlier releases, an annotation lists what the operator itself has put in.
//! Whatever else is there stays: other versions and which of them are served, the conversion, labels and annotations.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::digest;

/// The annotation that lists the operator's own rules and columns, as they were written last: the beginnings of their hashes.
const OWN_ANNOTATION: &str = "pincette.net/definition-rules";

/// How many hexadecimal digits of a hash it has of each.
const MARK_LENGTH: usize = 8;

/// Where a schema has its validation rules.
const RULES: &str = "x-kubernetes-validations";

/// Where a schema has that of the elements of a list, and of the values of a map.
const BELOW: [&str; 2] = ["items", "additionalProperties"];

/// Where a version has its printer columns.
const COLUMNS: &str = "additionalPrinterColumns";

/// The stored definition with the operator's own in it.
pub(super) fn merge(mut stored: Value, own: &Value) -> Value {
    let before = stored["metadata"]["annotations"][OWN_ANNOTATION].as_str();
    let before: BTreeSet<String> = before.unwrap_or_default().split(',').map(str::to_owned).collect();
    let mut annotations = entries(&own["metadata"]["annotations"]);
    let marks: Vec<_> = marks(own).into_iter().collect();
    annotations.insert(OWN_ANNOTATION.to_owned(), marks.join(",").into());
    put(&mut stored["metadata"]["annotations"], annotations);
    for list in ["shortNames", "categories"] {
        let names = &mut stored["spec"]["names"];
        let missing =
            items(&own["spec"]["names"][list]).filter(|name| !items(&names[list]).any(|there| there == *name));
        let missing = missing.cloned().collect();
        append(names, list, missing);
    }
    let mut versions: Vec<_> = items(&stored["spec"]["versions"]).cloned().collect();
    for version in items(&own["spec"]["versions"]) {
        match versions.iter_mut().find(|there| there["name"] == version["name"]) {
            Some(there) => merge_version(there, version, &before),
            None => {
                // Objects are stored in one version.
                let stores = versions.iter().any(|there| there["storage"] == true);
                let mut version = version.clone();
                version["storage"] = (!stores && version["storage"] == true).into();
                versions.push(version);
            }
        }
    }
    stored["spec"]["versions"] = versions.into();
    stored
}

fn merge_version(stored: &mut Value, own: &Value, before: &BTreeSet<String>) {
    let name = name_of(own);
    let foreign = items(&stored[COLUMNS]).filter(|column| {
        let is_own = items(&own[COLUMNS]).any(|one| one["name"] == column["name"]);
        !is_own && !before.contains(&column_mark(name, column))
    });
    let columns: Vec<_> = items(&own[COLUMNS]).chain(foreign).cloned().collect();
    stored[COLUMNS] = columns.into();
    put(&mut stored["subresources"], entries(&own["subresources"]));
    let schema = &mut stored["schema"]["openAPIV3Schema"];
    *schema = merged_schema(schema, &own["schema"]["openAPIV3Schema"], name, before);
}

/// The operator's own schema, with the rules that others have put into the stored one, and with the fields there that it does not know:
/// nobody's field is taken away.
fn merged_schema(stored: &Value, own: &Value, path: &str, before: &BTreeSet<String>) -> Value {
    let mut merged = own.clone();
    let foreign = items(&stored[RULES]).filter(|rule| {
        let is_own = items(&own[RULES]).any(|one| one["rule"] == rule["rule"]);
        !is_own && !before.contains(&rule_mark(path, rule))
    });
    append(&mut merged, RULES, foreign.cloned().collect());
    if own["properties"].is_object() {
        let fields = entries(&stored["properties"]).into_iter().map(|(name, field)| {
            let field = match &own["properties"][&name] {
                Value::Null => field,
                own => merged_schema(&field, own, &format!("{path}.{name}"), before),
            };
            (name, field)
        });
        put(&mut merged["properties"], fields.collect());
    }
    for below in BELOW {
        if own[below].is_object() {
            merged[below] = merged_schema(&stored[below], &own[below], &format!("{path}.{below}()"), before);
        }
    }
    merged
}

/// What tells the operator's own rules and columns from those of others, of a whole definition.
fn marks(definition: &Value) -> BTreeSet<String> {
    let mut marks = BTreeSet::new();
    for version in items(&definition["spec"]["versions"]) {
        let name = name_of(version);
        marks.extend(items(&version[COLUMNS]).map(|column| column_mark(name, column)));
        mark_schema(&version["schema"]["openAPIV3Schema"], name, &mut marks);
    }
    marks
}

fn mark_schema(schema: &Value, path: &str, marks: &mut BTreeSet<String>) {
    marks.extend(items(&schema[RULES]).map(|rule| rule_mark(path, rule)));
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        mark_schema(field, &format!("{path}.{name}"), marks);
    }
    for below in BELOW {
        if schema[below].is_object() {
            mark_schema(&schema[below], &format!("{path}.{below}()"), marks);
        }
    }
}

fn rule_mark(path: &str, rule: &Value) -> String {
    mark(&format!("{path} {}", rule["rule"]))
}

fn column_mark(version: &str, column: &Value) -> String {
    mark(&format!("{version} column {}", column["name"]))
}

fn mark(text: &str) -> String {
    let mut mark = digest::hash(text.as_bytes());
    mark.truncate(MARK_LENGTH);
    mark
}

fn name_of(version: &Value) -> &str {
    version["name"].as_str().unwrap_or_default()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn entries(map: &Value) -> Map<String, Value> {
    map.as_object().cloned().unwrap_or_default()
}

/// Puts entries into the object at a place.
fn put(place: &mut Value, with: Map<String, Value>) {
    let mut map = entries(place);
    map.extend(with);
    *place = map.into();
}

/// Appends to a list of an object. Where there is none and nothing to append, there is none afterwards.
fn append(to: &mut Value, list: &str, with: Vec<Value>) {
    if !with.is_empty() {
        let all: Vec<_> = items(&to[list]).cloned().chain(with).collect();
        to[list] = all.into();
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
