//! The operator's own access keys, as its provider of credentials has them, for the simulation.
//!
//! It behaves as the operator's real one: what AWS refuses is looked for anew with the next call, but not all the time.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// How long passes between two searches while AWS refuses what there is.
const PAUSE: Duration = Duration::from_secs(3);

/// The keys of one operator.
#[derive(Clone)]
pub struct OwnKeys(Arc<Mutex<Keys>>);

struct Keys {
    /// What a search would find.
    offered: String,
    held: String,
    generation: u64,
    refused: bool,
    searched: Instant,
}

impl OwnKeys {
    /// A provider that has one key.
    pub fn new(access_key_id: &str) -> Self {
        Self(Arc::new(Mutex::new(Keys {
            offered: access_key_id.to_owned(),
            held: access_key_id.to_owned(),
            generation: 1,
            refused: false,
            searched: Instant::now(),
        })))
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap()
    }

    /// From now on a search finds this key.
    pub fn offer(&self, access_key_id: &str) {
        access_key_id.clone_into(&mut self.keys().offered);
    }

    /// The key that the next call is signed with.
    pub fn current(&self) -> String {
        let mut keys = self.keys();
        if keys.refused && keys.searched.elapsed() >= PAUSE {
            keys.searched = Instant::now();
            keys.refused = false;
            if keys.held != keys.offered {
                keys.held = keys.offered.clone();
                keys.generation += 1;
            }
        }
        keys.held.clone()
    }

    /// How many keys there have been.
    pub fn generation(&self) -> u64 {
        self.keys().generation
    }

    /// AWS refused a call that was signed with that key.
    pub fn refused(&self, access_key_id: &str) {
        let mut keys = self.keys();
        keys.refused |= keys.held == access_key_id;
    }
}
