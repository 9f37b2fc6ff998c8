//! Whether the operator is well: the heartbeat of the supervisor, and how its watches are.
//!
//! The supervisor feeds it from its mailbox loop. Probes read it and ask nobody, so they are answered however much else is asked of the
//! operator.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How old a heartbeat may become. The supervisor gives one every ten seconds at least.
const HEARTBEAT_MAX_AGE: Duration = Duration::from_secs(30);

/// How long a watch may hear nothing. Each is renewed about twice a minute, which is heard too.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How a watch is.
#[derive(Clone, Copy, Debug)]
pub struct WatchHealth {
    /// What it watches.
    pub watch: &'static str,
    /// Whether a list has been complete once.
    pub listed: bool,
    /// When it was last heard, or when it began.
    pub heard: Instant,
}

/// A sign of life of the supervisor.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// When it was given.
    pub at: Instant,
    /// How the watches were: that on the resources, and that on their Secrets.
    pub watches: [WatchHealth; 2],
    /// Whether the policies have been listed once, or are known not to be there.
    pub policies_listed: bool,
}

/// The last heartbeat. Each copy shows the same.
#[derive(Clone, Debug)]
pub struct Health(Arc<watch::Sender<Option<Heartbeat>>>);

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(watch::channel(None).0))
    }
}

impl Health {
    /// The supervisor is alive.
    pub fn beat(&self, heartbeat: Heartbeat) {
        self.0.send_replace(Some(heartbeat));
    }

    /// Alive is an operator whose supervisor works off its messages, or that is just starting. What AWS or the API server do is no reason to
    /// restart it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn alive(&self) -> Result<&'static str, String> {
        match self.current()? {
            Some(_) => Ok("ok"),
            None => Ok("starting"),
        }
    }

    /// Ready is an operator that knows all resources and all their Secrets, and learns what becomes of them.
    ///
    /// # Errors
    /// What is missing.
    pub fn ready(&self) -> Result<&'static str, String> {
        let heartbeat = self.current()?.ok_or("starting")?;
        if heartbeat.watches.iter().any(|watch| !watch.listed) {
            return Err("the resources and their Secrets are not listed yet".to_owned());
        }
        if !heartbeat.policies_listed {
            return Err("the AWSAssumeRolePolicies are not listed yet".to_owned());
        }
        for WatchHealth { watch, heard, .. } in heartbeat.watches {
            let silence = heard.elapsed();
            if silence > SILENCE_MAX {
                let seconds = silence.as_secs();
                return Err(format!("the watch on the {watch} has heard nothing for {seconds} s"));
            }
        }
        Ok("ok")
    }

    /// Waits until the supervisor knows all resources.
    pub async fn resources_listed(&self) {
        let is_listed = |heartbeat: &Option<Heartbeat>| heartbeat.is_some_and(|heartbeat| heartbeat.watches[0].listed);
        // It cannot be closed: this is a copy of it.
        let _ = self.0.subscribe().wait_for(is_listed).await;
    }

    fn current(&self) -> Result<Option<Heartbeat>, String> {
        let heartbeat = *self.0.borrow();
        match heartbeat.map(|heartbeat| heartbeat.at.elapsed()) {
            Some(age) if age > HEARTBEAT_MAX_AGE => {
                let seconds = age.as_secs();
                Err(format!("the supervisor has given no sign of life for {seconds} s"))
            }
            _ => Ok(heartbeat),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn beat(health: &Health, listed: bool, heard: Instant) {
        let watch = |watch| WatchHealth { watch, listed, heard };
        health.beat(Heartbeat {
            at: Instant::now(),
            watches: [watch("resources"), watch("Secrets")],
            policies_listed: true,
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_is_stuck_is_not_alive() {
        let health = Health::default();
        assert_eq!(health.alive(), Ok("starting"));
        assert_eq!(health.ready(), Err("starting".to_owned()));
        beat(&health, true, Instant::now());
        assert_eq!((health.alive(), health.ready()), (Ok("ok"), Ok("ok")));
        tokio::time::advance(Duration::from_secs(29)).await;
        assert_eq!(health.alive(), Ok("ok"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(health.alive().unwrap_err().contains("no sign of life for 31 s"));
        assert!(health.ready().is_err());
        beat(&health, true, Instant::now());
        assert_eq!(health.alive(), Ok("ok"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_that_does_not_hear_its_watches_is_alive_and_not_ready() {
        let health = Health::default();
        let start = Instant::now();
        beat(&health, false, start);
        assert_eq!(health.alive(), Ok("ok"));
        assert!(health.ready().unwrap_err().contains("not listed"));
        assert!(health.resources_listed().now_or_never().is_none());
        tokio::time::advance(Duration::from_secs(121)).await;
        beat(&health, true, start);
        assert_eq!(health.alive(), Ok("ok"));
        let silent = health.ready().unwrap_err();
        assert_eq!(silent, "the watch on the resources has heard nothing for 121 s");
        beat(&health, true, Instant::now());
        assert_eq!(health.ready(), Ok("ok"));
        assert!(health.resources_listed().now_or_never().is_some());
    }
}
