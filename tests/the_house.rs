//! The direction of the house: a room uses only rooms below it, so that there is no circle either. The rooms are the modules that `lib.rs`
//! declares.
//!
//! It is read from the tokens of each file: what is in a macro or in a test counts as well, what is in a comment or a string does not.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The rooms from top to bottom. Those of one floor do not use each other.
const FLOORS: [&[&str]; 15] = [
    &["cli"],
    &["doctor"],
    &["operator"],
    &["telemetry"],
    &["refresh"],
    &["cluster", "aws"],
    &["secret"],
    &["spec"],
    &["api"],
    &["fence"],
    &["clock"],
    &["credentials"],
    &["errors"],
    &["digest"],
    &["transport"],
];

/// These wire the rooms and may use all of them.
const ROOTS: [&str; 2] = ["src/lib.rs", "src/main.rs"];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// What a file says of modules.
#[derive(Default)]
struct Findings {
    /// The paths that begin with `crate`, `self` or `super`, from the root of the crate, each with its line.
    paths: Vec<(usize, Vec<String>)>,
    declared: Vec<Declaration>,
}

/// A `mod name;`.
struct Declaration {
    /// From the root of the crate.
    module: Vec<String>,
    line: usize,
    /// The `#[path]` above it.
    file: Option<String>,
}

impl Findings {
    fn of(path: &str, text: &str, module: &[String]) -> Self {
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut findings = Self::default();
        findings.walk(tokens, module);
        findings
    }

    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut file = None;
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            at += 1;
            match (tree, trees.get(at), trees.get(at + 1)) {
                (TokenTree::Ident(word), Some(TokenTree::Ident(name)), Some(after)) if word == "mod" => {
                    let inner = [module, &[name.to_string()]].concat();
                    match after {
                        TokenTree::Group(body) => self.walk(body.stream(), &inner),
                        _ => self.declared.push(Declaration {
                            module: inner,
                            line: name.span().start().line,
                            file: file.take(),
                        }),
                    }
                    at += 2;
                }
                // `pub(in path)` opens something to a room and uses none.
                (TokenTree::Ident(word), Some(TokenTree::Group(scope)), _)
                    if word == "pub" && is_in(scope.stream()) =>
                {
                    at += 1;
                }
                (TokenTree::Ident(word), ..) if is_start(word) && is_separator(&trees[at..]) => {
                    at = self.read_path(&trees, at - 1, module.to_vec());
                }
                (TokenTree::Group(group), ..) => {
                    file = path_attribute(group.stream()).or(file);
                    self.walk(group.stream(), module);
                }
                _ => {}
            }
        }
    }

    /// Reads what goes on from `module` at a token, a path or in braces many, and gives the token after it.
    fn read_path(&mut self, trees: &[TokenTree], mut at: usize, mut module: Vec<String>) -> usize {
        let line = trees.get(at).map_or(0, |tree| tree.span().start().line);
        loop {
            match trees.get(at) {
                Some(TokenTree::Ident(word)) if word == "crate" => module.clear(),
                Some(TokenTree::Ident(word)) if word == "super" => drop(module.pop()),
                Some(TokenTree::Ident(word)) if word == "self" => {}
                Some(TokenTree::Ident(name)) => module.push(name.to_string()),
                Some(TokenTree::Punct(sign)) if sign.as_char() == '*' => module.push("*".to_owned()),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in inner.split(|tree| is_sign(Some(tree), ',')) {
                        if !branch.is_empty() {
                            self.read_path(branch, 0, module.clone());
                        }
                    }
                    return at + 1;
                }
                // `::<T>`
                _ => break,
            }
            at += 1;
            if !is_separator(&trees[at..]) {
                break;
            }
            at += 2;
        }
        self.paths.push((line, module));
        at
    }
}

fn is_start(word: &proc_macro2::Ident) -> bool {
    ["crate", "self", "super"].iter().any(|start| word == start)
}

fn is_sign(tree: Option<&TokenTree>, sign: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(found)) if found.as_char() == sign)
}

/// Whether it goes on with `::`.
fn is_separator(trees: &[TokenTree]) -> bool {
    is_sign(trees.first(), ':') && is_sign(trees.get(1), ':')
}

fn is_in(scope: TokenStream) -> bool {
    matches!(scope.into_iter().next(), Some(TokenTree::Ident(word)) if word == "in")
}

/// The file that a `path = "file"` names.
fn path_attribute(attribute: TokenStream) -> Option<String> {
    let trees: Vec<TokenTree> = attribute.into_iter().collect();
    match trees.as_slice() {
        [TokenTree::Ident(word), equals, TokenTree::Literal(file)] if word == "path" && is_sign(Some(equals), '=') => {
            Some(file.to_string().trim_matches('"').to_owned())
        }
        _ => None,
    }
}

/// The module of a file, if no `#[path]` says otherwise.
fn module_of(path: &str) -> Vec<String> {
    if ROOTS.contains(&path) {
        return Vec::new();
    }
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// What is wrong with the house, given its files: path and text.
fn problems(files: &[(String, String)]) -> Vec<String> {
    let mut elsewhere = BTreeMap::new();
    for (path, text) in files {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for declaration in Findings::of(path, text, &module_of(path)).declared {
            if let Some(file) = declaration.file {
                elsewhere.insert(format!("{folder}/{file}"), declaration.module);
            }
        }
    }
    let mut problems = Vec::new();
    for (path, text) in files {
        let module = elsewhere.get(path).cloned().unwrap_or_else(|| module_of(path));
        let findings = Findings::of(path, text, &module);
        match module.first() {
            Some(room) => problems.extend(problems_of_arrows(path, room, &findings)),
            None if path == "src/lib.rs" => problems.extend(problems_of_rooms(path, &findings)),
            None => {}
        }
    }
    problems
}

fn problems_of_arrows(path: &str, room: &str, findings: &Findings) -> Vec<String> {
    let Some(here) = floor(room) else {
        return vec![format!("{path}: the room {room} has no place in the order")];
    };
    let arrows = findings.paths.iter().filter_map(|(line, used)| {
        let used = used.first().map_or("the root of the crate", String::as_str);
        let what = match floor(used) {
            _ if used == room => return None,
            None => "which is no room",
            Some(there) if there < here => "which is above it",
            Some(there) if there == here => "which is beside it",
            Some(_) => return None,
        };
        Some(format!("{path}:{line}: {room} uses {used}, {what}"))
    });
    // One `use` may name several things of a room.
    let mut problems: Vec<String> = arrows.collect();
    problems.dedup();
    problems
}

fn problems_of_rooms(path: &str, findings: &Findings) -> Vec<String> {
    let known: BTreeSet<&str> = FLOORS.concat().into_iter().collect();
    let rooms = findings.declared.iter().filter(|declared| declared.module.len() == 1);
    let rooms: BTreeMap<&str, usize> = rooms.map(|room| (room.module[0].as_str(), room.line)).collect();
    let unknown = rooms.iter().filter(|(room, _)| !known.contains(*room));
    let unknown = unknown.map(|(room, line)| format!("{path}:{line}: the room {room} has no place in the order"));
    let missing = known.iter().filter(|room| !rooms.contains_key(*room));
    let missing = missing.map(|room| format!("{path}: there is no room {room}"));
    unknown.chain(missing).collect()
}

/// All files in a folder of the repository: path and text.
fn read(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(read(&path));
        } else if path.ends_with(".rs") {
            files.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn no_room_uses_one_above_it() {
    let files = read("src");
    assert!(files.len() > 30, "there is hardly anything: {}", files.len());
    let problems = problems(&files);
    assert!(problems.is_empty(), "{:#?}", problems);
}

// --- It finds what is planted.

/// The problems of a house in which these are the only arrows.
fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let rooms: String = FLOORS.concat().iter().map(|room| format!("pub mod {room};")).collect();
    let lib = [("src/lib.rs", rooms.as_str())];
    let files = files.iter().chain(&lib);
    let files: Vec<_> = files
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect();
    problems(&files)
}

#[test]
fn downward_is_no_problem() {
    let text = "use crate::aws::Aws; use crate::spec::{self, role::Role}; pub(in crate::cli) fn f() -> crate::digest::Digest { super::x() }";
    assert_eq!(planted(&[("src/refresh/plan.rs", text)]), [""; 0]);
    let main = "use aws_assume_role::cli; use crate::anything;";
    assert_eq!(planted(&[("src/main.rs", main)]), [""; 0]);
}

#[test]
fn an_upward_use_is_found() {
    let text = "//! Words.\n\npub use crate::refresh::plan::Plan;\n";
    let expected = "src/secret/mod.rs:3: secret uses refresh, which is above it";
    assert_eq!(planted(&[("src/secret/mod.rs", text)]), [expected]);
    let tested = "#[cfg(test)]\nmod tests {\n    use crate::refresh::plan::Plan;\n}\n";
    assert_eq!(planted(&[("src/secret/mod.rs", tested)]), [expected]);
}

#[test]
fn an_upward_use_by_super_is_found() {
    let expected = ["src/aws/sdk/client.rs:2: aws uses telemetry, which is above it"];
    let text = "use super::Aws;\nuse super::super::super::telemetry::metrics;\n";
    assert_eq!(planted(&[("src/aws/sdk/client.rs", text)]), expected);
    // Within a module of its own it takes one more.
    let text = "mod tests { use super::super::super::telemetry;\nuse super::super::super::super::telemetry; }";
    assert_eq!(planted(&[("src/aws/sdk/client.rs", text)]), expected);
}

#[test]
fn a_file_that_is_somewhere_else_in_the_tree_of_modules_is_found_there() {
    let parent = ("src/aws/sdk.rs", "#[cfg(test)]\n#[path = \"sdk_tests.rs\"]\nmod tests;");
    let child = |text| planted(&[parent, ("src/aws/sdk_tests.rs", text)]);
    assert_eq!(child("use super::super::telemetry;"), [""; 0]);
    let expected = "src/aws/sdk_tests.rs:1: aws uses telemetry, which is above it";
    assert_eq!(child("use super::super::super::telemetry;"), [expected]);
}

#[test]
fn an_upward_use_in_nested_braces_is_found() {
    let text = "use crate::{\n    api::Status,\n    operator::{\n        role::{self, Role},\n    },\n};\n";
    let expected = "src/cluster/kube.rs:4: cluster uses operator, which is above it";
    assert_eq!(planted(&[("src/cluster/kube.rs", text)]), [expected]);
}

#[test]
fn an_upward_path_in_the_middle_of_the_code_is_found() {
    let text =
        "fn f() {\n    let x = Vec::<crate::refresh::Plan>::new();\n    info!(x = crate::cli::flags(), \"x\");\n}\n";
    let expected = [
        "src/api/mod.rs:2: api uses refresh, which is above it",
        "src/api/mod.rs:3: api uses cli, which is above it",
    ];
    assert_eq!(planted(&[("src/api/mod.rs", text)]), expected);
}

#[test]
fn a_circle_is_found() {
    let aws = ("src/aws/mod.rs", "use crate::cluster::Cluster;");
    let cluster = ("src/cluster/mod.rs", "fn f() -> super::aws::Aws {}");
    let expected = [
        "src/aws/mod.rs:1: aws uses cluster, which is beside it",
        "src/cluster/mod.rs:1: cluster uses aws, which is beside it",
    ];
    assert_eq!(planted(&[aws, cluster]), expected);
}

#[test]
fn words_do_not_count() {
    let text = r##"
        //! [`crate::cli`]
        /// [crate::cli::run]
        // use crate::cli;
        /* use crate::cli; /* crate::cli::x */ */
        fn f() -> (&'static str, &'static str, char) { ("crate::cli::x", r#"use crate::cli;"#, '"') }
    "##;
    assert_eq!(planted(&[("src/digest.rs", text)]), [""; 0]);
}

#[test]
fn all_of_the_crate_is_no_room() {
    let expected = |used: &str| [format!("src/api.rs:1: api uses {used}, which is no room")];
    assert_eq!(planted(&[("src/api.rs", "use crate::*;")]), expected("*"));
    assert_eq!(planted(&[("src/api.rs", "use super::Shared;")]), expected("Shared"));
    assert_eq!(
        planted(&[("src/api.rs", "use crate::{self as all};")]),
        expected("the root of the crate")
    );
}

#[test]
fn a_room_that_is_not_in_the_order_is_found() {
    let file = planted(&[("src/attic/mod.rs", "")]);
    assert_eq!(file, ["src/attic/mod.rs: the room attic has no place in the order"]);
    let rooms: Vec<_> = FLOORS.concat().into_iter().filter(|room| *room != "clock").collect();
    let rooms: String = rooms.iter().map(|room| format!("pub mod {room};\n")).collect();
    let found = problems(&[("src/lib.rs".to_owned(), format!("mod attic;\n{rooms}"))]);
    let expected = [
        "src/lib.rs:1: the room attic has no place in the order",
        "src/lib.rs: there is no room clock",
    ];
    assert_eq!(found, expected);
}
