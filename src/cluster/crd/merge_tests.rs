use serde_json::json;

use super::*;
use crate::api;

fn own() -> Value {
    serde_json::to_value(api::definition()).unwrap()
}

/// The definition as the API server keeps it when nobody but this operator has touched it.
fn written() -> Value {
    let mut stored = merge(own(), &own());
    stored["metadata"]["uid"] = "a-uid".into();
    stored["metadata"]["resourceVersion"] = "7".into();
    stored["spec"]["conversion"] = json!({"strategy": "None"});
    stored["status"] = json!({"storedVersions": ["v1"]});
    stored
}

fn schema(definition: &mut Value) -> &mut Value {
    &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn rule(text: &str) -> Value {
    json!({"rule": text, "message": "as the administrator wishes"})
}

fn add_rule(place: &mut Value, text: &str) {
    append(place, RULES, vec![rule(text)]);
}

fn has_rule(place: &Value, text: &str) -> bool {
    items(&place[RULES]).any(|rule| rule["rule"] == text)
}

#[test]
fn a_definition_that_is_current_stays_as_it_is() {
    assert_eq!(merge(written(), &own()), written());
}

#[test]
fn rules_of_others_stay_wherever_they_are() {
    let mut stored = written();
    let spec = "self.roleArn.startsWith('arn:aws:iam::123456789012:')";
    add_rule(&mut schema(&mut stored)["properties"]["spec"], spec);
    add_rule(schema(&mut stored), "self.metadata.name.size() < 40");
    let session = &mut schema(&mut stored)["properties"]["spec"]["properties"]["session"];
    let tags = &mut session["properties"]["tags"];
    add_rule(tags, "size(self) < 3");
    add_rule(&mut tags["additionalProperties"], "self != 'a'");
    let urls = &mut schema(&mut stored)["properties"]["spec"]["properties"]["ecrRepositoryUrls"];
    add_rule(&mut urls["items"], "self != 'b'");
    // Also when they were added to a definition of which nobody knows who wrote what.
    for annotated in [true, false] {
        let mut stored = stored.clone();
        if !annotated {
            stored["metadata"]["annotations"] = Value::Null;
        }
        let mut merged = merge(stored.clone(), &own());
        assert_eq!(merged["spec"], stored["spec"]);
        assert!(has_rule(&schema(&mut merged)["properties"]["spec"], spec));
        assert_eq!(merge(merged.clone(), &own()), merged);
    }
}

#[test]
fn rules_and_columns_of_an_earlier_release_go() {
    let mut earlier = own();
    let spec = &mut schema(&mut earlier)["properties"]["spec"];
    add_rule(spec, "self.secretType != 'Template'");
    add_rule(&mut spec["properties"]["roleName"], "size(self) < 10");
    let column = json!({"name": "Old", "type": "string", "jsonPath": ".spec.old"});
    append(&mut earlier["spec"]["versions"][0], COLUMNS, vec![column]);
    let mut stored = merge(written(), &earlier);
    add_rule(&mut schema(&mut stored)["properties"]["spec"], "true");
    let theirs = json!({"name": "Theirs", "type": "string", "jsonPath": ".metadata.labels.team"});
    append(&mut stored["spec"]["versions"][0], COLUMNS, vec![theirs]);

    let mut merged = merge(stored, &own());
    let columns = items(&merged["spec"]["versions"][0][COLUMNS]);
    let names: Vec<_> = columns.filter_map(|column| column["name"].as_str()).collect();
    assert!(names.contains(&"Theirs") && !names.contains(&"Old"), "{names:?}");
    let spec = &schema(&mut merged)["properties"]["spec"];
    assert!(has_rule(spec, "true"));
    assert!(!has_rule(spec, "self.secretType != 'Template'"));
    assert!(!has_rule(&spec["properties"]["roleName"], "size(self) < 10"));
}

#[test]
fn what_is_the_operators_is_put_right() {
    let mut stored = written();
    let spec = &mut schema(&mut stored)["properties"]["spec"];
    spec["required"] = json!(["somethingElse"]);
    spec["properties"].as_object_mut().unwrap().remove("roleArn");
    spec["properties"]["roleName"] = json!({"type": "integer"});
    spec["properties"]["secretName"][RULES] = json!([]);
    spec[RULES] = json!([]);
    assert_eq!(merge(stored, &own())["spec"], written()["spec"]);
}

#[test]
fn fields_that_are_not_known_stay() {
    let mut stored = written();
    let field = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    schema(&mut stored)["properties"]["spec"]["properties"]["fromElsewhere"] = field;
    assert_eq!(merge(stored.clone(), &own()), stored);
}

#[test]
fn whatever_else_an_administrator_sets_stays() {
    let mut stored = written();
    stored["metadata"]["annotations"]["meta.helm.sh/release-name"] = "a-release".into();
    stored["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"});
    stored["metadata"]["finalizers"] = json!(["example.com/kept"]);
    let webhook = json!({"clientConfig": {"url": "https://example.com"}, "conversionReviewVersions": ["v1"]});
    stored["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": webhook});
    stored["spec"]["names"]["shortNames"] = json!(["aar", "roles"]);
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let other = json!({"name": "v0", "served": false, "storage": true, "schema": schema});
    let own_version = &mut stored["spec"]["versions"][0];
    own_version["storage"] = false.into();
    own_version["deprecated"] = true.into();
    append(&mut stored["spec"], "versions", vec![other]);
    assert_eq!(merge(stored.clone(), &own()), stored);
}

#[test]
fn a_version_that_is_missing_is_added_and_stores_only_if_no_other_does() {
    for (stores, storage) in [(true, false), (false, true)] {
        let mut stored = written();
        stored["spec"]["versions"][0]["name"] = "v0".into();
        stored["spec"]["versions"][0]["storage"] = stores.into();
        let merged = merge(stored.clone(), &own());
        assert_eq!(merged["spec"]["versions"][0], stored["spec"]["versions"][0]);
        assert_eq!(merged["spec"]["versions"][1]["storage"], storage);
        assert_eq!(merged["spec"]["versions"][1]["name"], "v1");
    }
}

#[test]
fn the_list_of_the_operators_own_is_short() {
    let written = written();
    let list = written["metadata"]["annotations"][OWN_ANNOTATION].as_str().unwrap();
    assert!(list.split(',').count() > 30, "{list}");
    assert!(list.len() < 1000, "{list}");
}
