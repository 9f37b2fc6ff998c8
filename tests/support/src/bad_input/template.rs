//! Templates over credentials.

use std::collections::BTreeMap;

use aws_assume_role::credentials::{ExposeSecret, RegistryLogin};
use aws_assume_role::spec::template::{self, Template, TemplateError, Variables};
use k8s_openapi::jiff::Timestamp;

use super::choices::Choices;
use super::spec::on_its_stack;
use super::{Input, Planted, is_told, templates};

/// Whether templates are refused, or rendered within their bounds, and what is said of a failure holds no credentials.
pub fn holds(data: &[u8]) {
    let (texts, registry) = match Input::of(data) {
        Input::Text(text) => (BTreeMap::from([("key".to_owned(), text)]), false),
        Input::Choices(mut choices) => (several(&mut choices), choices.one_in(2)),
    };
    let templates = Template {
        data: texts,
        registry: registry.then(|| crate::fixtures::ECR_URL.parse().unwrap()),
        ..Template::default()
    };
    let planted = Planted::in_answer_to(data);
    on_its_stack(|| {
        let bounds = template::check_bounds(&templates);
        let checked = template::check(&templates);
        let rendered = render(&planted, &templates);
        if let Err(refusal) = bounds {
            is_told(&refusal.to_string());
            assert_eq!(checked, Err(refusal.clone()));
            assert_eq!(rendered, Err(refusal));
            return;
        }
        if let Err(refusal) = &checked {
            is_told(&refusal.to_string());
        }
        match &rendered {
            Ok(texts) => {
                assert!(texts.keys().eq(templates.data.keys()));
                let size: usize = texts.values().map(String::len).sum();
                assert!(size <= 1 << 20, "{size} bytes");
                for (key, template) in &templates.data {
                    let is_plain = !template.contains(['{', '}']);
                    assert!(
                        !is_plain || texts[key] == *template,
                        "{template:?} became {:?}",
                        texts[key]
                    );
                }
            }
            Err(failure) => {
                is_told(&failure.to_string());
                planted.is_not_in(&format!("{failure} {failure:?}"));
            }
        }
        assert_eq!(
            render(&planted, &templates),
            rendered,
            "it is not rendered twice in the same way"
        );
    });
}

fn several(choices: &mut Choices<'_>) -> BTreeMap<String, String> {
    let keys = ["key", ".dockerconfigjson", "a..b", "..", "", "a b"];
    let number = 1 + choices.below(3);
    (0..number)
        .map(|_| (choices.of(&keys).to_owned(), templates::made(choices)))
        .collect()
}

fn render(planted: &Planted, template: &Template) -> Result<BTreeMap<String, String>, TemplateError> {
    let variables = Variables {
        role_arn: "arn:aws:iam::123456789012:role/r",
        region: "eu-west-1",
        expiration: Timestamp::UNIX_EPOCH,
    };
    let login = template.registry.as_ref().map(|_| RegistryLogin {
        username: "AWS".to_owned(),
        password: planted.0.clone().into(),
        expiration: None,
    });
    let texts = template::render(template, &planted.credentials(), login.as_ref(), variables)?;
    let texts = texts
        .into_iter()
        .map(|(key, text)| (key, text.expose_secret().to_owned()));
    Ok(texts.collect())
}
