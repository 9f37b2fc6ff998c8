//! A token bucket.

use k8s_openapi::jiff::Timestamp;

#[derive(Clone, Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    seen: Timestamp,
}

impl Bucket {
    pub fn new(rate: f64, burst: f64, now: Timestamp) -> Self {
        Self {
            rate,
            burst,
            tokens: burst,
            seen: now,
        }
    }

    pub fn take(&mut self, now: Timestamp) -> bool {
        let passed = now.duration_since(self.seen).as_secs_f64().max(0.0);
        self.seen = now;
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }
}
