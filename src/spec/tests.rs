use super::*;
use crate::api::SessionSpec;

pub(super) fn spec() -> AWSAssumeRoleSpec {
    AWSAssumeRoleSpec {
        role_name: Some("my-role".into()),
        role_arn: None,
        secret_name: "my-secret".into(),
        secret_type: SecretType::Map,
        ecr_repository_url: None,
        ecr_repository_urls: Vec::new(),
        duration_seconds: None,
        refresh_before_seconds: None,
        region: None,
        session: None,
        template: None,
        secret_template: None,
        service_account_name: None,
        suspend: None,
    }
}

pub(super) fn parsed(spec: &AWSAssumeRoleSpec) -> Result<Spec, InvalidSpec> {
    Spec::from_api(&fixtures::key(), spec)
}

pub(super) fn hash(change: impl FnOnce(&mut AWSAssumeRoleSpec)) -> String {
    let mut spec = spec();
    change(&mut spec);
    parsed(&spec).unwrap().spec_hash
}

#[test]
fn defaults_are_as_documented() {
    let parsed = parsed(&spec()).unwrap();
    assert_eq!(parsed.duration, Duration::from_secs(900));
    assert_eq!(parsed.refresh_before, None);
    assert_eq!(parsed.session.name, "team.mine");
}

#[test]
fn the_hash_follows_what_the_credentials_depend_on_and_nothing_else() {
    let before = hash(|_| ());
    assert_eq!(before.len(), 32);
    assert_eq!(before, hash(|spec| spec.duration_seconds = Some(900)));
    assert_eq!(before, hash(|spec| spec.refresh_before_seconds = Some(400)));
    assert_eq!(before, hash(|spec| spec.secret_name = "other".into()));
    for changed in [
        hash(|spec| spec.role_name = Some("other".into())),
        hash(|spec| {
            spec.role_name = None;
            spec.role_arn = Some("arn:aws:iam::123456789012:role/my-role".into());
        }),
        hash(|spec| spec.duration_seconds = Some(901)),
        hash(|spec| spec.secret_type = SecretType::File),
    ] {
        assert_ne!(before, changed);
    }
}

#[test]
fn the_hash_does_not_change_between_releases() {
    assert_eq!(hash(|_| ()), "14700ddec186bc5f22289519d2317387");
}

#[test]
fn a_url_beside_another_type_is_ignored_as_it_was_by_the_predecessors() {
    let ignored = hash(|spec| spec.ecr_repository_url = Some("anything".into()));
    assert_eq!(ignored, hash(|_| ()));
}

#[test]
fn what_cannot_be_acted_on_is_said() {
    let check = |change: fn(&mut AWSAssumeRoleSpec)| {
        let mut spec = spec();
        change(&mut spec);
        parsed(&spec).unwrap_err().to_string()
    };
    for (message, part) in [
        (check(|s| s.role_name = None), "exactly one"),
        (check(|s| s.role_arn = Some("arn".into())), "exactly one"),
        (check(|s| s.duration_seconds = Some(60)), "900 to 43200"),
        (check(|s| s.duration_seconds = Some(43_201)), "900 to 43200"),
        (check(|s| s.duration_seconds = Some(-900)), "900 to 43200"),
        (check(|s| s.refresh_before_seconds = Some(59)), "at least 60"),
        (
            check(|s| s.refresh_before_seconds = Some(900)),
            "less than durationSeconds",
        ),
        (
            check(|s| s.secret_type = SecretType::EcrDockerConfigJson),
            "ecrRepositoryUrl",
        ),
        (
            check(|s| {
                s.secret_type = SecretType::EcrDockerConfigJson;
                s.ecr_repository_url = Some("docker.io/x".into());
            }),
            "private ECR repository",
        ),
    ] {
        assert!(message.contains(part), "{message}");
    }
}

fn with_session(session: crate::api::SessionSpec) -> Result<Spec, InvalidSpec> {
    let mut spec = spec();
    spec.session = Some(session);
    parsed(&spec)
}

#[test]
fn a_session_is_checked_beyond_the_schema() {
    let tags = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    };
    let twice = SessionSpec {
        tags: tags(&[("Team", "a"), ("team", "b")]),
        ..SessionSpec::default()
    };
    let strange = SessionSpec {
        transitive_tag_keys: vec!["team".into()],
        ..SessionSpec::default()
    };
    let garbage = SessionSpec {
        policy: Some("{".into()),
        ..SessionSpec::default()
    };
    let no_policy = SessionSpec {
        policy: Some("{}".into()),
        ..SessionSpec::default()
    };
    let long = SessionSpec {
        policy: Some(format!(r#"{{"Statement": "{}"}}"#, "x".repeat(2000))),
        policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()],
        ..SessionSpec::default()
    };
    for (session, part) in [
        (twice, "there twice"),
        (strange, "not a key of spec.session.tags"),
        (garbage, "not a policy in JSON"),
        (no_policy, "no Statement"),
        (long, "2048 are allowed"),
    ] {
        let message = with_session(session).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn what_a_session_is_changes_the_hash() {
    let before = hash(|_| ());
    assert_eq!(before, hash(|spec| spec.session = Some(SessionSpec::default())));
    assert_eq!(before, hash(|spec| spec.suspend = Some(true)));
    assert_eq!(
        before,
        hash(|spec| spec.secret_template = Some(crate::api::SecretTemplate::default()))
    );
    let named = SessionSpec {
        name: Some("other".into()),
        ..SessionSpec::default()
    };
    let external = SessionSpec {
        external_id: Some("other".into()),
        ..SessionSpec::default()
    };
    assert_ne!(before, hash(|spec| spec.session = Some(named)));
    assert_ne!(before, hash(|spec| spec.session = Some(external)));
    assert_ne!(before, hash(|spec| spec.region = Some("eu-west-1".into())));
}

#[test]
fn the_operators_own_keys_are_refused() {
    let mut spec = spec();
    spec.secret_template = Some(crate::api::SecretTemplate {
        labels: [("pincette.net/mine".to_owned(), "x".to_owned())].into(),
        ..Default::default()
    });
    assert!(parsed(&spec).unwrap_err().to_string().contains("pincette.net/mine"));
}

#[test]
fn what_no_secret_can_have_is_refused_before_aws_is_asked() {
    let check = |change: &dyn Fn(&mut AWSAssumeRoleSpec)| {
        let mut spec = spec();
        change(&mut spec);
        parsed(&spec).unwrap_err().to_string()
    };
    let metadata = |labels: &[(&str, &str)], annotations: &[(&str, &str)]| {
        let map = |pairs: &[(&str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            pairs.collect()
        };
        let secret_template = crate::api::SecretTemplate {
            labels: map(labels),
            annotations: map(annotations),
        };
        check(&move |spec| spec.secret_template = Some(secret_template.clone()))
    };
    for (message, part) in [
        (check(&|spec| spec.secret_name = "../other".into()), "spec.secretName"),
        (
            check(&|spec| spec.secret_name = "a?dryRun=All".into()),
            "spec.secretName",
        ),
        (check(&|spec| spec.secret_name = String::new()), "spec.secretName"),
        (check(&|spec| spec.region = Some("example.com/".into())), "spec.region"),
        (metadata(&[("a..b/c", "x")], &[]), "key of a label"),
        (metadata(&[("a", "b c")], &[]), "value of a label"),
        (metadata(&[], &[("a b", "anything")]), "key of an annotation"),
    ] {
        assert!(message.contains(part), "{message}");
    }
    let mut fine = spec();
    fine.secret_template = Some(crate::api::SecretTemplate {
        labels: [("example.com/team".to_owned(), String::new())].into(),
        annotations: [("Example.com/note".to_owned(), "any text\n".to_owned())].into(),
    });
    assert!(parsed(&fine).is_ok());
}

/// What was stored under the predecessors' schema, or an older one of our own, has no limits.
#[test]
fn what_was_stored_too_large_is_refused_and_not_kept() {
    let huge = "x".repeat(300_000);
    let pairs = |pair: (&str, &str)| std::collections::BTreeMap::from([(pair.0.to_owned(), pair.1.to_owned())]);
    let session = |change: &dyn Fn(&mut SessionSpec)| {
        let mut session = SessionSpec::default();
        change(&mut session);
        let mut spec = spec();
        spec.session = Some(session);
        spec
    };
    let plain = |change: &dyn Fn(&mut AWSAssumeRoleSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec
    };
    let template = |data| {
        plain(&|spec| {
            spec.secret_type = SecretType::Template;
            spec.template = Some(crate::api::TemplateSpec {
                data: pairs(data),
                type_: None,
            });
        })
    };
    for (spec, field) in [
        (plain(&|spec| spec.role_name = Some(huge.clone())), "roleName"),
        (
            plain(&|spec| (spec.role_name, spec.role_arn) = (None, Some(huge.clone()))),
            "roleArn",
        ),
        (plain(&|spec| spec.secret_name = huge.clone()), "secretName"),
        (plain(&|spec| spec.region = Some(huge.clone())), "region"),
        (
            plain(&|spec| spec.ecr_repository_url = Some(huge.clone())),
            "ecrRepositoryUrl",
        ),
        (
            plain(&|spec| spec.ecr_repository_urls = vec![huge.clone()]),
            "ecrRepositoryUrls",
        ),
        (
            plain(&|spec| spec.ecr_repository_urls = vec!["x".into(); 21]),
            "ecrRepositoryUrls",
        ),
        (
            plain(&|spec| {
                spec.secret_template = Some(crate::api::SecretTemplate {
                    annotations: pairs(("pincette.net/x", &huge)),
                    ..Default::default()
                });
            }),
            "secretTemplate",
        ),
        (session(&|session| session.name = Some(huge.clone())), "session.name"),
        (
            session(&|session| session.policy = Some(huge.clone())),
            "session.policy",
        ),
        (
            session(&|session| session.external_id = Some(huge.clone())),
            "session.externalId",
        ),
        (
            session(&|session| session.policy_arns = vec![huge.clone()]),
            "session.policyArns",
        ),
        (session(&|session| session.tags = pairs((&huge, "x"))), "session.tags"),
        (
            session(&|session| session.transitive_tag_keys = vec![huge.clone()]),
            "session.transitiveTagKeys",
        ),
        (template(("key", &huge)), "template.data"),
        (template((&huge, "x")), "template.data"),
        (template(("..", "x")), "template.data"),
        (
            plain(&|spec| {
                let data = (0..30_000).map(|n| (format!("key-{n}"), String::new())).collect();
                spec.template = Some(crate::api::TemplateSpec { data, type_: None });
            }),
            "template.data",
        ),
    ] {
        let error = parsed(&spec).unwrap_err();
        let kept = format!("{error} {error:?}");
        assert!(
            error.to_string().contains(&format!("spec.{field}")) && kept.len() < 2000,
            "{field}: {kept:.2000}"
        );
    }
}

#[test]
fn an_unreadable_resource_does_not_keep_what_could_not_be_read() {
    let object = crate::api::AWSAssumeRole::new("mine", spec());
    let resource = Resource::unreadable(&object, &format!("invalid type: string \"{}\"", "ä".repeat(300_000)));
    let error = resource.spec.unwrap_err().to_string();
    assert!(error.contains("invalid type") && error.len() < 1000);
}

#[test]
fn a_template_that_may_be_parsed_is_not_rendered_here() {
    let mut spec = spec();
    spec.secret_type = SecretType::Template;
    let data = [("key".to_owned(), "{{ nothing".to_owned())].into();
    spec.template = Some(crate::api::TemplateSpec { data, type_: None });
    assert!(parsed(&spec).is_ok());
}

#[test]
fn whether_the_spec_said_it_is_kept_and_changes_no_hash() {
    let plain = parsed(&spec()).unwrap();
    assert!(!plain.session.is_named && !plain.session.has_own_policies);
    let same = with_session(SessionSpec {
        name: Some("team.mine".into()),
        ..SessionSpec::default()
    })
    .unwrap();
    assert!(same.session.is_named && same.session.name == plain.session.name && same.spec_hash == plain.spec_hash);
    let managed = with_session(SessionSpec {
        policy_arns: vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()],
        ..SessionSpec::default()
    })
    .unwrap();
    assert!(managed.session.has_own_policies);
    let mut login = spec();
    login.secret_type = SecretType::EcrDockerConfigJson;
    login.ecr_repository_url = Some("123456789012.dkr.ecr.eu-west-1.amazonaws.com".into());
    let derived = parsed(&login).unwrap().session;
    assert!(derived.policy.is_some() && !derived.has_own_policies);
}

#[test]
fn an_external_id_that_is_the_operators_own_is_refused() {
    let external = |id: &str| SessionSpec {
        external_id: Some(id.into()),
        ..SessionSpec::default()
    };
    for id in ["k8s:", "k8s:cluster:team", "K8S:cluster:team"] {
        let message = with_session(external(id)).unwrap_err().to_string();
        assert!(message.contains(&format!("externalId is {id:?}")), "{message}");
    }
    for id in ["k8s", "k8sx:", "my-k8s:cluster", "ä8s:"] {
        assert!(with_session(external(id)).is_ok(), "{id}");
    }
}

#[test]
fn a_role_with_characters_that_none_has_is_refused_and_quoted() {
    for text in ["a\nb", "a b", "ä", "a\u{202e}", "a\u{7f}", " a", "a\u{a0}"] {
        let mut spec = spec();
        spec.role_name = Some(text.into());
        let by_name = parsed(&spec).unwrap_err().to_string();
        let arn = format!("arn:aws:iam::123456789012:role/{text}");
        (spec.role_name, spec.role_arn) = (None, Some(arn.clone()));
        let by_arn = parsed(&spec).unwrap_err().to_string();
        assert!(by_name.contains(&format!("spec.roleName is {text:?}")), "{by_name}");
        assert!(by_arn.contains(&format!("spec.roleArn is {arn:?}")), "{by_arn}");
        assert!(!by_name.contains('\n') && !by_arn.contains('\n'));
    }
    let mut fine = spec();
    fine.role_name = Some("!odd~/path/my_role+=,.@-".into());
    assert!(parsed(&fine).is_ok());
}

#[test]
fn a_service_account_counts_where_it_is_named() {
    let named = hash(|spec| spec.service_account_name = Some("app".into()));
    assert_ne!(named, hash(|_| ()));
    assert_ne!(named, hash(|spec| spec.service_account_name = Some("other".into())));
    let spec = AWSAssumeRoleSpec {
        service_account_name: Some("app".into()),
        ..spec()
    };
    assert_eq!(parsed(&spec).unwrap().service_account_name.as_deref(), Some("app"));
}

#[test]
fn what_a_web_identity_cannot_have_is_refused_beside_a_service_account() {
    let tag = || [("team".to_owned(), "blue".to_owned())].into();
    for (field, session) in [
        (
            "tags",
            SessionSpec {
                tags: tag(),
                ..SessionSpec::default()
            },
        ),
        (
            "externalId",
            SessionSpec {
                external_id: Some("an-id".into()),
                ..SessionSpec::default()
            },
        ),
        (
            "sourceIdentity",
            SessionSpec {
                source_identity: Some("me".into()),
                ..SessionSpec::default()
            },
        ),
    ] {
        let spec = AWSAssumeRoleSpec {
            service_account_name: Some("app".into()),
            session: Some(session),
            ..spec()
        };
        assert_eq!(parsed(&spec), Err(InvalidSpec::WithServiceAccount(field)));
    }
    for name in ["", "../secrets/x", "My_App"] {
        let spec = AWSAssumeRoleSpec {
            service_account_name: Some(name.into()),
            ..spec()
        };
        assert_eq!(parsed(&spec), Err(InvalidSpec::ServiceAccountName(name.into())));
    }
}
