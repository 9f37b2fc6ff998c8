use super::*;
use proptest::prelude::*;

fn credentials() -> Credentials {
    Credentials {
        access_key_id: "ASIA1".into(),
        secret_access_key: "planted/<secret>&".into(),
        session_token: "planted-token".into(),
    }
}

const VARIABLES: Variables<'static> = Variables {
    role_arn: "arn:aws:iam::123456789012:role/r",
    region: "eu-west-1",
    expiration: Timestamp::UNIX_EPOCH,
};

fn of(data: BTreeMap<String, String>) -> Template {
    Template {
        data,
        ..Template::default()
    }
}

fn one(template: &str) -> Template {
    of(BTreeMap::from([("key".to_owned(), template.to_owned())]))
}

fn text(template: &str) -> Result<String, TemplateError> {
    let data = render(&one(template), &credentials(), None, VARIABLES)?;
    Ok(data["key"].expose_secret().to_owned())
}

fn complaint(template: &str) -> String {
    check(&one(template)).unwrap_err().to_string()
}

/// On a thread with that much stack.
fn on_a_stack<T: Send + 'static>(size: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = std::thread::Builder::new().stack_size(size);
    thread.spawn(work).unwrap().join().unwrap()
}

#[test]
fn every_variable_is_there_and_nothing_is_escaped() {
    let all =
        "{{accessKeyId}} {{secretAccessKey}} {{sessionToken}} {{expiration}} {{region}} {{roleArn}} {{accountId}}\n";
    assert_eq!(check(&one(all)), Ok(()));
    assert_eq!(
        text(all).unwrap(),
        "ASIA1 planted/<secret>& planted-token 1970-01-01T00:00:00Z eu-west-1 arn:aws:iam::123456789012:role/r 123456789012\n"
    );
}

#[test]
fn the_filters_do_what_they_do_in_jinja() {
    for (template, expected) in [
        ("{{ secretAccessKey|urlencode }}", "planted%2F%3Csecret%3E%26"),
        ("{{ 'ä b'|urlencode }}", "%C3%A4%20b"),
        ("{{ 'a\"b\\\\c\\n'|tojson }}", r#""a\"b\\c\n""#),
        ("{{ 'a,b'|split(',')|tojson }}", r#"["a","b"]"#),
        ("{{ 7|tojson }}{{ none|tojson }}{{ true|tojson }}", "7nulltrue"),
        ("{{ 'AWS:p'|b64encode }}", "QVdTOnA="),
        ("{{ secretAccessKey|escape }}", "planted/&lt;secret&gt;&amp;"),
        ("{{ '\"<>&' ~ \"'\"|e }}", "\"<>&&#39;"),
        ("{{ 'a-b-c'|replace('-', '_') }}", "a_b_c"),
        ("{{ 'a-b-c'|replace('-', '', 1) }}", "ab-c"),
        ("{{ 'aB'|upper }}{{ 'aB'|lower }}", "ABab"),
        ("[{{ '  a '|trim }}][{{ '--a-'|trim('-') }}]", "[a][a]"),
        ("{{ 'a\nb\n\nc'|indent }}", "a\n    b\n\n    c"),
        ("{{ 'a\nb'|indent(2, true) }}", "  a\n  b"),
        ("{{ 'a\nb'|indent(width=1, first=true) }}", " a\n b"),
        ("{{ ['a', 1, 'b']|join(', ') }}", "a, 1, b"),
        ("{{ roleArn|split('/')|last }}", "r"),
        (
            "{{ roleArn|split(':', 2)|join('|') }}",
            "arn|aws|iam::123456789012:role/r",
        ),
        ("{{ ' a  b '|split|join('-') }}", "a-b"),
        (
            "{{ nothing|default('x') }}{{ ''|default('y') }}{{ ''|default('z', true) }}",
            "xz",
        ),
        ("{{ ''|first|default('none') }}", "none"),
        (
            "{{ '%s:%s %05d %-3s|%x%%'|format('a', 'b', -42, 'c', 255) }}",
            "a:b -0042 c  |ff%",
        ),
        ("{{ '%.2s'|format('abc') }}", "ab"),
        (
            "{{ 'abc'|first }}{{ 'abc'|last }}{{ 'äbc'|length }}{{ [1, 2]|length }}",
            "ac32",
        ),
        (
            "{{ nothing is defined }} {{ nothing is undefined }} {{ none is none }} {{ region is not none }}",
            "false true true true",
        ),
    ] {
        assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn the_statements_and_operators_do_what_they_do_in_jinja() {
    for (template, expected) in [
        (
            "{% if region == 'eu-west-1' %}a{% elif true %}b{% else %}c{% endif %}",
            "a",
        ),
        ("{% if not region or 'x' in region %}a{% else %}c{% endif %}", "c"),
        (
            "{% for x in 'a,b'|split(',') %}{{ loop.index }}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
            "1a,2b",
        ),
        (
            "{% for x in [1, 2, 3] if x != 2 %}{{ x }}{{ loop.length }}{% else %}-{% endfor %}",
            "1232",
        ),
        ("{% for x in [] %}x{% else %}none{% endfor %}", "none"),
        (
            "{% set parts = roleArn|split(':') %}{{ parts[1] }} {{ parts[-1] }} {{ parts[2:4]|join('+') }}",
            "aws role/r iam+",
        ),
        (
            "{% set x = 1 %}{% for y in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}",
            "21",
        ),
        (
            "{% set x | upper | replace('B', 'c') %}ab{{ 1 }}{% endset %}{{ x }}",
            "Ac1",
        ),
        (
            "{{ 'a' ~ 1 ~ 'b' }} {{ 'a' + 'b' }} {{ 7 // 2 + 7 % 4 - 1 }} {{ -1 }}",
            "a1b ab 5 -1",
        ),
        ("{{ 'a' if false }}{{ 'b' if true else 'c' }}", "b"),
        (
            "{{ 1 < 2 <= 2 }} {{ 'b' > 'a' }} {{ 3 not in [1, 2] }} {{ 'a' == 1 }}",
            "true true true false",
        ),
        ("{{ region[:2] }}{{ region[-1:] }}{{ region[0] }}", "eu1e"),
        (
            "{# not this #}{% raw %}{{ x }}{% endraw %} {{- ' a' -}} \n",
            "{{ x }} a",
        ),
        ("a\n", "a\n"),
    ] {
        assert_eq!(text(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_cannot_be_rendered_is_found_beforehand() {
    for (template, part) in [
        (
            "{{ secretKey }}",
            "secretKey is undefined: a template may use accessKeyId",
        ),
        ("{{ secretAccessKey", "key: "),
        ("\n\n{{ secretKey }}", "line 3"),
        ("{% include 'other' %}", "unknown statement include"),
        ("{% extends 'other' %}", "unknown statement"),
        ("{% macro m() %}{% endmacro %}", "unknown statement"),
        ("{% autoescape true %}{% endautoescape %}", "no statement autoescape"),
        ("{{ range(10) }}", "no functions"),
        ("{{ region.upper() }}", "no functions"),
        ("{{ region|int }}", "no filter int"),
        ("{{ region is lower }}", "no test lower"),
        ("{{ 'x' * 3 }}", "operators *"),
        ("{{ 10 ** 10 ** 10 }}", "operators *"),
        ("{{ [1, 2] }}", "use join"),
        ("{{ [[1]] }}", "cannot hold a list"),
        ("{{ {'a': 1} }}", "no maps"),
        ("{{ 9223372036854775807 + 1 }}", "64 bits"),
        ("{{ 1 // 0 }}", "division by zero"),
        ("{{ 1.5 }}", "whole"),
        ("{{ '%999999999d'|format(1) }}", "at most 1024"),
        ("{{ '%*d'|format(9, 1) }}", "directives"),
        ("{{ 'a'|indent(1000000000) }}", "256 KiB"),
        ("{{ region|upper(1) }}", "argument"),
    ] {
        let complaint = complaint(template);
        assert!(complaint.contains(part), "{template}: {complaint}");
    }
}

#[test]
fn a_failure_does_not_quote_what_the_template_saw() {
    let picky = "{% if sessionToken == 'planted-token' %}{{ secretAccessKey|int }}{% endif %}";
    assert_eq!(check(&one(picky)), Ok(()));
    let error = text(picky).unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("line 1") && !told.contains("planted"), "{told}");
}

/// What each of these asks for would take hours, or more memory than there is.
#[test]
fn hostile_templates_come_to_an_end() {
    let a = "a".repeat(15_000);
    let doubled = "{% set s = s ~ s %}".repeat(250);
    let nested_loops = |body: &str| {
        let loops = "{% for i in s %}".repeat(20);
        format!(
            "{{% set s = '{}' %}}{loops}{body}{}",
            "a".repeat(9000),
            "{% endfor %}".repeat(20)
        )
    };
    let hostile = [
        format!("{{% set s = '1' %}}{doubled}"),
        format!("{{% set s = ['1'] %}}{}", doubled.replace('~', "+")),
        format!(
            "{{% set s = ['1'] %}}{}{{{{ s }}}}",
            "{% set s = [s, s, s, s] %}".repeat(200)
        ),
        nested_loops("x"),
        nested_loops(""),
        nested_loops("{% if s == s %}{% endif %}"),
        nested_loops("{% if 'b' in s %}{% endif %}"),
        nested_loops("{% if s < s %}{% endif %}"),
        nested_loops("{% if s is lower %}{% endif %}"),
        nested_loops("{% set x = s|length %}"),
        nested_loops("{% set x = s|split('a') == s|split('a') %}"),
        nested_loops("{% set x = s[8999] %}"),
        nested_loops("{% set x = s[1:] %}"),
        nested_loops("{% set x %}{{ s }}{% endset %}"),
        nested_loops("{{ s }}"),
        format!("{{{{ '{a}'|replace('a', '{a}') }}}}").replace(&a, &a[..7000]),
        format!("{{{{ '{}'|replace('', '{}') }}}}", &a[..7000], &a[..7000]),
        format!("{{{{ '{}'|split('a')|join('{}') }}}}", &a[..7000], &a[..7000]),
        format!("{{{{ '{a}'{} }}}}", "|b64encode".repeat(120)),
        format!("{{{{ '{}'{} }}}}", "&".repeat(9000), "|escape".repeat(100)),
        format!("{{{{ '{}'{} }}}}", "/".repeat(9000), "|urlencode".repeat(100)),
        format!("{{{{ '{}'{} }}}}", "\"".repeat(9000), "|tojson".repeat(100)),
        format!("{{{{ '{}'|indent(100000) }}}}", "\n".repeat(9000)),
        format!("{{{{ '{}'|trim('{}') }}}}", &a[..7000], "b".repeat(7000)),
        format!("{{% for i in s recursive %}}{{{{ loop(s) }}}}{{% endfor %}}{a}"),
        format!("{{{{ '{}'|format }}}}", "%1024s".repeat(2000)),
    ];
    for template in hostile {
        assert!(template.len() <= bounds::TEMPLATE_MAX, "{} bytes", template.len());
        let start: String = template.chars().take(100).collect();
        // Some are merely slow: what counts is that they end.
        if let Ok(data) = render(&one(&template), &credentials(), None, VARIABLES) {
            assert!(data["key"].expose_secret().len() <= SIZE_MAX, "{start}");
        }
    }
}

#[test]
fn the_templates_of_a_resource_share_their_work() {
    let busy = format!(
        "{{% for i in '{}' %}}{{% if i == i %}}{{% endif %}}{{% endfor %}}",
        "a".repeat(6000)
    );
    assert_eq!(check(&one(&busy)), Ok(()));
    let many = (0..10).map(|n| (n.to_string(), busy.clone())).collect();
    let error = check(&of(many)).unwrap_err().to_string();
    assert!(error.contains("too much work"), "{error}");
}

/// Templates that are as nested as the bounds allow, of each kind of nesting.
fn deepest() -> Vec<String> {
    let blocks = bounds::BLOCKS_MAX;
    let tokens = bounds::TOKENS_MAX - 6;
    let chain = |link: &str, each: usize, end: &str| format!("{{{{ {}{end} }}}}", link.repeat(tokens / each));
    let tail = |link: &str, each: usize| format!("{{{{ 1{} }}}}", link.repeat(tokens / each));
    let brackets = |open: &str, close: &str| {
        let most = bounds::BRACKETS_MAX;
        format!("{{{{ {}1{} }}}}", open.repeat(most), close.repeat(most))
    };
    let nested = |open: &str, close: &str| format!("{}x{}", open.repeat(blocks / 2), close.repeat(blocks / 2));
    vec![
        chain("-", 1, "1"),
        chain("not ", 1, "1"),
        chain("- ", 1, "1|default"),
        chain("1 if 1 else ", 4, "1"),
        chain("1 if 0 else ", 4, "1"),
        tail(" ~ 1", 2),
        tail(" + 1", 2),
        tail(" ** 1", 2),
        tail(" and 1", 2),
        tail(" or 1", 2),
        tail(" < 1", 2),
        tail(" == 1", 2),
        tail("|string", 2),
        tail("|default", 2),
        tail("[0]", 3),
        tail(".a", 2),
        tail("()", 2),
        tail(" is defined", 2),
        tail(" is not defined", 3),
        tail(" if 1", 2),
        brackets("(", ")"),
        brackets("[", "]"),
        brackets("{1: ", "}"),
        brackets("(1, ", ")"),
        brackets("x(", ")"),
        brackets("x[", "]"),
        brackets("-(not ", ")"),
        brackets("1|default(", ")"),
        brackets("1 if 1 else (", ")"),
        nested("{% if 1 %}", "{% endif %}"),
        nested("{% for x in [1] %}", "{% endfor %}"),
        nested("{% set x %}", "{% endset %}"),
        nested("{% with %}", "{% endwith %}"),
        nested("{% filter upper %}", "{% endfilter %}"),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(blocks - 2)),
        format!(
            "{}{}{}",
            "{% if 1 %}".repeat(70),
            format!("{{{{ {}{}{} }}}}", "-(".repeat(16), "-".repeat(200), ")".repeat(16)),
            "{% endif %}".repeat(70)
        ),
        "{% if 1 %}".repeat(blocks),
    ]
}

#[test]
fn the_stack_holds_whatever_the_bounds_allow() {
    // A quarter of it too: frames are of another size in another build.
    for size in [STACK_SIZE, STACK_SIZE / 4] {
        on_a_stack(size, || {
            for template in deepest() {
                assert_eq!(check_bounds(&one(&template)), Ok(()), "{template}");
                // Whether it can be rendered is another matter.
                let _ = check(&one(&template));
            }
        });
    }
}

#[test]
fn what_is_beyond_the_bounds_is_not_parsed() {
    let longer = "x".repeat(bounds::TEMPLATE_MAX + 1);
    for (template, part) in [
        (longer.as_str(), "16 KiB"),
        (&"ä".repeat(bounds::TEMPLATE_MAX / 2 + 1), "16 KiB"),
        (&format!("{{{{ {}1 }}}}", "-".repeat(16_000)), "at most 256 names"),
        (&format!("{{{{ {}1 }}}}", "not ".repeat(4_000)), "at most 256 names"),
        (&format!("{{{{ {}1 }}}}", "(".repeat(200)), "16 deep"),
        (&format!("{{{{- {}1 -}}}}", "- \n\t".repeat(4_000)), "at most 256 names"),
        (
            &format!("{{# }}}} #}}{{{{ '}}}}' ~ {}1 }}}}", "-".repeat(300)),
            "at most 256 names",
        ),
        (
            &format!("{{% raw %}}{{{{{{% endraw %}}{{{{ {}1 }}}}", "-".repeat(300)),
            "at most 256 names",
        ),
        (&format!("{{% set x = {}1 %}}", "-".repeat(300)), "at most 256 names"),
        (&"{%if 1%}".repeat(300), "at most 256 tags"),
        (&format!("{{%if 1%}}{}", "{%elif 1%}".repeat(300)), "at most 256 tags"),
    ] {
        let error = check_bounds(&one(template)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(error.len() < 1000, "{error}");
    }
    let five = (0..5)
        .map(|n| (n.to_string(), "x".repeat(bounds::TEMPLATE_MAX)))
        .collect();
    assert_eq!(check_bounds(&of(five)), Err(TemplateError::Together));
}

#[test]
fn what_only_looks_nested_is_rendered() {
    let quoted = format!("{{{{ '{}' }}}}", "-(".repeat(1000));
    let raw = format!("{{% raw %}}{}{{% endraw %}}", "{{ ---1 }}".repeat(400));
    let commented = format!("{{# {} #}}x", "-(".repeat(1000));
    for template in [&quoted, &raw, &commented] {
        assert_eq!(check(&one(template)), Ok(()));
    }
}

#[test]
fn a_key_that_no_secret_can_have_is_refused() {
    let keyed = |key: &str| check_bounds(&of(BTreeMap::from([(key.to_owned(), String::new())])));
    for key in ["a", ".a", "-", "_", "a..b", "credentials.json", &"k".repeat(253)] {
        assert_eq!(keyed(key), Ok(()), "{key}");
    }
    for key in ["", ".", "..", "..a", "a b", "a/b", "ä", &"k".repeat(254)] {
        let error = keyed(key).unwrap_err().to_string();
        assert!(error.contains("a Secret's key"), "{error}");
    }
    assert!(keyed(&"k".repeat(100_000)).unwrap_err().to_string().len() < 1000);
}

proptest! {
    #[test]
    fn text_without_braces_is_itself(plain in "[^{}#%]{0,200}") {
        prop_assert_eq!(text(&plain).unwrap(), plain);
    }

    #[test]
    fn no_template_makes_it_panic(template in "\\PC{0,80}") {
        let _ = check(&one(&template));
    }

    #[test]
    fn no_expression_makes_it_panic(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "{{", "}}", "{%", "%}", "{#", "#}", "if", "for", "in", "set", "x", "endif", "endfor", "=", "(", ")", "[", "]", "0", "-1",
                "'a'", "|", "first", "split", "indent", "format", "'%5s'", ",", ":", "~", "+", "-", "//", "%", "<", "is", "not", "defined",
                "loop", ".", "index", "else", "region", "9223372036854775807",
            ]),
            0..40,
        )
    ) {
        let _ = check(&one(&parts.join(" ")));
    }
}
