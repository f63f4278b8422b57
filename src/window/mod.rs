//! Stage 4: what can be watched right now. One task owns a [`Window`] and changes it; readers see immutable [`Snapshot`]s.

mod catalog;
mod presentation;
mod snapshot;
mod text;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use catalog::Catalog;
pub use presentation::{Offered, Presentation, Publisher, State};
pub use snapshot::{Lookup, Snapshot, Stretch};
pub use text::{Memo, Shown, Text, TextKind, Texts};

use crate::media::{
    ByteSize, Epoch, MediaDuration, MediaSequence, MediaTime, Position, Segment, Targets, Timescale, duration_text,
};

/// `[window]` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How much playlists list. What left them stays fetchable for as long again.
    #[serde(with = "duration_text")]
    pub length: Duration,
    /// Bytes of one stream, all renditions together. When it is not enough, the oldest segments go early.
    pub max_bytes: ByteSize,
}

impl Default for Config {
    fn default() -> Self {
        Self { length: Duration::from_secs(60), max_bytes: ByteSize::mib(512) }
    }
}

/// Fewer listed segments than this leave a player nothing to start from (RFC 8216bis § 6.2.2: three target durations).
const LEAST_LISTED: usize = 3;

/// One rendition's segments, by the task that adds them.
#[derive(Debug)]
pub struct Window {
    length: MediaDuration,
    kept: VecDeque<Arc<Segment>>,
    stretches: VecDeque<Stretch>,
    /// Of `kept`, those that playlists no longer list.
    retired: usize,
    bytes: u64,
    discontinuity_sequence: u64,
    epoch: Epoch,
    targets: Targets,
    ended: bool,
    first: Option<MediaSequence>,
    open: Option<Arc<Segment>>,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

impl Window {
    /// Nothing in it yet; the stream had so many `discontinuities` before its first segment.
    pub fn new(config: &Config, epoch: Epoch, targets: Targets, discontinuities: u64) -> Self {
        let snapshot = watch::Sender::new(Arc::new(Snapshot::empty(epoch, targets)));
        Self {
            length: MediaDuration::from_std(config.length, Timescale::MPEG),
            kept: VecDeque::new(),
            stretches: VecDeque::new(),
            retired: 0,
            bytes: 0,
            discontinuity_sequence: discontinuities,
            epoch,
            targets,
            ended: false,
            first: None,
            open: None,
            snapshot,
        }
    }

    /// For those who watch.
    pub fn reader(&self) -> Reader {
        Reader(self.snapshot.subscribe())
    }

    /// Adds the newest segment and gives up what the window's length does not hold. Returns the newest segment.
    pub fn append(&mut self, segment: Segment) -> Arc<Segment> {
        debug_assert!(self.kept.back().is_none_or(|last| last.sequence.next() == segment.sequence), "numbers go on");
        self.open = None;
        self.first.get_or_insert(segment.sequence);
        if !self.joins(&segment) {
            self.stretches.push_back(Stretch { first: segment.sequence, at: self.begin(&segment) });
        }
        let newest = Arc::new(segment);
        self.bytes += newest.len();
        self.kept.push_back(Arc::clone(&newest));
        let zero = MediaDuration::zero(Timescale::MPEG);
        let mut listed = self.kept.iter().skip(self.retired).fold(zero, |sum, segment| sum.plus(segment.duration));
        while self.kept.len() - self.retired > LEAST_LISTED {
            let oldest = self.kept[self.retired].duration;
            // Listed as long as the window is not full without it.
            let rest = listed.ticks().saturating_sub(oldest.to_scale(Timescale::MPEG).ticks());
            if rest < self.length.ticks() {
                break;
            }
            listed = MediaDuration::new(rest, Timescale::MPEG);
            self.retire_oldest();
        }
        let mut unlisted = self.kept.iter().take(self.retired).fold(zero, |sum, segment| sum.plus(segment.duration));
        while self.retired > 0 && unlisted > self.length {
            let oldest = self.kept[0].duration.to_scale(Timescale::MPEG).ticks();
            unlisted = MediaDuration::new(unlisted.ticks().saturating_sub(oldest), Timescale::MPEG);
            self.drop_oldest();
        }
        self.publish();
        newest
    }

    /// Whether it needs nothing that a player of the segment before it does not have.
    fn joins(&self, segment: &Segment) -> bool {
        self.kept.back().is_some_and(|last| match (last.is_gap(), segment.is_gap()) {
            (true, true) => !segment.discontinuity,
            (false, false) => !segment.discontinuity && last.init.number == segment.init.number,
            (true, false) | (false, true) => false,
        })
    }

    /// Where it was cut. A gap may be a copy of what came after it, so that its times are not its own.
    fn begin(&self, segment: &Segment) -> MediaTime {
        match self.kept.back().filter(|_| segment.is_gap()) {
            Some(last) => last.at.plus(last.duration),
            None => segment.at,
        }
    }

    /// The segment in progress has a part more.
    pub fn progress(&mut self, segment: Segment) {
        debug_assert!(self.kept.back().is_none_or(|last| last.sequence.next() == segment.sequence), "numbers go on");
        self.open = Some(Arc::new(segment));
        self.publish();
    }

    /// Gives up the oldest segment to save bytes; `false` when those that are left are needed.
    pub fn give_up_oldest(&mut self) -> bool {
        if self.retired == 0 {
            if self.kept.len() <= LEAST_LISTED {
                return false;
            }
            self.retire_oldest();
        }
        self.drop_oldest();
        self.publish();
        true
    }

    fn retire_oldest(&mut self) {
        if self.kept[self.retired].discontinuity {
            self.discontinuity_sequence += 1;
        }
        self.retired += 1;
    }

    fn drop_oldest(&mut self) {
        self.bytes -= self.kept.pop_front().map_or(0, |segment| segment.len());
        self.retired -= 1;
        // The oldest stretch is over when the next one begins with the oldest segment, or before it.
        let oldest = self.oldest();
        while self.stretches.get(1).is_some_and(|next| oldest.is_some_and(|oldest| next.first <= oldest)) {
            self.stretches.pop_front();
        }
    }

    /// No segment will follow (`EXT-X-ENDLIST`), or one will after all.
    pub fn set_ended(&mut self, ended: bool) {
        if self.ended != ended {
            self.ended = ended;
            self.open = None;
            self.publish();
        }
    }

    /// The newest segment.
    pub fn newest(&self) -> Option<&Arc<Segment>> {
        self.kept.back()
    }

    /// The oldest segment that is kept.
    pub fn oldest(&self) -> Option<MediaSequence> {
        self.kept.front().map(|segment| segment.sequence)
    }

    /// The number that the next segment must have; `None` when it is the first.
    pub fn next(&self) -> Option<MediaSequence> {
        self.kept.back().map(|segment| segment.sequence.next())
    }

    /// Bytes of all segments that are kept.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn publish(&self) {
        self.snapshot.send_replace(Arc::new(Snapshot {
            epoch: self.epoch,
            targets: self.targets,
            kept: self.kept.iter().cloned().collect(),
            stretches: self.stretches.iter().copied().collect(),
            retired: self.retired,
            discontinuity_sequence: self.discontinuity_sequence,
            first: self.first,
            ended: self.ended,
            open: self.open.clone(),
            texts: Texts::default(),
        }));
    }
}

/// One rendition's segments, for those who watch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader(watch::Receiver<Arc<Snapshot>>);

impl Reader {
    /// What there is now.
    pub fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until `position` is there, or will never be: then what there is at the end. The caller bounds the wait.
    pub async fn reach(&self, position: Position) -> Arc<Snapshot> {
        let mut receiver = self.0.clone();
        match receiver.wait_for(|snapshot| snapshot.ended || snapshot.has(position)).await {
            Ok(snapshot) => Arc::clone(&snapshot),
            Err(_) => self.now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;

    use super::*;
    use crate::media::testing::video_track;
    use crate::media::{Init, Part};

    fn segment(number: u64, discontinuity: bool) -> Segment {
        let duration = MediaDuration::new(180_000, Timescale::MPEG);
        let data = Bytes::from_static(&[0; 100]);
        Segment {
            sequence: MediaSequence(number),
            init: Arc::new(Init { number: 0, data: Bytes::new(), track: video_track() }),
            at: MediaTime::new(0, Timescale::MPEG),
            start: MediaTime::new(0, Timescale::MPEG),
            duration,
            wall: UNIX_EPOCH,
            discontinuity,
            independent: true,
            key_frame: None,
            parts: vec![Part { duration, independent: true, bytes: 0..100, data }],
            expects_more: false,
        }
    }

    /// A discontinuity begins at number 2.
    fn fill(window: &mut Window, numbers: std::ops::Range<u64>) {
        for number in numbers {
            window.append(segment(number, number == 2));
        }
    }

    fn window(length: Duration) -> Window {
        let config = Config { length, ..Config::default() };
        Window::new(&config, Epoch(1), Targets { segment_secs: 2, part_millis: None }, 0)
    }

    #[test]
    fn what_left_the_playlist_is_kept_for_one_more_length_and_is_then_gone() {
        let mut window = window(Duration::from_secs(10));
        let reader = window.reader();
        fill(&mut window, 0..20);
        let snapshot = reader.now();
        assert_eq!(snapshot.listed().first().unwrap().sequence, MediaSequence(15));
        assert!(matches!(snapshot.find(MediaSequence(19)), Lookup::Here(_)));
        assert!(matches!(snapshot.find(MediaSequence(10)), Lookup::Here(_)));
        assert!(matches!(snapshot.find(MediaSequence(9)), Lookup::Gone));
        assert!(matches!(snapshot.find(MediaSequence(20)), Lookup::NotYet));
    }

    #[test]
    fn a_window_shorter_than_three_segments_still_lists_three() {
        let mut window = window(Duration::from_secs(1));
        fill(&mut window, 0..9);
        assert_eq!(window.reader().now().listed().len(), 3);
    }

    #[test]
    fn a_discontinuity_that_leaves_the_playlist_is_counted() {
        let mut window = window(Duration::from_secs(10));
        fill(&mut window, 0..8);
        let snapshot = window.reader().now();
        assert_eq!(snapshot.listed().first().unwrap().sequence, MediaSequence(3));
        assert_eq!(snapshot.discontinuity_sequence, 1);
    }

    #[test]
    fn a_stretch_is_known_for_as_long_as_one_of_its_segments_is_kept() {
        let mut window = window(Duration::from_secs(10));
        let reader = window.reader();
        fill(&mut window, 0..3);
        let mut gap = segment(3, false);
        gap.parts.clear();
        window.append(gap);
        fill(&mut window, 4..6);
        let began = |number| reader.now().stretch(MediaSequence(number)).map(|stretch| stretch.first.0);
        assert_eq!([0, 1, 2, 3, 4, 5].map(began), [Some(0), Some(0), Some(2), Some(3), Some(4), Some(4)]);
        // The gap begins where the one before it ended, whatever it says.
        assert_eq!(reader.now().stretch(MediaSequence(3)).unwrap().at.ticks(), 180_000);
        fill(&mut window, 6..30);
        assert_eq!((began(29), began(19), reader.now().stretches.len()), (Some(4), Some(4), 1));
    }

    #[test]
    fn the_oldest_goes_early_but_never_the_last_three() {
        let mut window = window(Duration::from_secs(60));
        fill(&mut window, 0..4);
        assert!(window.give_up_oldest());
        assert_eq!(window.bytes(), 300);
        assert!(!window.give_up_oldest());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_waits_for_a_segment_or_for_the_end() {
        let mut window = window(Duration::from_secs(60));
        let reader = window.reader();
        let (reached, ()) = tokio::join!(reader.reach(Position { sequence: MediaSequence(1), part: None }), async {
            fill(&mut window, 0..2);
        });
        assert_eq!(reached.listed().len(), 2);
        window.set_ended(true);
        assert!(reader.reach(Position { sequence: MediaSequence(9), part: None }).await.ended);
    }
}
