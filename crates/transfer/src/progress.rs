//! Telling how far a pull is, often enough and not more.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wharf_types::Descriptor;

use crate::{Progress, Report};

/// How often the bytes of one blob are told of.
const EVERY: Duration = Duration::from_millis(100);

/// Counts the bytes of one blob and tells of them now and then, the first and the last time always.
pub(crate) struct Meter {
    report: Report,
    target: Descriptor,
    kind: fn(Descriptor, u64) -> Progress,
    state: Mutex<(u64, Option<Instant>)>,
}

impl Meter {
    /// Counts from `done` on.
    pub(crate) fn new(report: &Report, target: &Descriptor, kind: fn(Descriptor, u64) -> Progress, done: u64) -> Self {
        Self { report: report.clone(), target: target.clone(), kind, state: Mutex::new((done, None)) }
    }

    /// Counts more bytes.
    pub(crate) fn add(&self, bytes: usize) {
        let done = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 += bytes as u64;
            let due = state.1.is_none_or(|told| told.elapsed() >= EVERY) || state.0 >= self.target.size;
            if !due {
                return;
            }
            state.1 = Some(Instant::now());
            state.0
        };
        (self.report)((self.kind)(self.target.clone(), done));
    }
}
