use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use serde_json::Value;

use super::choices::Choices;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 50, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_spec_is_refused_or_makes_a_secret_that_kubernetes_takes(data in bytes()) {
        spec::holds(&data);
    }

    #[test]
    fn an_ecr_url_is_refused_or_means_one_repository(data in bytes()) {
        ecr_url::holds(&data);
    }

    #[test]
    fn a_status_of_others_is_read_and_stays_what_it_is(data in bytes()) {
        status::holds(&data);
    }

    #[test]
    fn an_answer_of_aws_gives_no_credentials_away(data in bytes()) {
        aws_answer::holds(&data);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_template_is_refused_or_rendered_within_its_bounds(data in bytes()) {
        template::holds(&data);
    }

    #[test]
    fn a_hostile_resource_does_not_keep_the_watch_from_others(data in bytes()) {
        watch::holds(&data);
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..200)
}

/// The generators are worth something: what is good is taken, and what is wrong is seen to be.
#[test]
fn what_is_good_is_read_and_what_is_broken_is_not() {
    let read = |spec: &Value| {
        let object = crate::fixtures::resource("mine", spec);
        spec::read(&object.to_string()).unwrap().spec
    };
    let (mut broken, mut fields) = (0, std::collections::BTreeSet::new());
    for seed in 0..2000 {
        let seed = bytes_of(seed);
        let spec = specs::good(&mut Choices::new(&seed), "mine");
        read(&spec).unwrap_or_else(|error| panic!("{spec}: {error}"));
        let wrong = specs::broken(&mut Choices::new(&seed), "mine");
        fields.insert(wrong.field);
        if wrong.seen_by_operator {
            broken += 1;
            assert!(read(&wrong.spec).is_err(), "{}: {}", wrong.field, wrong.spec);
        }
    }
    assert!(broken > 1000 && fields.len() > 20, "{broken} of {fields:?}");
}

/// And what must hold does not hold of everything.
#[test]
fn what_gives_credentials_away_is_found() {
    let planted = Planted::in_answer_to(b"data");
    let told = format!(
        "the key is {}",
        aws_assume_role::credentials::ExposeSecret::expose_secret(&planted.credentials().secret_access_key)
    );
    assert!(catch_unwind(AssertUnwindSafe(|| planted.is_not_in(&told))).is_err());
    planted.is_not_in("the key is secret");
}

#[test]
fn templates_are_rendered_and_refused() {
    let (mut rendered, mut refused) = (0, 0);
    for seed in 0..500 {
        let seed = bytes_of(seed);
        let template = templates::made(&mut Choices::new(&seed));
        let templates = aws_assume_role::spec::template::Template {
            data: std::collections::BTreeMap::from([("key".to_owned(), template)]),
            ..Default::default()
        };
        match aws_assume_role::spec::template::check(&templates) {
            Ok(()) => rendered += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(rendered > 30 && refused > 50, "{rendered} rendered, {refused} refused");
}
