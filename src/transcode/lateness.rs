//! How late a codec is, and which pictures a slower rung takes. Pure: time is media time, which in a live stream runs as
//! wall time does.

use std::time::Duration;

use crate::media::{MediaDuration, MediaTime, Timescale};

/// A picture pays back this part of its own length.
const PAYBACK: u64 = 16;

/// The lost time that a codec owes. What it misses is added, what it does pays back slowly, so that a codec that is a
/// tenth too slow and keeps losing segments is found as surely as one that stands still.
#[derive(Debug)]
pub(super) struct Lateness {
    owed: u64,
    limit: u64,
    delivered: bool,
}

impl Lateness {
    pub(super) fn new(limit: Duration) -> Self {
        Self { owed: 0, limit: MediaDuration::from_std(limit, Timescale::MICROS).ticks() * PAYBACK, delivered: false }
    }

    pub(super) fn missed(&mut self, length: MediaDuration) {
        if self.owed == 0 {
            self.delivered = false;
        }
        self.owed = self.owed.saturating_add(length.to_scale(Timescale::MICROS).ticks().saturating_mul(PAYBACK));
    }

    pub(super) fn did(&mut self, length: MediaDuration) {
        self.delivered = true;
        self.owed = self.owed.saturating_sub(length.to_scale(Timescale::MICROS).ticks());
    }

    pub(super) fn is_too_much(&self) -> bool {
        self.owed > self.limit
    }

    /// It did nothing at all since it began to owe.
    pub(super) fn is_stuck(&self) -> bool {
        !self.delivered
    }

    /// Somebody was given up: everybody begins anew.
    pub(super) fn forgive(&mut self) {
        self.owed = 0;
    }
}

/// Chooses the pictures of a rung with a limited frame rate.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Ticks of 90 kHz between two pictures.
    interval: Option<i64>,
    due: i64,
}

impl Pacer {
    pub(super) fn new(frame_rate: Option<u32>) -> Self {
        Self { interval: frame_rate.map(|rate| i64::from(90_000 / rate.max(1))), due: i64::MIN }
    }

    /// Whether the rung takes this picture. Always at a cut, so that all rungs cut at the same picture.
    pub(super) fn takes(&mut self, pts: MediaTime, cut: bool) -> bool {
        let Some(interval) = self.interval else { return true };
        let pts = pts.to_scale(Timescale::MPEG).ticks();
        // A sixteenth early counts as in time: sources that count in milliseconds jitter.
        if !cut && pts < self.due.saturating_sub(interval / 16) {
            return false;
        }
        let behind = pts.saturating_sub(self.due) > interval;
        self.due = if cut || behind { pts } else { self.due } + interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(millis: u64) -> MediaDuration {
        MediaDuration::new(millis, Timescale::MILLIS)
    }

    #[test]
    fn one_that_stands_still_is_found_after_the_limit() {
        let mut late = Lateness::new(Duration::from_secs(3));
        let lost = (1..1000).find(|_| {
            late.missed(length(40));
            late.is_too_much()
        });
        assert_eq!(lost, Some(76));
        assert!(late.is_stuck());
    }

    #[test]
    fn one_that_lost_a_second_once_pays_it_back() {
        let mut late = Lateness::new(Duration::from_secs(3));
        for _ in 0..100 {
            late.missed(length(1000));
            for _ in 0..16 * 25 {
                late.did(length(40));
            }
            assert!(!late.is_too_much() && !late.is_stuck());
        }
    }

    #[test]
    fn one_that_loses_a_second_in_six_is_found() {
        let mut late = Lateness::new(Duration::from_secs(3));
        let cycles = (1..100).find(|_| {
            late.did(length(5000));
            late.missed(length(1000));
            late.is_too_much()
        });
        assert_eq!(cycles, Some(4));
    }

    fn taken(rate: u32, step: i64, cuts: &[i64]) -> Vec<i64> {
        let mut pacer = Pacer::new(Some(rate));
        let pictures = (0..12).map(|n| n * step);
        pictures.filter(|&at| pacer.takes(MediaTime::new(at, Timescale::MPEG), cuts.contains(&at))).collect()
    }

    #[test]
    fn a_slower_rung_takes_every_second_picture_and_every_cut() {
        assert_eq!(taken(15, 3000, &[0]), [0, 6000, 12000, 18000, 24000, 30000]);
        assert_eq!(taken(15, 3000, &[0, 15000]), [0, 6000, 12000, 15000, 21000, 27000, 33000]);
        assert_eq!(taken(20, 3000, &[0]), [0, 6000, 9000, 15000, 18000, 24000, 27000, 33000]);
        assert_eq!(taken(60, 3000, &[0]).len(), 12);
    }
}
