//! Where every rung must put a random access point.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::media::MediaTime;

/// More than the codecs' queues can hold cuts. One that is older was passed by everybody.
const KEPT: usize = 256;

/// The segmenter's cuts, in media time. Clones share the same list. A cut is pushed before the access unit that it cuts
/// at is fed.
#[derive(Clone, Debug, Default)]
pub struct Cuts(Arc<Mutex<List>>);

#[derive(Debug, Default)]
struct List {
    /// How many were pruned.
    gone: usize,
    times: VecDeque<MediaTime>,
}

impl Cuts {
    /// The first picture at or after `at` becomes a random access point. Cuts come in order.
    pub fn push(&self, at: MediaTime) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if list.times.len() == KEPT {
            list.times.pop_front();
            list.gone += 1;
        }
        list.times.push_back(at);
    }

    pub(super) fn reader(&self) -> Reader {
        Reader { cuts: self.clone(), passed: 0 }
    }
}

/// Goes through the cuts once.
#[derive(Debug)]
pub(super) struct Reader {
    cuts: Cuts,
    passed: usize,
}

impl Reader {
    /// Whether a cut lies at `pts` or before it that was not seen yet.
    pub(super) fn reaches(&mut self, pts: MediaTime) -> bool {
        let list = self.cuts.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = list.times.iter().skip(self.passed.saturating_sub(list.gone));
        let reached = ahead.take_while(|&&cut| cut <= pts).count();
        if reached > 0 {
            self.passed = self.passed.max(list.gone) + reached;
        }
        reached > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Timescale;

    fn at(ticks: i64) -> MediaTime {
        MediaTime::new(ticks, Timescale::MPEG)
    }

    #[test]
    fn the_first_picture_at_or_after_a_cut_is_told_once() {
        let cuts = Cuts::default();
        let mut reader = cuts.reader();
        assert!(!reader.reaches(at(0)));
        cuts.push(at(0));
        cuts.push(at(10));
        cuts.push(at(20));
        assert!(reader.reaches(at(3)));
        assert!(!reader.reaches(at(6)));
        assert!(reader.reaches(at(20)), "two cuts in one picture");
        assert!(!reader.reaches(at(30)));
    }

    #[test]
    fn a_list_that_nobody_reads_stays_short_and_late_readers_still_find_their_place() {
        let cuts = Cuts::default();
        let mut reader = cuts.reader();
        for n in 0..1000 {
            cuts.push(at(n));
        }
        assert_eq!(cuts.0.lock().unwrap().times.len(), KEPT);
        assert!(reader.reaches(at(990)));
        assert!(!reader.reaches(at(990)));
        assert!(reader.reaches(at(991)));
    }
}
