//! A publisher's timestamps become one monotonic media time: 32-bit wraps, jumps, equal and falling stamps, holes, returns.
//! Pure: what clocks say comes with the units.
//!
//! Pictures count in 90 kHz, sound in its own samples: a frame of sound begins where the one before it ended, as long as the
//! publisher's stamps agree within [`SOUND_TOLERANCE`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::media::{AccessUnit, MediaDuration, MediaTime, Timescale, Track, TrackId};

/// Stamps that are this far from where they are expected are no jitter: the clock was set, or something is missing. Also the
/// longest time without a unit that still joins what came before.
const JUMP: i64 = 2_000 * MILLI;

/// Pictures of an announced rate that stay away for this long are missing: a picture that lasted so long would break what
/// playlists promise. Those of no rate may last as long as a [`JUMP`].
const HOLE: i64 = 500 * MILLI;

/// Publishers that count in milliseconds are never exact; a few frames late or early are mended by counting samples.
const SOUND_TOLERANCE: i64 = 50 * MILLI;

/// Pictures this near to the grid of their announced rate are on it: their publisher rounded to milliseconds.
const PICTURE_TOLERANCE: i64 = 3 * MILLI / 2;

/// Publishers of FLV and RTMP count milliseconds in 32 bits.
const WRAP: i64 = 1 << 32;

const MILLI: i64 = 1_000_000;

/// Where a stream's media time begins. Above zero, so that what must be decoded before the first picture is shown has room.
pub(crate) const ORIGIN_SECS: i64 = 10;

/// Maps one publisher after another to one media time. Inside, time is in nanoseconds: every clock's tick survives the way.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// Where the next publisher begins.
    begin: i64,
    /// From the publisher's clock to media time; the newest last. After a jump, units of the old clock may still come.
    offset: Option<i64>,
    offset_before: Option<i64>,
    tracks: BTreeMap<TrackId, State>,
    /// Newest stamp of any track, unwrapped: where a track that begins after a wrap belongs.
    newest_raw: Option<i64>,
    /// End of the newest unit of any track.
    end: i64,
    counts: Counts,
}

/// What had to be mended, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The publisher set its clock.
    pub(crate) jumps: u64,
    /// Equal or falling stamps.
    pub(crate) nudged: u64,
    /// Frames of sound that lay over others.
    pub(crate) dropped: u64,
    /// Spans in which nothing came.
    pub(crate) holes: u64,
}

#[derive(Debug)]
struct State {
    scale: Timescale,
    is_sound: bool,
    /// Samples in a unit, where fixed.
    unit_ticks: Option<u32>,
    /// Added to the common offset: for publishers whose tracks begin on different clocks.
    skew: i64,
    newest: Option<Newest>,
    /// Nanoseconds that a picture lasts, as announced, and a picture on the grid that this makes.
    period: Option<f64>,
    anchor: Option<i64>,
}

impl State {
    /// The line of the grid that is meant by `at`, where one is near; else the grid begins anew here.
    fn on_grid(&mut self, at: i64) -> i64 {
        if self.period.is_none() {
            return at;
        }
        let line = self.line_near(at);
        if line == at {
            self.anchor = Some(at);
        }
        line
    }

    /// The line of the grid that is near to `at`, or `at` itself.
    fn line_near(&self, at: i64) -> i64 {
        let line = self.period.zip(self.anchor).map(|(period, anchor)| nearest_line(at, anchor, period));
        line.filter(|line| (line - at).abs() <= PICTURE_TOLERANCE).unwrap_or(at)
    }

    /// How long a picture lasts, when the one before it lasted as long as is announced.
    fn certain_length(&self, dts: i64, before: Option<i64>) -> Option<MediaDuration> {
        let period = whole(self.period?);
        let (here, before) = (nanos(dts, self.scale), nanos(before?, self.scale));
        if (here - before - period).abs() >= MILLI {
            return None;
        }
        let ticks = ticks(self.line_near(here + period), self.scale) - dts;
        u64::try_from(ticks).ok().map(|ticks| MediaDuration::new(ticks, self.scale))
    }
}

/// The multiple of `period` after `anchor` that is nearest to `at`.
fn nearest_line(at: i64, anchor: i64, period: f64) -> i64 {
    #[expect(clippy::cast_precision_loss, reason = "2^53 ns are a hundred days")]
    let count = ((at - anchor) as f64 / period).round();
    anchor + whole(count * period)
}

#[expect(clippy::cast_possible_truncation, reason = "nanoseconds of a stream's life are far below 2^63")]
fn whole(nanos: f64) -> i64 {
    nanos.round() as i64
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    /// Of the publisher, unwrapped, in its own ticks.
    raw: i64,
    received: Instant,
    /// Of the unit, on the track's clock.
    dts: i64,
    /// Where the next is expected.
    next: i64,
}

/// A unit on media time.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) unit: AccessUnit,
    /// More than [`JUMP`] is missing before it.
    pub(crate) after_hole: bool,
}

impl Timeline {
    /// Media time begins at [`ORIGIN_SECS`].
    pub(crate) fn new() -> Self {
        let begin = ORIGIN_SECS * 1_000 * MILLI;
        Self {
            begin,
            offset: None,
            offset_before: None,
            tracks: BTreeMap::new(),
            newest_raw: None,
            end: begin,
            counts: Counts::default(),
        }
    }

    /// A new publisher: it begins where the one before ended, unless [`Timeline::begin_at`] says later.
    pub(crate) fn restart(&mut self) {
        self.begin = self.end;
        self.offset = None;
        self.offset_before = None;
        self.newest_raw = None;
        self.tracks.clear();
    }

    /// The publisher's first unit, which is yet to come, is at `at`, or where the one before ended if that is later.
    pub(crate) fn begin_at(&mut self, at: MediaTime) {
        self.begin = nanos(at.ticks(), at.scale()).max(self.end);
    }

    /// The publisher's tracks with the clocks that their units get here.
    pub(crate) fn tracks(&mut self, tracks: &[Track]) -> Arc<[Track]> {
        let placed: Arc<[Track]> = tracks.iter().map(placed).collect();
        self.tracks.retain(|id, state| placed.iter().any(|track| track.id == *id && track.timescale == state.scale));
        for track in placed.iter() {
            let state = self.tracks.entry(track.id).or_insert_with(|| State {
                scale: track.timescale,
                is_sound: track.codec.audio().is_some(),
                unit_ticks: None,
                skew: 0,
                newest: None,
                period: None,
                anchor: None,
            });
            state.unit_ticks = track.codec.samples_per_unit();
            let rate = track.codec.video().and_then(|video| video.frame_rate);
            state.period = rate.map(|rate| 1e9 / rate.fps()).filter(|period| (2e6..1e9).contains(period));
        }
        placed
    }

    /// The unit on media time. `None` for a unit of no announced track, and for sound that lies over sound.
    pub(crate) fn push(&mut self, mut unit: AccessUnit) -> Option<Placed> {
        let source = unit.dts.scale();
        let state = self.tracks.get_mut(&unit.track)?;
        let raw = unwrapped(unit.dts, state.newest.map(|newest| newest.raw).or(self.newest_raw));
        self.newest_raw = Some(raw);
        let raw_nanos = nanos(raw, source);
        let offset = *self.offset.get_or_insert(self.begin - raw_nanos);
        let mut at = raw_nanos + offset + state.skew;
        let mut after_hole = false;

        match state.newest {
            None => {
                // A track that begins far from the others has a clock of its own.
                if self.end > self.begin && (at - self.end).abs() > JUMP {
                    state.skew = self.end - at;
                    at = self.end;
                    self.counts.jumps += 1;
                }
            }
            Some(newest) => {
                let expected = nanos(newest.next, state.scale);
                let off = at - expected;
                if state.period.is_some() && (HOLE..=JUMP).contains(&off) {
                    after_hole = true;
                    self.counts.holes += 1;
                } else if off.abs() > JUMP {
                    let before = self.offset_before.map(|before| raw_nanos + before + state.skew);
                    let waited = unit.received.saturating_duration_since(newest.received).as_nanos();
                    let waited = i64::try_from(waited).unwrap_or(i64::MAX);
                    if let Some(before) = before.filter(|before| (before - expected).abs() <= JUMP) {
                        at = before;
                    } else if off > 0 && waited > off / 2 {
                        // As much time passed here: the clock is right, and something is missing.
                        after_hole = true;
                        self.counts.holes += 1;
                    } else {
                        let resumed = self.end.max(expected);
                        self.offset_before = Some(offset);
                        self.offset = Some(resumed - raw_nanos - state.skew);
                        at = resumed;
                        self.counts.jumps += 1;
                    }
                }
            }
        }

        let reorder = nanos(unit.pts.ticks(), unit.pts.scale()) - nanos(unit.dts.ticks(), source);
        let shown = at + reorder.max(0);
        at = state.on_grid(at);
        let mut dts = ticks(at, state.scale);
        // How long the unit lasts, where that is certain.
        let said = unit.duration.filter(|duration| duration.ticks() > 0);
        let said = said.map(|duration| duration.to_scale(state.scale).ticks().cast_signed());
        let certain = state.unit_ticks.map(i64::from).or(said).filter(|_| state.is_sound);
        if let Some(newest) = state.newest {
            if certain.is_some() && !after_hole {
                let off = nanos(dts, state.scale) - nanos(newest.next, state.scale);
                if off.abs() <= SOUND_TOLERANCE {
                    dts = newest.next;
                } else if dts < newest.next {
                    self.counts.dropped += 1;
                    return None;
                }
            } else if dts <= newest.dts {
                dts = newest.dts + 1;
                self.counts.nudged += 1;
            }
        }
        let lasts = match (certain.or(said), state.newest) {
            (Some(ticks), _) => ticks,
            // As long as the one before it lasted, and never so long that a jump would look expected.
            (None, Some(newest)) => (dts - newest.dts).min(ticks(JUMP / 2, state.scale)),
            (None, None) => 0,
        };
        let next = dts + lasts;
        let before = state.newest.map(|newest| newest.dts);
        state.newest = Some(Newest { raw, received: unit.received, dts, next });
        self.end = self.end.max(nanos(next, state.scale));

        if !state.is_sound && unit.duration.is_none() {
            unit.duration = state.certain_length(dts, before);
        }
        let pts = ticks(state.line_near(shown), state.scale);
        unit.dts = MediaTime::new(dts, state.scale);
        unit.pts = MediaTime::new(if state.is_sound { dts } else { pts.max(dts) }, state.scale);
        Some(Placed { unit, after_hole })
    }

    /// What had to be mended.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

/// The track on the clock that its units get here.
fn placed(track: &Track) -> Track {
    let timescale = scale_of(track);
    let delay = MediaDuration::new(track.delay, track.timescale).to_scale(timescale).ticks();
    Track { timescale, delay, ..track.clone() }
}

fn scale_of(track: &Track) -> Timescale {
    match track.codec.audio() {
        Some(format) => Timescale::new(format.sample_rate).unwrap_or(Timescale::MPEG),
        None => Timescale::MPEG,
    }
}

/// Milliseconds of 32 bits, taken as the value nearest to the one before.
fn unwrapped(time: MediaTime, before: Option<i64>) -> i64 {
    let Some(before) = before.filter(|_| time.scale() == Timescale::MILLIS) else { return time.ticks() };
    let near = time.ticks() + (before - time.ticks()).div_euclid(WRAP) * WRAP;
    if before - near > WRAP / 2 { near + WRAP } else { near }
}

fn nanos(ticks: i64, scale: Timescale) -> i64 {
    let scale = i128::from(scale.get());
    let scaled = (i128::from(ticks) * 1_000_000_000 + scale / 2).div_euclid(scale);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

fn ticks(nanos: i64, scale: Timescale) -> i64 {
    let scaled = (i128::from(nanos) * i128::from(scale.get()) + 500_000_000).div_euclid(1_000_000_000);
    i64::try_from(scaled).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::{audio_track, video_track};
    use crate::media::{AudioFormat, Codec, FrameRate};
    use crate::runtime::Clock;

    const START: i64 = ORIGIN_SECS * 90_000;

    struct Rig {
        timeline: Timeline,
        now: Instant,
    }

    impl Rig {
        fn new() -> Self {
            let mut timeline = Timeline::new();
            timeline.tracks(&[video_track(), audio_track()]);
            Self { timeline, now: Clock.now() }
        }

        fn wait(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }

        fn push(&mut self, track: u16, dts: i64, pts: i64) -> Option<Placed> {
            let at = |millis| MediaTime::new(millis, Timescale::MILLIS);
            self.timeline.push(AccessUnit {
                track: TrackId(track),
                dts: at(dts),
                pts: at(pts),
                duration: None,
                random_access: true,
                data: Bytes::new(),
                received: self.now,
            })
        }

        fn video(&mut self, millis: i64) -> i64 {
            self.push(0, millis, millis).unwrap().unit.dts.ticks()
        }

        fn sound(&mut self, millis: i64) -> Option<i64> {
            self.push(1, millis, millis).map(|placed| placed.unit.dts.ticks())
        }
    }

    #[test]
    fn the_first_publisher_begins_at_the_origin() {
        let mut rig = Rig::new();
        assert_eq!(rig.video(5_000), START);
        assert_eq!(rig.video(5_033), START + 33 * 90);
    }

    #[test]
    fn thirty_two_bits_of_milliseconds_wrap_without_a_trace() {
        let mut rig = Rig::new();
        let start = (1i64 << 32) - 40;
        assert_eq!(rig.video(start), START);
        assert_eq!(rig.video(0), START + 40 * 90);
        assert_eq!(rig.sound(0).unwrap(), ORIGIN_SECS * 48_000 + 40 * 48);
        assert_eq!(rig.video(40), START + 80 * 90);
    }

    #[test]
    fn equal_and_falling_stamps_still_rise() {
        let mut rig = Rig::new();
        rig.video(0);
        assert_eq!(rig.video(0), START + 1);
        assert_eq!(rig.video(0), START + 2);
        rig.video(100);
        assert_eq!(rig.video(60), START + 9_001);
        assert_eq!(rig.timeline.counts().nudged, 3);
    }

    #[test]
    fn sound_counts_samples_although_its_stamps_are_rounded() {
        let mut rig = Rig::new();
        let first = rig.sound(0).unwrap();
        // 1024 samples of 48 kHz last 21.333 ms.
        for (frame, millis) in [21, 43, 64, 85, 107, 128].into_iter().enumerate() {
            assert_eq!(rig.sound(millis).unwrap(), first + 1_024 * (i64::try_from(frame).unwrap() + 1));
        }
    }

    #[test]
    fn sound_of_unknown_length_follows_its_stamps_and_does_not_drift() {
        let mut rig = Rig::new();
        let opus = Codec::Opus { config: Bytes::new(), audio: AudioFormat { sample_rate: 48_000, channels: 1 } };
        rig.timeline.tracks(&[video_track(), Track { codec: opus, ..audio_track() }]);
        let first = rig.sound(0).unwrap();
        for frame in 1..3_000 {
            let expected = frame * 20;
            // A millisecond early at first: what was taken for a frame's length before.
            let stamp = if frame == 1 { 19 } else { expected };
            let off = rig.sound(stamp).unwrap() - first - expected * 48;
            assert!(off.abs() <= 48, "{off} samples off at frame {frame}");
        }
        assert_eq!(rig.timeline.counts(), Counts::default());
    }

    #[test]
    fn missing_sound_leaves_a_hole_and_sound_over_sound_is_left_out() {
        let mut rig = Rig::new();
        let first = rig.sound(0).unwrap();
        assert_eq!(rig.sound(500).unwrap(), first + 24_000);
        assert_eq!(rig.sound(300), None);
        assert_eq!(rig.timeline.counts().dropped, 1);
    }

    #[test]
    fn a_clock_that_is_set_anew_is_followed_for_picture_and_sound_together() {
        let mut rig = Rig::new();
        for frame in 0..50 {
            rig.video(frame * 40);
            rig.sound(frame * 40);
            rig.wait(40);
        }
        let last = rig.video(2_000);
        // The publisher's clock falls back to zero; no time passed. Sound of the old clock still comes.
        let resumed = rig.video(0);
        assert!(resumed > last && resumed - last <= 90_000 / 10, "{last} {resumed}");
        let old = rig.sound(2_000).unwrap();
        let new = rig.sound(40).unwrap();
        assert!(new > old && new - old < 48_000 / 5, "{old} {new}");
        assert_eq!(rig.timeline.counts().jumps, 1);
    }

    #[test]
    fn pictures_of_an_announced_rate_are_missed_sooner() {
        let mut rig = Rig::new();
        let mut track = video_track();
        if let Codec::H264 { video, .. } = &mut track.codec {
            video.frame_rate = Some(FrameRate { numerator: 25, denominator: 1 });
        }
        rig.timeline.tracks(&[track]);
        rig.video(0);
        rig.video(40);
        assert!(!rig.push(0, 400, 400).unwrap().after_hole);
        assert!(rig.push(0, 1_800, 1_800).unwrap().after_hole);
    }

    #[test]
    fn time_that_really_passed_is_a_hole() {
        let mut rig = Rig::new();
        rig.video(0);
        rig.video(40);
        rig.wait(5_000);
        let placed = rig.push(0, 5_040, 5_040).unwrap();
        assert!(placed.after_hole);
        assert_eq!(placed.unit.dts.ticks(), START + 5_040 * 90);
        assert!(!rig.push(0, 5_080, 5_080).unwrap().after_hole);
    }

    #[test]
    fn the_next_publisher_goes_on_where_time_has_come_to() {
        let mut rig = Rig::new();
        rig.video(0);
        rig.video(40);
        rig.timeline.restart();
        rig.timeline.begin_at(MediaTime::new(START + 900_000, Timescale::MPEG));
        rig.timeline.tracks(&[video_track()]);
        assert_eq!(rig.video(77), START + 900_000);
        // One that returns before the other's media have ended does not fall back.
        rig.timeline.restart();
        rig.timeline.begin_at(MediaTime::new(START, Timescale::MPEG));
        rig.timeline.tracks(&[video_track()]);
        assert!(rig.video(0) > START + 900_000 - 1);
    }

    #[test]
    fn pictures_of_an_announced_rate_lose_their_rounding_and_say_how_long_they_last() {
        let mut rig = Rig::new();
        let mut track = video_track();
        if let Codec::H264 { video, .. } = &mut track.codec {
            video.frame_rate = Some(FrameRate { numerator: 30, denominator: 1 });
        }
        rig.timeline.tracks(&[track]);
        // 33.3 ms, as a publisher rounds them; shown two pictures later.
        for frame in 0..300i64 {
            let stamp = |frame: i64| (frame * 1_000 + 15) / 30;
            let unit = rig.push(0, stamp(frame), stamp(frame + 2)).unwrap().unit;
            assert_eq!(unit.dts.ticks(), START + frame * 3_000);
            assert_eq!(unit.pts.ticks(), START + (frame + 2) * 3_000);
            assert_eq!(unit.duration.map(MediaDuration::ticks), (frame > 0).then_some(3_000), "{frame}");
        }
        // One is missing: its time stays empty, and the next is not certain.
        let unit = rig.push(0, 10_033, 10_033).unwrap().unit;
        assert_eq!((unit.dts.ticks(), unit.duration), (START + 301 * 3_000, None));
        // A picture off the grid begins another.
        assert_eq!(rig.video(10_080), START + 10_080 * 90);
        assert_eq!(rig.video(10_113), START + 10_080 * 90 + 3_000);
    }

    proptest! {
        #[test]
        fn decode_times_always_rise_and_never_jump_unsaid(
            steps in prop::collection::vec((0u16..2, -5_000i64..5_000, 0i64..200, 0u64..3_000), 1..300)
        ) {
            let mut rig = Rig::new();
            let mut clock = 0i64;
            let mut last: [Option<i64>; 2] = [None; 2];
            for (track, jump, reorder, wait) in steps {
                // Mostly steady, now and then anywhere.
                clock = if jump.abs() > 4_500 { (clock + jump * 1_000).rem_euclid(WRAP) } else { (clock + 20).rem_euclid(WRAP) };
                rig.wait(if jump > 4_800 { wait } else { 20 });
                let Some(placed) = rig.push(track, clock, clock + reorder) else { continue };
                let unit = placed.unit;
                prop_assert!(unit.pts >= unit.dts);
                let dts = nanos(unit.dts.ticks(), unit.dts.scale());
                if let Some(last) = last[usize::from(track)] {
                    prop_assert!(dts > last, "{dts} after {last}");
                }
                last[usize::from(track)] = Some(dts);
            }
        }
    }
}
