//! Globs: anchored, with upper and lower case apart. `*` stands for any characters but `:`, also none, and `?` for one such.

#[cfg(test)]
pub(super) use tests::obviously_matches;

/// Stands for the name of the namespace, in a glob over roles.
const NAMESPACE: &str = "${namespace}";

/// A glob, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Box<str>);

/// A piece of a glob.
enum Piece<'a> {
    /// `*`
    Any,
    /// `?`
    One,
    /// What is there as it is: a character, or the name of the namespace, in which nothing is special.
    Text(&'a str),
}

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Whether `text` is meant, as a whole. Fields between colons are compared one by one, since nothing but a colon stands for a colon.
    pub(super) fn matches(&self, text: &str, namespace: &str) -> bool {
        let mut fields = text.split(':');
        let all = self.0.split(':').all(|glob| {
            let field = fields.next();
            field.is_some_and(|field| field_matches(glob, field, namespace))
        });
        all && fields.next().is_none()
    }
}

/// Whether a text knows no other `${...}` than `${namespace}`.
pub(super) fn is_understood(text: &str) -> bool {
    text.match_indices("${")
        .all(|(at, _)| text[at..].starts_with(NAMESPACE))
}

/// What comes first in a glob, and the rest.
fn first<'a>(glob: &'a str, namespace: &'a str) -> Option<(Piece<'a>, &'a str)> {
    if let Some(rest) = glob.strip_prefix(NAMESPACE) {
        return Some((Piece::Text(namespace), rest));
    }
    let character = glob.chars().next()?;
    let (this, rest) = glob.split_at(character.len_utf8());
    Some(match character {
        '*' => (Piece::Any, rest),
        '?' => (Piece::One, rest),
        _ => (Piece::Text(this), rest),
    })
}

/// A text without its first character.
fn shorter(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next().map(|_| characters.as_str())
}

/// Goes through both once. Where they part, the last `*` takes one character more: an earlier one need not, since what is between the two was
/// found as early as can be. So the steps are at most as many as the product of the lengths.
fn field_matches(glob: &str, field: &str, namespace: &str) -> bool {
    let (mut glob, mut field) = (glob, field);
    // What follows the last `*`, and what it did not take.
    let mut last: Option<(&str, &str)> = None;
    loop {
        let rest = match first(glob, namespace) {
            Some((Piece::Any, rest)) => {
                last = Some((rest, field));
                Some((rest, field))
            }
            Some((Piece::One, rest)) => shorter(field).map(|field| (rest, field)),
            Some((Piece::Text(text), rest)) => field.strip_prefix(text).map(|field| (rest, field)),
            None if field.is_empty() => return true,
            None => None,
        };
        (glob, field) = match (rest, last) {
            (Some(rest), _) => rest,
            (None, None) => return false,
            (None, Some((after, left))) => match shorter(left) {
                None => return false,
                Some(left) => {
                    last = Some((after, left));
                    (after, left)
                }
            },
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use proptest::prelude::*;

    fn matches(glob: &str, text: &str) -> bool {
        Glob::new(glob).matches(text, "team-a")
    }

    /// The same, slowly and over the whole text: what comes first, and then the rest.
    pub(in super::super) fn obviously_matches(glob: &[char], text: &[char], namespace: &str) -> bool {
        let variable: Vec<char> = NAMESPACE.chars().collect();
        if glob.starts_with(&variable) {
            let name: Vec<char> = namespace.chars().collect();
            return text.starts_with(&name)
                && obviously_matches(&glob[variable.len()..], &text[name.len()..], namespace);
        }
        match (glob, text) {
            ([], text) => text.is_empty(),
            (['*', rest @ ..], []) => obviously_matches(rest, &[], namespace),
            (['*', rest @ ..], [one, more @ ..]) => {
                obviously_matches(rest, text, namespace) || (*one != ':' && obviously_matches(glob, more, namespace))
            }
            (['?', rest @ ..], [one, more @ ..]) => *one != ':' && obviously_matches(rest, more, namespace),
            ([this, rest @ ..], [one, more @ ..]) => this == one && obviously_matches(rest, more, namespace),
            (_, []) => false,
        }
    }

    #[test]
    fn globs_are_anchored_and_see_upper_and_lower_case() {
        assert!(matches("team-a", "team-a") && matches("team-*", "team-a") && matches("team-?", "team-a"));
        for (glob, text) in [
            ("team-a", "team-ab"),
            ("team-a", "my-team-a"),
            ("team-*", "my-team-a"),
            ("*-a", "team-ab"),
            ("Team-a", "team-a"),
            ("team-?", "team-"),
            ("team-?", "team-ab"),
            ("", "a"),
            ("a", ""),
        ] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
        assert!(matches("", "") && matches("*", "") && matches("**", "a") && matches("*a*b*", "xaybz"));
    }

    #[test]
    fn a_star_and_a_question_mark_match_anything_but_a_colon() {
        assert!(matches("a:*:b", "a::b") && matches("a:*:b", "a:x/y.*ä:b") && matches("a?b", "aäb"));
        for (glob, text) in [
            ("*", "a:b"),
            ("a*b", "a:b"),
            ("a?b", "a:b"),
            ("*:*", "a:b:c"),
            ("*:*", "a"),
        ] {
            assert!(!matches(glob, text), "{glob} {text}");
        }
    }

    #[test]
    fn the_namespace_is_put_in_as_it_is() {
        assert!(matches("role/${namespace}/*", "role/team-a/x") && matches("*${namespace}*", "xteam-ay"));
        assert!(!matches("role/${namespace}/*", "role/team-b/x") && !matches("role/${namespace}/*", "role/team-a"));
        let glob = Glob::new("${namespace}");
        assert!(glob.matches("*", "*") && !glob.matches("a", "*") && !glob.matches("a", "?"));
        assert!(!glob.matches("${namespace}", "a"), "it is no text");
        assert!(glob.matches("${namespace}", "${namespace}"), "and it is put in once");
    }

    #[test]
    fn no_other_variable_is_understood() {
        for good in [
            "",
            "a",
            "$",
            "${namespace}",
            "$${namespace}",
            "{}",
            "a$b{c}",
            "${namespace}${namespace}",
        ] {
            assert!(is_understood(good), "{good}");
        }
        for bad in [
            "${",
            "${}",
            "${name}",
            "${namespace",
            "${Namespace}",
            "${namespace}${x}",
            "${ namespace}",
        ] {
            assert!(!is_understood(bad), "{bad}");
        }
    }

    #[test]
    fn a_hostile_text_takes_no_time() {
        let begun = Instant::now();
        let text = "a".repeat(2048);
        for glob in [
            format!("{}b", "*a".repeat(1023)),
            format!("*{}b", "a".repeat(1023)),
            format!("{}b", "*?a".repeat(682)),
            format!("*{}b*", "a".repeat(1023)),
            "*".repeat(2048),
        ] {
            let _ = matches(&glob, &text);
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_glob_matches_what_it_obviously_matches(
            glob in proptest::collection::vec(proptest::sample::select(
                vec!["a", "b", "A", "*", "*", "?", ":", "/", "-", "${namespace}", "ä"]), 0..9),
            text in proptest::collection::vec(proptest::sample::select(
                vec!["a", "a", "b", "A", ":", "/", "-", "a-b", "ä", "*"]), 0..9),
            namespace in "(a|b|a-b|aa)",
        ) {
            let (glob, text) = (glob.concat(), text.concat());
            let characters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Glob::new(&glob).matches(&text, &namespace),
                obviously_matches(&characters(&glob), &characters(&text), &namespace)
            );
        }
    }
}
