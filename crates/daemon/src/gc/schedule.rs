//! The arithmetic, without clocks of its own.

use std::time::{Duration, Instant};

use crate::config::Gc;

/// The shortest time between two runs that no threshold asked for.
const SHORTEST: Duration = Duration::from_secs(1);

/// Counts changes and says when the collector is to run next.
pub(super) struct Schedule {
    config: Gc,
    mutations: u64,
    deletions: u64,
    next: Option<Instant>,
    /// Before this the collector has had its share of the time.
    rested: Instant,
    runs: u32,
    took: Duration,
}

impl Schedule {
    /// Nothing has changed yet.
    pub(super) fn new(config: Gc, now: Instant) -> Self {
        let startup = config.startup_delay.get();
        let next = (!startup.is_zero()).then(|| now + startup);
        Self { config, mutations: 0, deletions: 0, next, rested: now + SHORTEST, runs: 0, took: Duration::ZERO }
    }

    /// When the collector is to run; nothing while there is no reason.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Counts changes. A threshold that is met asks for a run at once; a deletion for one when the collector has rested, and not
    /// before a moment has passed in which whoever deleted may name what it goes on with.
    pub(super) fn changed(&mut self, all: u64, deletions: u64, now: Instant) {
        self.mutations += all;
        self.deletions += deletions;
        let met = |threshold: u64, count: u64| threshold > 0 && count >= threshold;
        if met(self.config.deletion_threshold, self.deletions) || met(self.config.mutation_threshold, self.mutations) {
            self.at(now + self.config.schedule_delay.get());
        } else if self.deletions > 0 && self.config.pause_threshold > 0.0 {
            self.at(self.rested.max(now + SHORTEST));
        }
    }

    /// A run took so long. What it removed itself counts as no change.
    pub(super) fn ran(&mut self, took: Duration, now: Instant) {
        (self.mutations, self.deletions, self.next) = (0, 0, None);
        (self.runs, self.took) = (self.runs.saturating_add(1), self.took + took);
        if self.config.pause_threshold > 0.0 {
            let average = self.took.as_secs_f64() / f64::from(self.runs);
            let rest = Duration::from_secs_f64(average / self.config.pause_threshold - average);
            self.rested = now + rest.max(SHORTEST);
        }
    }

    /// A run failed: it is tried again then.
    pub(super) fn again(&mut self, at: Instant) {
        self.next = Some(at);
    }

    fn at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Duration as Written;

    fn schedule(change: impl FnOnce(&mut Gc)) -> (Schedule, Instant) {
        let mut config = Gc { startup_delay: Written::from_millis(0), ..Gc::default() };
        change(&mut config);
        let now = Instant::now();
        (Schedule::new(config, now), now)
    }

    #[test]
    fn the_first_run_comes_after_the_start() {
        let (schedule, now) = schedule(|config| config.startup_delay = Written::from_millis(100));
        assert_eq!(schedule.next(), Some(now + Duration::from_millis(100)));
    }

    #[test]
    fn mutations_ask_for_a_run_once_there_are_enough() {
        let (mut schedule, now) = schedule(|config| config.schedule_delay = Written::from_millis(5));
        schedule.changed(99, 0, now);
        assert_eq!(schedule.next(), None);
        schedule.changed(1, 0, now);
        assert_eq!(schedule.next(), Some(now + Duration::from_millis(5)));
        schedule.ran(Duration::from_millis(1), now);
        assert_eq!(schedule.next(), None);
        schedule.changed(99, 0, now);
        assert_eq!(schedule.next(), None, "a run begins the count again");
    }

    #[test]
    fn a_deletion_asks_for_a_run_that_keeps_to_its_share_of_the_time() {
        let (mut schedule, now) = schedule(|_| {});
        schedule.ran(Duration::from_secs(1), now);
        schedule.changed(1, 1, now + Duration::from_secs(2));
        // One second is 2 % of fifty.
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(49)));
        schedule.changed(1, 1, now + Duration::from_secs(60));
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(49)));
        schedule.ran(Duration::ZERO, now + Duration::from_secs(61));
        schedule.changed(1, 1, now + Duration::from_secs(90));
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(91)), "what was just deleted rests for a second");
    }

    #[test]
    fn without_a_share_only_thresholds_count() {
        let (mut schedule, now) = schedule(|config| {
            config.pause_threshold = 0.0;
            config.deletion_threshold = 2;
        });
        schedule.changed(1, 1, now);
        assert_eq!(schedule.next(), None);
        schedule.changed(1, 1, now);
        assert_eq!(schedule.next(), Some(now));
    }

    #[test]
    fn a_failed_run_is_tried_again() {
        let (mut schedule, now) = schedule(|_| {});
        schedule.again(now);
        assert_eq!(schedule.next(), Some(now));
    }
}
