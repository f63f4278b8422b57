//! Where segments end, decided once per stream so that a sequence number is the same span in every rendition. Writing
//! segments is `cmaf.rs`'s business.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::media::{AccessUnit, MediaDuration, MediaSequence, MediaTime, Targets, Timescale, duration_text};

/// `[segment]` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a segment should be. A copied source is cut at its key frames, as near to this as they allow.
    #[serde(with = "duration_text")]
    pub target: Duration,
    /// How long a part of a low-latency playlist should be: a whole number of pictures near to it. `"0s"` makes no parts.
    #[serde(with = "duration_text")]
    pub part: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { target: Duration::from_secs(2), part: Duration::from_millis(500) }
    }
}

impl Config {
    /// The grid on which parts end: as many units as are nearest to `part`, where their rate is known. `None` without parts.
    pub fn grid(&self, unit: Option<MediaDuration>) -> Option<MediaDuration> {
        if self.part.is_zero() {
            return None;
        }
        let part = MediaDuration::from_std(self.part, Timescale::MPEG);
        let Some(unit) = unit.filter(|unit| unit.ticks() > 0) else { return Some(part) };
        let unit_micros = unit.to_std().as_micros().max(1);
        let count = (self.part.as_micros() + unit_micros / 2) / unit_micros;
        Some(unit.times(u32::try_from(count).unwrap_or(u32::MAX).max(1)))
    }
}

/// What the cuts follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The random access points of a picture that is copied.
    KeyFrames,
    /// The clock: every picture is encoded here, or there is sound only.
    Grid,
}

/// Where a segment begins: at the first access unit, in decoding order, that is shown at `at` or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Of the segment that begins.
    pub sequence: MediaSequence,
    /// On the media clock.
    pub at: MediaTime,
    /// The segment does not join the one before it.
    pub discontinuity: bool,
}

/// A copied source without a key frame is cut anyway after this long, before the first playlist fixed its target duration.
const LONGEST_FIRST_SEGMENT: Duration = Duration::from_secs(10);

/// Decides where segments begin. Time and pictures come in, [`Cut`]s come out; no clock of its own.
#[derive(Debug)]
pub struct Segmenter {
    target: MediaDuration,
    pace: Pace,
    next: MediaSequence,
    /// Where the segment in progress began.
    open: Option<MediaTime>,
    /// Newest random access point and the distance to the one before it.
    key_frame: Option<MediaTime>,
    gop: Option<MediaDuration>,
    /// Longest segment that ended so far; what the target duration is chosen from.
    longest: Option<MediaDuration>,
    targets: Option<Targets>,
    discontinuity: bool,
    /// Of the newest unit, and how long the one before it lasted.
    newest: Option<MediaTime>,
    frame: MediaDuration,
    /// The latest moment of any unit so far.
    shown: Option<MediaTime>,
    overruns: u64,
}

impl Segmenter {
    /// The first segment will be number 0.
    pub fn new(config: &Config, pace: Pace) -> Self {
        Self {
            target: MediaDuration::from_std(config.target, Timescale::MPEG),
            pace,
            next: MediaSequence(0),
            open: None,
            key_frame: None,
            gop: None,
            longest: None,
            targets: None,
            discontinuity: false,
            newest: None,
            shown: None,
            frame: MediaDuration::zero(Timescale::MPEG),
            overruns: 0,
        }
    }

    /// What cuts follow from here on.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// What follows does not join what came before: the next cut begins a discontinuity, at its first random access point.
    /// Returns the segment that was announced and will not be, if any.
    pub fn discontinuity(&mut self) -> Option<MediaSequence> {
        // Only the grid announces ahead; a key frame is there when it cuts.
        let unreached =
            self.pace == Pace::Grid && self.open.is_some_and(|open| self.shown.is_none_or(|shown| shown < open));
        let withdrawn = if unreached { self.in_progress() } else { None };
        if let Some(sequence) = withdrawn {
            self.next = sequence;
        }
        self.discontinuity = self.next.0 > 0;
        self.open = None;
        self.newest = None;
        self.shown = None;
        self.key_frame = None;
        self.gop = None;
        withdrawn
    }

    /// What playlists promise, once it is fixed.
    pub fn targets_if_fixed(&self) -> Option<Targets> {
        self.targets
    }

    /// What playlists promise: fixed when the first segment has ended, or now if it is asked for before.
    pub fn targets(&mut self) -> Targets {
        let longest = self.longest.map_or(0, |longest| (longest.ticks() + 45_000) / 90_000);
        let target = self.target.ticks().div_ceil(90_000);
        let segment_secs = u32::try_from(longest.max(target).max(1)).unwrap_or(u32::MAX);
        *self.targets.get_or_insert(Targets { segment_secs, part_millis: None })
    }

    /// All cuts before this instant are known; sound up to here can be put into segments. `None` before the first cut.
    pub fn horizon(&self) -> Option<MediaTime> {
        match self.pace {
            Pace::Grid => self.open,
            Pace::KeyFrames => self.open.and(self.newest),
        }
    }

    /// Segments of a copied source that were cut where no key frame was, since the promise would have been broken.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// A unit of the leading track (pictures where there are any), in decoding order. Returns the cut that it brings, if
    /// any; call until `None`.
    pub fn push(&mut self, unit: &AccessUnit) -> Option<Cut> {
        if let Some(frame) = self.newest.and_then(|newest| unit.dts.since(newest))
            && frame.ticks() > 0
        {
            self.frame = frame;
        }
        self.newest = Some(unit.dts);
        self.shown = self.shown.max(Some(unit.pts));
        let Some(open) = self.open else {
            return unit.random_access.then(|| {
                self.key_frame = Some(unit.pts);
                self.begin(unit.pts)
            });
        };
        match self.pace {
            Pace::Grid => {
                // Announced one segment ahead, so that encoders know in time.
                let at = open.plus(self.target);
                (unit.dts.plus(self.target) >= at).then(|| self.begin(at))
            }
            Pace::KeyFrames => self.push_copied(unit, open),
        }
    }

    fn push_copied(&mut self, unit: &AccessUnit, open: MediaTime) -> Option<Cut> {
        let elapsed = unit.pts.since(open)?;
        let due = if unit.random_access && self.key_frame != Some(unit.pts) {
            self.gop = self.key_frame.and_then(|before| unit.pts.since(before));
            self.key_frame = Some(unit.pts);
            // The key frame nearest to the target ends the segment: half a group of pictures early at most. The odd tick
            // is for sources that count in milliseconds.
            let early = self.gop.map_or(0, |gop| gop.ticks() / 2).saturating_add(180);
            elapsed.ticks() > 0 && elapsed.ticks() + early >= self.target.ticks()
        } else {
            let over = elapsed.plus(self.frame) >= self.limit();
            self.overruns += u64::from(over);
            over
        };
        due.then(|| self.begin(unit.pts))
    }

    /// The longest that a segment may be without breaking what playlists promise: `EXTINF` is compared rounded.
    fn limit(&self) -> MediaDuration {
        match self.targets {
            Some(targets) => MediaDuration::new(u64::from(targets.segment_secs) * 90_000 + 45_000, Timescale::MPEG),
            None => MediaDuration::from_std(LONGEST_FIRST_SEGMENT, Timescale::MPEG).max(self.target),
        }
    }

    fn begin(&mut self, at: MediaTime) -> Cut {
        if let Some(length) = self.open.and_then(|open| at.since(open)) {
            self.longest = Some(self.longest.map_or(length, |longest| longest.max(length)));
            self.targets();
        }
        let cut = Cut { sequence: self.next, at, discontinuity: std::mem::take(&mut self.discontinuity) };
        self.next = self.next.next();
        self.open = Some(at);
        cut
    }

    /// The number of the segment in progress; `None` before the first cut.
    pub fn in_progress(&self) -> Option<MediaSequence> {
        self.next.0.checked_sub(1).map(MediaSequence)
    }
}

/// `PART-TARGET`: what the longest part on this grid lasts, when units of this length are never cut, in milliseconds
/// rounded up. Stamps that are not `exact` may be a millisecond off at either end.
pub fn part_target(grid: MediaDuration, unit: MediaDuration, exact: bool) -> u32 {
    let unit_micros = unit.to_std().as_micros().max(1);
    // A grid of whole units stays what it is, although its ticks were rounded.
    let units = (grid.to_std().as_micros() + unit_micros - unit_micros / 50).div_euclid(unit_micros).max(1);
    let millis = (units * unit_micros).div_ceil(1_000) + if exact { 0 } else { 2 };
    u32::try_from(millis).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::media::TrackId;
    use crate::runtime::Clock;

    fn unit(received: Instant, ticks: i64, random_access: bool) -> AccessUnit {
        let at = MediaTime::new(ticks, Timescale::MPEG);
        AccessUnit { track: TrackId(0), dts: at, pts: at, duration: None, random_access, data: Bytes::new(), received }
    }

    /// Cut instants, in ticks, of pictures `frame` ticks apart with a key frame each `gop` pictures.
    fn cuts(pace: Pace, target: Duration, frame: i64, gop: i64, pictures: i64) -> (Vec<i64>, Segmenter) {
        let mut segmenter = Segmenter::new(&Config { target, ..Config::default() }, pace);
        let received = Clock.now();
        let mut found = Vec::new();
        for index in 0..pictures {
            while let Some(cut) = segmenter.push(&unit(received, index * frame, index % gop == 0)) {
                found.push(cut.at.ticks());
            }
        }
        (found, segmenter)
    }

    #[test]
    fn a_copied_source_is_cut_at_the_key_frames_nearest_to_the_target() {
        let two = Duration::from_secs(2);
        assert_eq!(cuts(Pace::KeyFrames, two, 3_000, 60, 200).0, [0, 180_000, 360_000, 540_000]);
        // A group of half a second: four of them.
        assert_eq!(cuts(Pace::KeyFrames, two, 3_000, 15, 130).0, [0, 180_000, 360_000]);
        // One of 1.5 s: 1.5 is as near as 3, and sooner.
        assert_eq!(cuts(Pace::KeyFrames, two, 3_000, 45, 100).0, [0, 135_000, 270_000]);
        // One of four seconds: no other choice, and the target duration says so.
        let (found, mut segmenter) = cuts(Pace::KeyFrames, two, 3_000, 120, 250);
        assert_eq!(found, [0, 360_000, 720_000]);
        assert_eq!(segmenter.targets(), Targets { segment_secs: 4, part_millis: None });
    }

    #[test]
    fn a_source_that_stops_sending_key_frames_is_cut_before_the_promise_breaks() {
        let mut segmenter = Segmenter::new(&Config::default(), Pace::KeyFrames);
        let received = Clock.now();
        let mut found = Vec::new();
        for index in 0..400 {
            while let Some(cut) = segmenter.push(&unit(received, index * 3_000, index < 100 && index % 60 == 0)) {
                found.push(cut.at.ticks());
            }
        }
        assert_eq!(&found[..2], [0, 180_000]);
        assert!(segmenter.overruns() > 0);
        for pair in found.windows(2) {
            assert!(pair[1] - pair[0] < 225_000, "{pair:?} rounds to more than the promised 2 s");
        }
    }

    #[test]
    fn the_grid_is_announced_a_segment_ahead_and_ignores_key_frames() {
        let (found, mut segmenter) = cuts(Pace::Grid, Duration::from_secs(2), 3_000, 37, 121);
        assert_eq!(found, [0, 180_000, 360_000, 540_000]);
        assert_eq!(segmenter.targets(), Targets { segment_secs: 2, part_millis: None });
    }

    #[test]
    fn a_discontinuity_goes_on_counting_and_marks_its_first_segment() {
        let (_, mut segmenter) = cuts(Pace::KeyFrames, Duration::from_secs(2), 3_000, 60, 70);
        segmenter.discontinuity();
        let received = Clock.now();
        assert_eq!(segmenter.push(&unit(received, 900_000, false)), None);
        let cut = segmenter.push(&unit(received, 903_000, true)).unwrap();
        assert_eq!((cut.sequence, cut.discontinuity), (MediaSequence(2), true));
    }

    #[test]
    fn parts_are_whole_pictures_and_the_target_holds_the_longest() {
        let config = |millis| Config { part: Duration::from_millis(millis), ..Config::default() };
        let ticks = |ticks| MediaDuration::new(ticks, Timescale::MPEG);
        let film = Some(ticks(3_754));
        // 24 pictures a second: five of them are nearer to 200 ms than four.
        assert_eq!(config(200).grid(film).unwrap().ticks(), 5 * 3_754);
        assert_eq!(part_target(ticks(5 * 3_754), ticks(3_754), true), 209);
        assert_eq!(config(500).grid(Some(ticks(3_000))).unwrap().ticks(), 45_000);
        assert_eq!(part_target(ticks(45_000), ticks(3_000), true), 500);
        assert_eq!(part_target(ticks(45_000), ticks(3_000), false), 502);
        // Sound on the pictures' grid: ten frames of 21.3 ms at most, nine at least.
        let sound = MediaDuration::new(1_024, Timescale::new(48_000).unwrap());
        assert_eq!(part_target(ticks(18_000), sound, true), 214);
        assert_eq!(config(0).grid(film), None);
    }

    #[test]
    fn a_publisher_that_leaves_right_after_a_key_frame_takes_no_number_back() {
        let mut segmenter = Segmenter::new(&Config::default(), Pace::KeyFrames);
        let received = Clock.now();
        // Two pictures of reordering: the key frame is decoded before it is shown.
        let reordered = |dts: i64, key| AccessUnit {
            pts: MediaTime::new(dts + 6_000, Timescale::MPEG),
            ..unit(received, dts, key)
        };
        assert!(segmenter.push(&reordered(0, true)).is_some());
        assert_eq!(segmenter.push(&reordered(180_000, true)).map(|cut| cut.sequence), Some(MediaSequence(1)));
        assert_eq!(segmenter.discontinuity(), None);
        let cut = segmenter.push(&reordered(400_000, true)).unwrap();
        assert_eq!((cut.sequence, cut.discontinuity), (MediaSequence(2), true));
        // The grid's announcement is taken back when it was not reached.
        let (_, mut grid) = cuts(Pace::Grid, Duration::from_secs(2), 3_000, 60, 70);
        assert_eq!(grid.discontinuity(), Some(MediaSequence(2)));
    }

    proptest! {
        #[test]
        fn no_segment_is_longer_than_the_promise(gops in prop::collection::vec(1i64..400, 2..40), frame in 1_500i64..9_000) {
            let mut segmenter = Segmenter::new(&Config::default(), Pace::KeyFrames);
            let received = Clock.now();
            let (mut at, mut open, mut lengths) = (0, None, Vec::new());
            for gop in gops {
                for index in 0..gop {
                    while let Some(cut) = segmenter.push(&unit(received, at, index == 0)) {
                        if let Some(open) = open.replace(cut.at.ticks()) {
                            lengths.push(cut.at.ticks() - open);
                        }
                    }
                    at += frame;
                }
            }
            let promised = i64::from(segmenter.targets().segment_secs);
            // `EXTINF`, rounded to the nearest whole second.
            prop_assert!(lengths.iter().all(|length| (length + 45_000) / 90_000 <= promised));
        }
    }
}
