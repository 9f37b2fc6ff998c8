//! The custom resource definitions that follow from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{AWSAssumeRole, AWSAssumeRolePolicy};

/// The annotation that says which release the definition is of.
pub const DEFINITION_VERSION_ANNOTATION: &str = "pincette.net/definition-version";

/// The custom resource definition of [`AWSAssumeRole`].
///
/// It says which release it is of, so that an older operator leaves it alone.
///
/// Its descriptions are the doc comments of the types, whose lines are broken as a source file wants them. `kubectl explain` breaks them anew,
/// so here each paragraph is one line.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    let mut definition = unwrapped_definition(AWSAssumeRole::crd());
    let version = env!("CARGO_PKG_VERSION").to_owned();
    definition.metadata.annotations = Some([(DEFINITION_VERSION_ANNOTATION.to_owned(), version)].into());
    definition
}

/// The custom resource definition of [`AWSAssumeRolePolicy`], with its descriptions in the same form.
#[must_use]
pub fn policy_definition() -> CustomResourceDefinition {
    unwrapped_definition(AWSAssumeRolePolicy::crd())
}

fn unwrapped_definition(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        if let Some(schema) = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            unwrap_lines(schema);
        }
    }
    definition
}

fn unwrap_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description = unwrapped(description);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        unwrap_lines(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        unwrap_lines(values);
    }
    schema
        .properties
        .iter_mut()
        .flatten()
        .for_each(|(_, property)| unwrap_lines(property));
    let alternatives = [&mut schema.all_of, &mut schema.any_of, &mut schema.one_of];
    alternatives.into_iter().flatten().flatten().for_each(unwrap_lines);
}

/// A text with each paragraph on one line. A blank line separates paragraphs.
fn unwrapped(text: &str) -> String {
    let paragraphs = text.trim().split("\n\n").map(|paragraph| {
        let lines: Vec<_> = paragraph
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join(" ")
    });
    paragraphs
        .filter(|paragraph| !paragraph.is_empty())
        .collect::<Vec<_>>()
        .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_paragraph_is_one_line_and_stays_one_of_several() {
        assert_eq!(
            unwrapped("one\n two \nthree\n\n\nfour\n five\n"),
            "one two three\n\nfour five"
        );
        assert_eq!(unwrapped(""), "");
    }

    #[test]
    fn no_description_has_a_line_break_within_a_sentence() {
        let mut found = Vec::new();
        descriptions(&serde_json::to_value(definition()).unwrap(), &mut found);
        assert!(found.len() > 40, "{} descriptions", found.len());
        descriptions(&serde_json::to_value(policy_definition()).unwrap(), &mut found);
        for description in found {
            let lines: Vec<_> = description.replace("\n\n", "").lines().map(str::to_owned).collect();
            assert_eq!(lines.len(), 1, "{description}");
        }
    }

    fn descriptions(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("description").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| descriptions(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| descriptions(item, found)),
            _ => {}
        }
    }
}
