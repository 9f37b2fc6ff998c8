//! What AWS does with each call: what a storm brings, and a little all the time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use support::strict_aws::{Fault, Refusal, Request, StrictAws};

use crate::fault::{AwsFault, REFUSALS};
use crate::judge::Moment;
use crate::record::Record;

/// The most calls a second while AWS throttles, and how many at once.
const THROTTLED: (f64, f64) = (0.5, 2.0);

/// How many of a hundred calls fail when nothing else is wrong. A role whose call failed is spared the next time: AWS answers within the
/// overlap, so nothing may expire.
const SPRINKLED: u8 = 6;

/// A call of `AssumeRole`.
#[derive(Clone, Debug)]
pub struct Asked {
    pub at: Moment,
    pub role_arn: String,
}

/// The weather over AWS. Each copy is the same one.
#[derive(Clone)]
pub struct Weather(Arc<Mutex<Inner>>);

struct Inner {
    storm: Option<AwsFault>,
    random: Rng,
    /// The roles whose last call failed.
    spared: BTreeSet<String>,
    asked: Vec<Asked>,
}

impl Weather {
    /// Lets it rule over an AWS.
    pub fn over(aws: &StrictAws, seed: u64, record: &Record) -> Self {
        let weather = Self(Arc::new(Mutex::new(Inner {
            storm: None,
            random: Rng::with_seed(seed),
            spared: BTreeSet::new(),
            asked: Vec::new(),
        })));
        let (inner, record) = (weather.0.clone(), record.clone());
        aws.inject_faults(move |request| inner.lock().unwrap().meet(request, &record));
        weather
    }

    /// A storm comes, or goes.
    pub fn set(&self, aws: &StrictAws, storm: Option<AwsFault>) {
        match storm {
            Some(AwsFault::Throttle) => aws.throttle(THROTTLED.0, THROTTLED.1),
            _ => aws.throttle_no_more(),
        }
        self.0.lock().unwrap().storm = storm;
    }

    /// The calls since it was asked last.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }
}

impl Inner {
    fn meet(&mut self, request: &Request, record: &Record) -> Option<Fault> {
        let role_arn = request.role_arn().map(str::to_owned);
        if let Some(role_arn) = &role_arn {
            self.asked.push(Asked {
                at: record.now(),
                role_arn: role_arn.clone(),
            });
        }
        if let Some(storm) = self.storm {
            return self.fault(storm);
        }
        let role_arn = role_arn?;
        if self.spared.remove(&role_arn) || self.random.u8(0..100) >= SPRINKLED {
            return None;
        }
        self.spared.insert(role_arn.clone());
        let fault = match self.random.u8(0..6) {
            0 => Fault::Reset,
            1 => Fault::Garbage,
            2 => Fault::Truncated,
            3 => Fault::Slow(Duration::from_secs(self.random.u64(1..5))),
            _ => self.fault(AwsFault::Refuse(0, ""))?,
        };
        record.note(&format!("{role_arn} meets {fault:?}"));
        Some(fault)
    }

    fn fault(&mut self, storm: AwsFault) -> Option<Fault> {
        let random = &mut self.random;
        Some(match storm {
            AwsFault::Reset => Fault::Reset,
            AwsFault::Hang => Fault::Hang,
            AwsFault::Slow(seconds) => Fault::Slow(Duration::from_secs(seconds)),
            AwsFault::Garbage => Fault::Garbage,
            AwsFault::Truncated => Fault::Truncated,
            AwsFault::WrongDate => {
                let by = random.i64(3600..300_000);
                Fault::WrongDate(if random.bool() { by } else { -by })
            }
            AwsFault::WrongEnd => match random.u8(0..3) {
                0 => Fault::PastEnd,
                1 => Fault::ShortEnd,
                _ => Fault::FarEnd,
            },
            AwsFault::Refuse(0, _) => {
                let (status, code) = REFUSALS[random.usize(0..REFUSALS.len())];
                return self.fault(AwsFault::Refuse(status, code));
            }
            AwsFault::Refuse(status, code) => {
                let mut refusal = Refusal::new(status, code, "planted");
                if matches!(status, 429 | 503) && random.bool() {
                    refusal.retry_after = Some(random.u64(1..10));
                }
                Fault::Refuse(refusal)
            }
            AwsFault::Throttle => return None,
            AwsFault::Anything => {
                let fault = match random.u8(0..10) {
                    0 => AwsFault::Reset,
                    1 => AwsFault::Hang,
                    2 => AwsFault::Slow(random.u64(1..25)),
                    3 => AwsFault::Garbage,
                    4 => AwsFault::Truncated,
                    5 => AwsFault::WrongDate,
                    6 => AwsFault::WrongEnd,
                    7 | 8 => AwsFault::Refuse(0, ""),
                    _ => return None,
                };
                return self.fault(fault);
            }
        })
    }
}
