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
