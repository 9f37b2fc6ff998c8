//! What is nested too deep to be read, taken out of the API server's answers before anybody reads them.
//!
//! serde_json gives up behind 128 levels, and then it gives up the whole list, or the whole line of a watch: one resource would keep the operator
//! from seeing any other. The definition's schema knows no such depth; a definition that keeps unknown fields lets it through.

use hyper::body::Bytes;

/// So many levels are passed on. Whatever the operator reads lies above.
const LEVELS: usize = 100;

/// What stands in the place of a list or an object that lies deeper.
const LEFT_OUT: &[u8] = b"null";

/// How far JSON was passed on, which comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Shallow {
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Shallow {
    /// The next piece, without what lies too deep.
    pub(super) fn pass(&mut self, piece: Bytes) -> Bytes {
        let mut passed: Option<Vec<u8>> = None;
        // From where on the piece was not passed on yet, unless it lies too deep.
        let mut from = 0;
        for (at, byte) in piece.iter().enumerate() {
            if self.in_string {
                self.in_string = self.escaped || *byte != b'"';
                self.escaped = !self.escaped && *byte == b'\\';
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'[' | b'{' => {
                    self.depth += 1;
                    if self.depth == LEVELS + 1 {
                        let passed = passed.get_or_insert_default();
                        passed.extend_from_slice(&piece[from..at]);
                        passed.extend_from_slice(LEFT_OUT);
                    }
                }
                b']' | b'}' => {
                    if self.depth == LEVELS + 1 {
                        from = at + 1;
                        passed.get_or_insert_default();
                    }
                    self.depth = self.depth.saturating_sub(1);
                }
                _ => {}
            }
        }
        let rest = match self.depth <= LEVELS {
            true => &piece[from..],
            false => &[],
        };
        match passed {
            Some(mut passed) => {
                passed.extend_from_slice(rest);
                passed.into()
            }
            None if rest.len() == piece.len() => piece,
            None => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// A text in pieces of that size.
    fn in_pieces(text: &str, size: usize) -> String {
        let mut shallow = Shallow::default();
        let pieces = text.as_bytes().chunks(size);
        let passed: Vec<u8> = pieces
            .flat_map(|piece| shallow.pass(Bytes::copy_from_slice(piece)).to_vec())
            .collect();
        String::from_utf8(passed).unwrap()
    }

    fn nested(levels: usize, within: &str) -> String {
        format!("{}{within}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_is_nested_too_deep_is_left_out_and_nothing_else() {
        for size in [1, 2, 7, 100, 100_000] {
            let fine = nested(LEVELS, r#""a\"]]}{""#);
            assert_eq!(in_pieces(&fine, size), fine);
            let deep = format!(r#"[1,{{"a":{},"b":[2]}},3]"#, nested(5000, "{}"));
            assert_eq!(
                in_pieces(&deep, size),
                format!(r#"[1,{{"a":{},"b":[2]}},3]"#, nested(LEVELS - 2, "null"))
            );
            let two = nested(LEVELS, r#"[[1]],{"a":["\\"]},4"#);
            assert_eq!(in_pieces(&two, size), nested(LEVELS, "null,null,4"));
            let lines = format!("{deep}\n{fine}\n");
            assert!(in_pieces(&lines, size).ends_with(&format!("\n{fine}\n")));
        }
    }

    proptest! {
        #[test]
        fn what_is_not_nested_deep_is_passed_on_as_it_is(text in r#"[\[\]{}"\\,a: ]{0,90}"#, size in 1_usize..10) {
            prop_assert_eq!(in_pieces(&text, size), text);
        }

        #[test]
        fn what_is_passed_on_can_be_read(levels in 1_usize..2000, text in "\\PC{0,20}", size in 1_usize..50) {
            let within = Value::String(text).to_string();
            let passed = in_pieces(&format!(r#"{{"a":{},"b":1}}"#, nested(levels, &within)), size);
            let value: Value = serde_json::from_str(&passed).unwrap();
            prop_assert_eq!(&value["b"], &Value::from(1));
        }
    }
}
