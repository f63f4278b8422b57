//! The queue in front of a decoder. A full one makes the feed skip to the next random access point.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::{Pressure, Shared};
use crate::media::{AccessUnit, MediaDuration, MediaTime, Track};

/// About two seconds of coded pictures: what a decoder may be behind before anything is lost.
const QUEUE: usize = 64;

/// What a decoder gets.
pub(super) enum Work {
    Unit {
        unit: AccessUnit,
        /// How much was lost before it, when anything was.
        lost: Option<MediaDuration>,
    },
    /// What follows does not join.
    Gap,
    /// What follows has other parameters.
    Track(Box<Track>),
}

pub(super) struct Feed {
    queue: SyncSender<Work>,
    pressure: Pressure,
    shared: Arc<Shared>,
    /// Since when units are being lost.
    losing: Option<MediaTime>,
    /// A gap found the queue full and goes ahead of the next unit.
    gap_owed: bool,
    /// So did new parameters.
    track_owed: Option<Track>,
}

pub(super) fn channel(pressure: Pressure, shared: &Arc<Shared>) -> (Feed, Receiver<Work>) {
    let (queue, work) = sync_channel(QUEUE);
    (Feed { queue, pressure, shared: Arc::clone(shared), losing: None, gap_owed: false, track_owed: None }, work)
}

impl Feed {
    pub(super) fn push(&mut self, unit: &AccessUnit) {
        let passes = self.losing.is_none() || unit.random_access;
        if passes && self.gap_owed {
            self.gap_owed = !self.send(Work::Gap);
        }
        if passes && let Some(track) = self.track_owed.take() {
            self.update(track);
        }
        let lost = self.losing.and_then(|since| unit.dts.since(since));
        if passes && !self.gap_owed && self.track_owed.is_none() && self.send(Work::Unit { unit: unit.clone(), lost }) {
            self.losing = None;
        } else {
            self.losing.get_or_insert(unit.dts);
            self.shared.units_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn gap(&mut self) {
        self.gap_owed = !self.send(Work::Gap);
    }

    pub(super) fn update(&mut self, track: Track) {
        if !self.send(Work::Track(Box::new(track.clone()))) {
            self.track_owed = Some(track);
        }
    }

    /// Whether it went, or nobody listens any more.
    fn send(&self, work: Work) -> bool {
        match self.pressure {
            Pressure::Live => !matches!(self.queue.try_send(work), Err(TrySendError::Full(_))),
            Pressure::Wait => {
                // The decoder has ended: the output says why.
                let _ = self.queue.send(work);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{Timescale, TrackId};
    use crate::runtime::Clock;

    fn unit(ticks: i64, random_access: bool) -> AccessUnit {
        let at = MediaTime::new(ticks, Timescale::MPEG);
        let received = Clock.now();
        AccessUnit { track: TrackId(1), dts: at, pts: at, duration: None, random_access, data: Bytes::new(), received }
    }

    #[test]
    fn a_full_queue_loses_units_up_to_the_next_random_access_point() {
        let shared = Arc::new(Shared::default());
        let (mut feed, work) = channel(Pressure::Live, &shared);
        for n in 0..70 {
            feed.push(&unit(n, n == 0));
        }
        feed.gap();
        assert_eq!(work.try_iter().count(), QUEUE);
        feed.push(&unit(70, false));
        feed.push(&unit(71, true));
        feed.push(&unit(72, false));
        let came: Vec<Work> = work.try_iter().collect();
        assert!(matches!(came[0], Work::Gap));
        let Work::Unit { unit: first, lost: Some(lost) } = &came[1] else { panic!("a unit after a loss") };
        assert_eq!((first.dts.ticks(), lost.ticks()), (71, 7));
        assert!(matches!(&came[2], Work::Unit { lost: None, .. }));
        assert_eq!(shared.units_lost.load(Ordering::Relaxed), 7);
    }
}
