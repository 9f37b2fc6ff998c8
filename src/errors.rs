//! How an error is put into words, and how often it is told.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

/// How often the same failure is logged again while it lasts.
const LOG_AGAIN: Duration = Duration::from_secs(60);

/// The messages of an error and its causes, each once.
#[must_use]
pub fn chain_of(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = Vec::new();
    for cause in causes(error) {
        let message = cause.to_string();
        if !messages.contains(&message) {
            messages.push(message);
        }
    }
    messages.join(": ")
}

/// An error and its causes, from the outside in.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// A text without line breaks, and without whatever else moves the cursor or turns the direction of reading: what somebody else wrote, and an
/// error quotes, must not look like a line of the operator's.
#[must_use]
pub fn on_one_line(text: &str) -> String {
    let misleads = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match misleads(c) {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}

/// Keeps the log readable where attempts follow each other within seconds, for as long as the other side is away.
#[derive(Debug, Default)]
pub struct FailureLog(Option<(Instant, String)>);

impl FailureLog {
    /// Whether a failure is worth a line: it is another one than the last, or that was told a minute ago.
    pub fn is_news(&mut self, error: &str) -> bool {
        if let Some((logged, last)) = &self.0
            && last == error
            && logged.elapsed() < LOG_AGAIN
        {
            return false;
        }
        self.0 = Some((Instant::now(), error.to_owned()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_lasts_is_logged_once_a_minute() {
        let mut log = FailureLog::default();
        assert!(log.is_news("refused") && !log.is_news("refused"));
        assert!(log.is_news("silent"));
        tokio::time::advance(LOG_AGAIN).await;
        assert!(log.is_news("silent") && !log.is_news("silent"));
    }
}
