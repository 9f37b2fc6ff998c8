//! What was found, and how it is shown.

use serde::Serialize;

use crate::errors::on_one_line;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// It keeps a role from working, or will.
    Failed,
    /// That could not be found out.
    Unknown,
}

impl Outcome {
    fn sign(self) -> char {
        match self {
            Self::Ok => '\u{2713}',
            Self::Failed => '\u{2717}',
            Self::Unknown => '?',
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at. Several may have the same name.
    pub name: &'static str,
    /// How it is.
    pub outcome: Outcome,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Check {
    /// It is as it should be.
    pub(super) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            outcome: Outcome::Ok,
            message: message.into(),
            advice: None,
        }
    }

    /// It is not.
    pub(super) fn failed(name: &'static str, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            name,
            outcome: Outcome::Failed,
            message: message.into(),
            advice: Some(advice.into()),
        }
    }

    /// That could not be found out.
    pub(super) fn unknown(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            outcome: Outcome::Unknown,
            message: message.into(),
            advice: None,
        }
    }

    /// Known to be wrong no more.
    pub(super) fn in_doubt(self) -> Self {
        match self.outcome {
            Outcome::Failed => Self {
                outcome: Outcome::Unknown,
                ..self
            },
            _ => self,
        }
    }

    /// With what to do about it.
    pub(super) fn with_advice(self, advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..self
        }
    }
}

/// All that was found, in the order in which it was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What was looked at.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether nothing is known to be wrong.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }

    /// For people: a line for each check, and another one for what to do about it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            let (sign, name) = (check.outcome.sign(), check.name);
            text.push_str(&format!("{sign} {name}: {}\n", line(&check.message)));
            if let Some(advice) = &check.advice {
                text.push_str(&format!("  \u{2192} {}\n", line(advice)));
            }
        }
        text
    }

    /// For programs: one object, with all checks in `checks`.
    ///
    /// # Errors
    /// None that is known of.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }
}

/// A text as one line, whoever wrote it and however many it has.
fn line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    on_one_line(&lines.join(" "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report() -> Report {
        Report {
            checks: vec![
                Check::ok("one", "fine"),
                Check::unknown("two", "nobody tells"),
                Check::failed("three", "no\nway \u{1b}[1m", "go\nround"),
            ],
        }
    }

    #[test]
    fn each_check_is_a_line_whatever_others_wrote() {
        let text = report().text();
        let expected =
            "\u{2713} one: fine\n? two: nobody tells\n\u{2717} three: no way \\u{1b}[1m\n  \u{2192} go round\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_get_one_object() {
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(
            json["checks"][1],
            json!({"name": "two", "outcome": "unknown", "message": "nobody tells", "advice": null})
        );
        assert_eq!(json["checks"][2]["outcome"], "failed");
        assert_eq!(json["checks"][0]["outcome"], "ok");
    }

    #[test]
    fn what_is_not_known_is_nothing_wrong() {
        let mut report = report();
        assert!(!report.is_healthy());
        report.checks.pop();
        assert!(report.is_healthy());
    }
}
