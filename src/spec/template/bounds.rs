//! What is too much to parse, found without parsing: by sizes, and by the tokens of minijinja's own lexer, which nothing in a string, a
//! comment or a raw block can fool.
//!
//! minijinja's parser calls itself for each operator of a chain, each bracket and each block in another, and so do the syntax tree's
//! destructor and the engine. These bounds, and [`super::STACK_SIZE`], are what keeps that from overflowing the stack.

use std::collections::BTreeMap;

use minijinja::machinery::{Token, Tokenizer};

use super::{TemplateError, syntax};

/// The most bytes of one template.
pub(super) const TEMPLATE_MAX: usize = 16 << 10;

/// The most bytes of all templates together.
pub(super) const TEMPLATES_MAX: usize = 64 << 10;

/// The most characters of a Secret's key: the API server's limit.
/// <https://kubernetes.io/docs/concepts/configuration/secret/#restriction-names-data>
const KEY_MAX: usize = 253;

/// The most tokens of one tag. A chain needs one at least for each link.
pub(super) const TOKENS_MAX: usize = 256;

/// The most block tags (`{% ... %}`) of one template. Each block that is within another needs one at least, and so does each `elif`.
pub(super) const BLOCKS_MAX: usize = 256;

/// How deep brackets may be nested in one tag. A bracket costs the parser a dozen calls, one for each rank of operators.
pub(super) const BRACKETS_MAX: usize = 16;

/// Whether templates are small and plain enough to be parsed, and their keys such that a Secret can have them.
pub(super) fn check(templates: &BTreeMap<String, String>) -> Result<(), TemplateError> {
    if templates.values().map(String::len).sum::<usize>() > TEMPLATES_MAX {
        return Err(TemplateError::Together);
    }
    for (key, template) in templates {
        check_key(key)
            .and_then(|()| check_template(template))
            .map_err(|what| TemplateError::Invalid {
                // A key that is refused may be as long as can be.
                key: key.chars().take(KEY_MAX).collect(),
                what,
            })?;
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let fits = (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(plain);
    match fits && key != "." && !key.starts_with("..") {
        true => Ok(()),
        false => Err(format!(
            "a Secret's key has 1 to {KEY_MAX} letters, digits or characters of -._ and is neither . nor begins with .."
        )),
    }
}

fn check_template(template: &str) -> Result<(), String> {
    if template.len() > TEMPLATE_MAX {
        return Err(format!("a template has at most {TEMPLATE_MAX} bytes (16 KiB)"));
    }
    let mut tokenizer = Tokenizer::new(template, "", false, syntax());
    let (mut tokens, mut blocks, mut brackets) = (0, 0, 0_usize);
    // What the lexer cannot read ends the parser too. It is the parser's to say so.
    while let Ok(Some((token, span))) = tokenizer.next_token() {
        tokens += 1;
        match token {
            Token::TemplateData(_) | Token::VariableStart => (tokens, brackets) = (0, 0),
            Token::BlockStart => {
                (tokens, brackets) = (0, 0);
                blocks += 1;
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => brackets += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        let what = match () {
            () if tokens > TOKENS_MAX => {
                format!("a tag has at most {TOKENS_MAX} names, operators, brackets and literals")
            }
            () if blocks > BLOCKS_MAX => format!("a template has at most {BLOCKS_MAX} tags of the form {{% ... %}}"),
            () if brackets > BRACKETS_MAX => format!("brackets are nested at most {BRACKETS_MAX} deep"),
            () => continue,
        };
        return Err(format!("{what} (line {})", span.start_line));
    }
    Ok(())
}
