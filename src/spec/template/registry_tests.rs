use super::*;

const HOST: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

fn template(data: &[(&str, &str)]) -> Template {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
    Template {
        data: data.collect(),
        type_: TemplateType::Opaque,
        registry: Some(format!("https://{HOST}/v2/team/app").parse().unwrap()),
    }
}

fn rendered(template: &Template, password: &str) -> Result<BTreeMap<String, SecretString>, TemplateError> {
    let credentials = Credentials {
        access_key_id: "ASIA1".into(),
        secret_access_key: "secret".into(),
        session_token: "token".into(),
    };
    let login = RegistryLogin {
        username: "AWS".to_owned(),
        password: password.into(),
        expiration: None,
    };
    let variables = Variables {
        role_arn: "arn:aws:iam::123456789012:role/r",
        region: "eu-west-1",
        expiration: Timestamp::UNIX_EPOCH,
    };
    render(template, &credentials, Some(&login), variables)
}

#[test]
fn the_login_is_there_with_a_url() {
    let all = template(&[(
        "key",
        "{{ registry }} {{ registryUsername }} {{ registryPassword }} {{ registryToken }} {{ accessKeyId }}",
    )]);
    assert_eq!(check(&all), Ok(()));
    let data = rendered(&all, "a:b").unwrap();
    assert_eq!(
        data["key"].expose_secret(),
        format!("{HOST} AWS a:b QVdTOmE6Yg== ASIA1")
    );
}

#[test]
fn without_a_url_it_is_said_what_is_missing() {
    let without = Template {
        registry: None,
        ..template(&[("key", "{{ registryPassword }}")])
    };
    let error = check(&without).unwrap_err().to_string();
    assert!(
        error.contains("registryPassword is undefined: without spec.ecrRepositoryUrl"),
        "{error}"
    );
    let optional = Template {
        registry: None,
        ..template(&[("key", "{{ registry is defined }}")])
    };
    assert_eq!(check(&optional), Ok(()));
}

#[test]
fn a_type_has_the_keys_that_the_api_server_asks_for() {
    let typed = |type_, data: &[(&str, &str)]| {
        check(&Template {
            type_,
            ..template(data)
        })
    };
    for (type_, data, part) in [
        (
            TemplateType::BasicAuth,
            [("user", "AWS")],
            "needs the key username or password",
        ),
        (
            TemplateType::DockerConfigJson,
            [("config.json", "{}")],
            "needs the key .dockerconfigjson",
        ),
        (
            TemplateType::DockerConfigJson,
            [(".dockerconfigjson", "{{ registryToken }}")],
            "a docker config is a JSON object",
        ),
        (
            TemplateType::DockerConfigJson,
            [(".dockerconfigjson", "[]")],
            "a docker config is a JSON object",
        ),
    ] {
        let error = typed(type_, &data).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(
        typed(
            TemplateType::BasicAuth,
            &[("password", "{{ registryPassword }}"), ("more", "x")]
        ),
        Ok(())
    );
    let config = r#"{"auths": { {{ registry|tojson }}: {"auth": {{ registryToken|tojson }}}}}"#;
    assert_eq!(
        typed(TemplateType::DockerConfigJson, &[(".dockerconfigjson", config)]),
        Ok(())
    );
}

#[test]
fn what_a_login_does_to_a_template_is_not_quoted() {
    let unquoted = Template {
        type_: TemplateType::DockerConfigJson,
        ..template(&[(".dockerconfigjson", r#"{"auths": "{{ registryPassword }}"}"#)])
    };
    assert_eq!(check(&unquoted), Ok(()));
    let error = rendered(&unquoted, "planted\"").unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("line 1") && !told.contains("planted"), "{told}");
}
