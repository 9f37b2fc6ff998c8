use serde_json::{Value, json};

use support::fixtures::{map_spec, with};
use support::root;
use support::wait_for;
use support::world::{PATIENCE, World};

const DEFINITION: &str = "awsassumeroles.pincette.net";

/// Takes the limits of some fields out of the definition, as an older one had none.
fn loosen(world: &World) {
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let removed = [
        "template/properties/data/additionalProperties/maxLength",
        "template/properties/data/x-kubernetes-validations",
        "roleName/maxLength",
        "roleName/x-kubernetes-validations",
    ];
    let patch: Vec<Value> = removed
        .iter()
        .map(|path| json!({"op": "remove", "path": format!("{spec}/{path}")}))
        .collect();
    let patch = Value::from(patch).to_string();
    world
        .cluster
        .kubectl_ok(&["patch", "crd", DEFINITION, "--type=json", "--patch", &patch]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resource_of_an_older_definition_is_told_its_limits() {
    let mut world = World::without_operator().await;
    let template = |key: &str, text: &str| {
        let data = json!({key: text});
        with(
            map_spec("large"),
            &json!({"secretType": "Template", "template": {"data": data}}),
        )
    };
    let stored = [
        (
            "large",
            template("key", &"v".repeat(100_000)),
            "TemplateError",
            "64 KiB",
        ),
        (
            "nested",
            template("key", &format!("{{{{ {}1 }}}}", "-".repeat(16_000))),
            "TemplateError",
            "at most 256",
        ),
        (
            "key",
            template("..", "v"),
            "TemplateError",
            "neither . nor begins with ..",
        ),
        (
            "role",
            with(map_spec("role"), &json!({"roleName": "r".repeat(100_000)})),
            "InvalidRequest",
            "spec.roleName",
        ),
    ];
    loosen(&world);
    for (name, spec, ..) in &stored {
        wait_for("the older definition", PATIENCE, async || world.apply(name, spec).ok()).await;
    }
    let path = root().join("crds/awsassumeroles.pincette.net.yaml");
    let path = path.to_str().unwrap();
    world
        .cluster
        .kubectl_ok(&["apply", "--server-side", "--force-conflicts", "--filename", path]);
    let (name, spec, ..) = &stored[0];
    let other = with(spec.clone(), &json!({"secretName": "other"}));
    wait_for("the definition", PATIENCE, async || {
        // Whole again, since what is not changed is not validated.
        let larger = template("key", &"w".repeat(100_000));
        world.apply(name, &with(other.clone(), &larger)).err()
    })
    .await;

    world.start_operator();
    for (name, _, reason, part) in &stored {
        let condition = world.condition(name, "Ready", "False", reason).await;
        assert!(condition.message.contains(part), "{name}: {}", condition.message);
        assert!(condition.message.len() < 2000, "{name}: {}", condition.message);
    }
    world.apply("fine", &map_spec("fine")).unwrap();
    world.ready("fine").await;
}
