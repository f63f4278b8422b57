//! One rendition's access units into CMAF segments at the stream's cuts. Where to cut is `segmenter.rs`'s business, what the
//! bytes look like `container::fmp4`'s.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Cut;
use crate::container::fmp4::{self, Sample};
use crate::media::{AccessUnit, Init, MediaDuration, MediaSequence, MediaTime, Part, Timescale, Track};

/// A segment without its place on the wall clock, which only the stream knows. While it is in progress it comes again with
/// each of its parts.
#[derive(Clone, Debug)]
pub struct Packaged {
    /// The same span in every rendition.
    pub sequence: MediaSequence,
    /// What must have been read before it.
    pub init: Arc<Init>,
    /// Where it was cut.
    pub at: MediaTime,
    /// Media time of its first sample.
    pub start: MediaTime,
    /// The sum of its samples' durations so far.
    pub duration: MediaDuration,
    /// It does not join the segment before it.
    pub discontinuity: bool,
    /// Begins with a random access point.
    pub independent: bool,
    /// Where the first picture ends.
    pub first_sample_end: u64,
    /// Samples in it so far.
    pub samples: usize,
    /// Empty when nothing could be had for this span.
    pub parts: Vec<Part>,
    /// Nothing will be added to it.
    pub is_complete: bool,
    /// The next part is likely to be its, and not the next segment's.
    pub expects_more: bool,
}

/// Puts one rendition's units into segments and parts.
#[derive(Debug)]
pub struct Packager {
    init: Arc<Init>,
    /// How long a part is; `None` when segments have but one.
    grid: Option<MediaDuration>,
    /// Promised in playlists.
    longest_part: Option<MediaDuration>,
    /// Chunks written so far.
    chunks: u32,
    /// Announced and not reached, oldest first.
    cuts: VecDeque<Cut>,
    /// The segment in progress.
    open: Option<Open>,
    /// Waits for the next unit, which tells how long it lasts.
    held: Option<AccessUnit>,
    /// Of the newest unit whose length is known: what the last one before a break is given.
    usual: u32,
    /// Ticks of the newest segment that ended at a cut: where the one in progress may end, too.
    expected: Option<u64>,
    ready: VecDeque<Packaged>,
}

#[derive(Debug)]
struct Open {
    segment: Packaged,
    /// Where it was cut.
    at: MediaTime,
    /// Of the part in progress.
    samples: Vec<Sample>,
    /// Decode times of the first and of the last of them, and where the last ends.
    first: MediaTime,
    last: MediaTime,
    end: MediaTime,
    /// Bytes of the segment so far, headers left out.
    bytes: u64,
}

impl Packager {
    /// For a rendition that begins with `track`, with parts of this length.
    pub fn new(track: Track, grid: Option<MediaDuration>) -> Self {
        Self {
            init: Arc::new(Init { number: 0, data: fmp4::header(&track), track }),
            grid,
            longest_part: None,
            chunks: 0,
            cuts: VecDeque::new(),
            open: None,
            held: None,
            usual: 0,
            expected: None,
            ready: VecDeque::new(),
        }
    }

    /// The track as of the newest unit.
    pub fn track(&self) -> &Track {
        &self.init.track
    }

    /// New parameters from the next segment on. The caller ends the segment in progress before ([`Packager::end`]).
    pub fn set_track(&mut self, track: Track) {
        let data = fmp4::header(&track);
        if data != self.init.data {
            self.init = Arc::new(Init { number: self.init.number + 1, data, track });
        }
    }

    /// A segment will begin there. Cuts come in order, before the units that they concern.
    pub fn cut(&mut self, cut: Cut) {
        self.cuts.push_back(cut);
    }

    /// A cut that will not be reached.
    pub fn withdraw(&mut self, sequence: MediaSequence) {
        self.cuts.retain(|cut| cut.sequence != sequence);
    }

    /// The next unit, in decoding order. Units before the first cut are left out.
    pub fn push(&mut self, unit: AccessUnit) {
        if let Some(held) = self.held.take() {
            let lasts = self.until_next(&held, &unit);
            self.store(&held, lasts);
        }
        // Sound goes to the segment in which more than half of it is heard.
        let shown = unit.pts.plus(self.half_of_sound());
        while let Some(next) = self.cuts.pop_front_if(|cut| cut.at <= shown) {
            self.close(Some(next.at));
            self.open = Some(self.opened(next, unit.dts));
        }
        if self.open.is_none() {
            return;
        }
        if self.is_part_full() {
            self.write_part(true);
        }
        match self.certain_length(&unit) {
            // A part need not wait for the next unit when it is certain where this one ends.
            Some(ticks) => {
                self.store(&unit, ticks);
                self.write_part_ahead();
            }
            None => self.held = Some(unit),
        }
    }

    /// Ticks that a unit lasts: until the next one, but not beyond the end of its segment when units are missing there.
    fn until_next(&self, held: &AccessUnit, next: &AccessUnit) -> u32 {
        let scale = self.scale();
        let natural = next.dts.since(held.dts).map_or(0, |length| length.to_scale(scale).ticks());
        let missing = self.usual > 0 && natural > 2 * u64::from(self.usual);
        let ends = self.open.as_ref().zip(self.cuts.front()).filter(|_| missing).and_then(|(open, cut)| {
            let begin =
                if open.segment.parts.is_empty() && open.samples.is_empty() { held.dts } else { open.segment.start };
            begin.plus(cut.at.since(open.at)?).since(held.dts)
        });
        let ticks = ends.map_or(natural, |ends| natural.min(ends.to_scale(scale).ticks()));
        u32::try_from(ticks).unwrap_or(u32::MAX).max(1)
    }

    /// Nothing that joins will come: the segment in progress ends with what there is.
    pub fn end(&mut self) {
        if let Some(held) = self.held.take() {
            let said = held.duration.map(|length| length.to_scale(self.scale()).ticks());
            let ticks = said.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(self.usual);
            self.store(&held, ticks.max(1));
        }
        self.close(None);
        self.expected = None;
    }

    /// The next segment that is complete, or has a part more.
    pub fn pull(&mut self) -> Option<Packaged> {
        self.ready.pop_front()
    }

    /// How long a unit lasts: the newest whose length is known.
    pub fn usual_unit(&self) -> MediaDuration {
        MediaDuration::new(u64::from(self.usual), self.scale())
    }

    /// Bytes of the segment in progress.
    pub fn open_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    fn scale(&self) -> Timescale {
        self.init.track.timescale
    }

    fn half_of_sound(&self) -> MediaDuration {
        let samples = self.init.track.codec.samples_per_unit().unwrap_or(0);
        MediaDuration::new(u64::from(samples / 2), self.scale())
    }

    /// Ticks of a unit whose length is certain before the next one is there, when that is worth knowing.
    fn certain_length(&self, unit: &AccessUnit) -> Option<u32> {
        self.grid?;
        let ticks = match self.init.track.codec.samples_per_unit() {
            Some(samples) => u64::from(samples),
            None => unit.duration?.to_scale(self.scale()).ticks(),
        };
        u32::try_from(ticks).ok().filter(|&ticks| ticks > 0)
    }

    fn opened(&self, cut: Cut, start: MediaTime) -> Open {
        let scale = self.scale();
        let segment = Packaged {
            sequence: cut.sequence,
            init: Arc::clone(&self.init),
            at: cut.at,
            start: start.to_scale(scale),
            duration: MediaDuration::zero(scale),
            discontinuity: cut.discontinuity,
            independent: false,
            first_sample_end: 0,
            samples: 0,
            parts: Vec::new(),
            is_complete: false,
            expects_more: true,
        };
        let start = segment.start;
        Open { segment, at: cut.at, samples: Vec::new(), first: start, last: start, end: start, bytes: 0 }
    }

    fn store(&mut self, unit: &AccessUnit, duration: u32) {
        let scale = self.scale();
        self.usual = duration;
        let Some(open) = &mut self.open else { return };
        let dts = unit.dts.to_scale(scale);
        match open.samples.last_mut() {
            // It lasts until this one, whatever was thought.
            Some(last) => last.duration = dts.since(open.last).map_or(last.duration, ticks_of),
            None => open.first = dts,
        }
        open.last = dts;
        open.end = dts.plus(MediaDuration::new(u64::from(duration), scale));
        open.bytes += unit.data.len() as u64;
        let offset = unit.pts.to_scale(scale).ticks() - dts.ticks();
        open.samples.push(Sample {
            duration,
            composition_offset: i32::try_from(offset).unwrap_or(0),
            sync: unit.random_access,
            data: unit.data.clone(),
        });
    }

    /// Whether the part in progress reaches the next line of the grid, to the nearest unit.
    fn is_part_full(&self) -> bool {
        let (Some(grid), Some(open)) = (self.grid, &self.open) else { return false };
        let is_sound = self.init.track.codec.audio().is_some();
        let begin = if is_sound { open.at.to_scale(self.scale()) } else { open.segment.start };
        let lines = u32::try_from(open.segment.parts.len() + 1).unwrap_or(u32::MAX);
        let one_more = open.end.plus(MediaDuration::new(u64::from(self.usual), self.scale())).since(open.first);
        let is_longest = self.longest_part.zip(one_more).is_some_and(|(longest, one_more)| one_more > longest);
        !open.samples.is_empty() && (is_longest || self.nearly(open.end) >= begin.plus(grid.times(lines)))
    }

    /// What playlists promise of parts: none is longer.
    pub fn set_longest_part(&mut self, longest: MediaDuration) {
        self.longest_part = Some(longest);
    }

    /// Half a unit later: what is nearer to it than to the next counts as there.
    fn nearly(&self, end: MediaTime) -> MediaTime {
        end.plus(MediaDuration::new(u64::from(self.usual / 2), self.scale()))
    }

    /// Writes the part in progress as soon as it is full, unless the segment may end right here and only the next unit
    /// can tell.
    fn write_part_ahead(&mut self) {
        let Some(open) = self.open.as_ref().filter(|_| self.is_part_full()) else { return };
        let so_far = self.nearly(open.end).since(open.segment.start);
        let length = self.cuts.front().map(|next| next.at.since(open.at));
        match (length, self.expected) {
            (Some(length), _) => self.write_part(so_far < length),
            (None, Some(expected)) if so_far.is_some_and(|so_far| so_far.ticks() >= expected) => {}
            (None, _) => self.write_part(true),
        }
    }

    /// Writes the part in progress. `more`: another part of this segment is likely.
    fn write_part(&mut self, more: bool) {
        let delay = self.init.track.delay;
        let Some(open) = self.open.as_mut().filter(|open| !open.samples.is_empty()) else { return };
        let segment = &mut open.segment;
        if segment.parts.is_empty() {
            segment.start = open.first;
        }
        let decode_time = open.first.ticks().saturating_add_unsigned(delay).max(0).unsigned_abs();
        self.chunks = self.chunks.wrapping_add(1);
        let (data, first_end) = fmp4::chunk(self.chunks, decode_time, &open.samples, segment.parts.is_empty());
        let independent = open.samples.first().is_some_and(|sample| sample.sync);
        if segment.parts.is_empty() {
            segment.independent = independent;
            segment.first_sample_end = first_end;
        }
        // What is missing before a part is counted as its own, so that lengths add up to times.
        let before = segment.duration;
        segment.duration = open.end.since(segment.start).unwrap_or(before).max(before);
        let duration = MediaDuration::new(segment.duration.ticks() - before.ticks(), before.scale());
        let begin = segment.parts.last().map_or(0, |part| part.bytes.end);
        segment.parts.push(Part { duration, independent, bytes: begin..begin + data.len() as u64, data });
        segment.samples += open.samples.len();
        segment.expects_more = more;
        open.samples.clear();
        if self.grid.is_some() {
            let progress = segment.clone();
            self.ready.push_back(progress);
        }
    }

    /// Ends the segment in progress; one in which nothing came lasts `until` then.
    fn close(&mut self, until: Option<MediaTime>) {
        self.write_part(false);
        let scale = self.scale();
        let Some(Open { mut segment, at, .. }) = self.open.take() else { return };
        if segment.parts.is_empty() {
            let at = at.to_scale(scale);
            segment.start = at;
            segment.duration = until.and_then(|until| until.to_scale(scale).since(at)).unwrap_or(segment.duration);
        } else if until.is_some() {
            self.expected = Some(segment.duration.ticks());
        }
        segment.is_complete = true;
        segment.expects_more = false;
        // Its last state says all that those before it said.
        self.ready.retain(|packaged| packaged.sequence != segment.sequence);
        self.ready.push_back(segment);
    }
}

fn ticks_of(duration: MediaDuration) -> u32 {
    u32::try_from(duration.ticks()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::media::TrackId;
    use crate::media::testing::{audio_track, video_track};
    use crate::runtime::Clock;

    fn cut(sequence: u64, ticks: i64, discontinuity: bool) -> Cut {
        Cut { sequence: MediaSequence(sequence), at: MediaTime::new(ticks, Timescale::MPEG), discontinuity }
    }

    fn unit(received: Instant, dts: i64, pts: i64, scale: Timescale, random_access: bool) -> AccessUnit {
        AccessUnit {
            track: TrackId(0),
            dts: MediaTime::new(dts, scale),
            pts: MediaTime::new(pts, scale),
            duration: None,
            random_access,
            data: Bytes::from_static(b"unit"),
            received,
        }
    }

    fn all(packager: &mut Packager) -> Vec<Packaged> {
        std::iter::from_fn(|| packager.pull()).collect()
    }

    #[test]
    fn pictures_are_cut_in_decoding_order_and_end_where_the_next_begin() {
        let received = Clock.now();
        let mut packager = Packager::new(Track { delay: 6_000, ..video_track() }, None);
        packager.cut(cut(4, 90_000, false));
        // Before the first cut, nothing is taken.
        packager.push(unit(received, 81_000, 87_000, Timescale::MPEG, false));
        for index in 0..90 {
            let pts = 90_000 + index * 3_000;
            if index == 60 {
                packager.cut(cut(5, pts, false));
            }
            packager.push(unit(received, pts - 6_000, pts, Timescale::MPEG, index % 60 == 0));
        }
        packager.end();
        let segments = all(&mut packager);
        assert_eq!(segments.len(), 2);
        assert_eq!((segments[0].sequence, segments[0].start.ticks()), (MediaSequence(4), 84_000));
        assert_eq!((segments[0].duration.ticks(), segments[0].samples), (180_000, 60));
        assert_eq!(segments[1].start.ticks(), 84_000 + 180_000);
        assert!(segments[1].independent);
        // The decode time that is written begins at the first moment that is shown.
        let chunk = fmp4::read_chunk(&segments[0].parts[0].data).unwrap();
        assert_eq!(chunk.decode_time, 90_000);
    }

    #[test]
    fn sound_goes_to_the_segment_in_which_its_middle_is_heard() {
        let received = Clock.now();
        let track = audio_track();
        let scale = track.timescale;
        let mut packager = Packager::new(track, None);
        // One second; 46.875 frames of sound.
        packager.cut(cut(0, 0, false));
        packager.cut(cut(1, 90_000, false));
        for index in 0..100 {
            packager.push(unit(received, index * 1_024, index * 1_024, scale, true));
        }
        packager.end();
        let segments = all(&mut packager);
        assert_eq!(segments[0].samples, 47);
        assert_eq!(segments[1].start.ticks(), 47 * 1_024);
    }

    #[test]
    fn a_span_in_which_nothing_came_is_a_gap_of_its_length() {
        let received = Clock.now();
        let mut packager = Packager::new(video_track(), None);
        for (sequence, at) in [(0, 0), (1, 90_000), (2, 180_000)] {
            packager.cut(cut(sequence, at, false));
        }
        packager.push(unit(received, 0, 0, Timescale::MPEG, true));
        packager.push(unit(received, 180_000, 180_000, Timescale::MPEG, true));
        packager.end();
        let segments = all(&mut packager);
        let numbers: Vec<_> = segments.iter().map(|segment| (segment.sequence.0, segment.parts.is_empty())).collect();
        assert_eq!(numbers, [(0, false), (1, true), (2, false)]);
        assert_eq!(segments[1].duration.ticks(), 90_000);
    }

    #[test]
    fn new_parameters_bring_a_new_header_and_equal_ones_do_not() {
        let mut packager = Packager::new(video_track(), None);
        packager.set_track(video_track());
        assert_eq!(packager.init.number, 0);
        packager.set_track(Track { delay: 3_000, ..video_track() });
        assert_eq!(packager.init.number, 1);
    }

    /// Pictures of 30 a second that say how long they last, in half-second parts.
    fn parted(cuts: &[(u64, i64)], pictures: i64, known_ahead: bool) -> (Packager, Vec<Packaged>) {
        let received = Clock.now();
        let mut packager = Packager::new(video_track(), Some(MediaDuration::new(45_000, Timescale::MPEG)));
        let mut seen = Vec::new();
        let mut waiting = cuts.iter().peekable();
        for index in 0..pictures {
            let at = index * 3_000;
            while let Some(&&(sequence, cut_at)) = waiting.peek().filter(|(_, cut_at)| known_ahead || *cut_at <= at) {
                packager.cut(cut(sequence, cut_at, false));
                waiting.next();
            }
            let is_key = cuts.iter().any(|(_, cut_at)| *cut_at == at);
            let duration = Some(MediaDuration::new(3_000, Timescale::MPEG));
            packager.push(AccessUnit { duration, ..unit(received, at, at, Timescale::MPEG, is_key) });
            seen.extend(all(&mut packager));
        }
        (packager, seen)
    }

    #[test]
    fn a_part_is_there_as_soon_as_its_last_picture_is() {
        let cuts = [(0, 0), (1, 180_000)];
        // 14 pictures make no part, the fifteenth does, without waiting for the sixteenth.
        assert!(parted(&cuts, 14, true).1.is_empty());
        let (_, seen) = parted(&cuts, 15, true);
        assert_eq!((seen.len(), seen[0].parts.len(), seen[0].is_complete), (1, 1, false));
        assert_eq!(seen[0].parts[0].duration.ticks(), 45_000);
        assert!(seen[0].parts[0].independent && seen[0].expects_more);
        let (_, seen) = parted(&cuts, 60, true);
        let last = seen.last().unwrap();
        assert_eq!((last.parts.len(), last.expects_more), (4, false), "the next part is the next segment's");
    }

    #[test]
    fn where_only_the_next_picture_tells_whether_the_segment_ends_the_last_part_waits_for_it() {
        let cuts = [(0, 0), (1, 180_000), (2, 360_000)];
        // The first segment's length is not known: its last part comes at once.
        assert_eq!(parted(&cuts, 60, false).1.last().unwrap().parts.len(), 4);
        // The second one's is expected.
        assert_eq!(parted(&cuts, 120, false).1.last().unwrap().parts.len(), 3);
        let (_, seen) = parted(&cuts, 121, false);
        let second = seen.iter().rfind(|packaged| packaged.sequence == MediaSequence(1)).unwrap();
        assert_eq!((second.parts.len(), second.is_complete), (4, true));
    }

    #[test]
    fn parts_are_the_bytes_of_their_segment_in_order() {
        let (_, seen) = parted(&[(0, 0), (1, 180_000)], 61, true);
        let segment = seen.iter().find(|packaged| packaged.is_complete).unwrap();
        let mut at = 0;
        let mut time = 0;
        for part in &segment.parts {
            assert_eq!(part.bytes, at..at + part.data.len() as u64);
            at = part.bytes.end;
            let chunk = fmp4::read_chunk(&part.data).unwrap();
            assert_eq!(chunk.decode_time, time);
            time += part.duration.ticks();
        }
        assert_eq!(time, segment.duration.ticks());
        // What was seen of it before is what it begins with.
        let begun = seen.iter().find(|packaged| packaged.parts.len() == 2).unwrap();
        assert_eq!(begun.parts[1].data.as_ptr(), segment.parts[1].data.as_ptr());
    }

    proptest! {
        #[test]
        fn parts_keep_the_grid_and_add_up(
            lasts in prop::collection::vec(prop::sample::select(vec![3_000u64, 3_000, 3_000, 3_000, 6_000, 9_000]), 60..400),
            every in 20usize..90,
            is_certain in any::<bool>(),
        ) {
            let received = Clock.now();
            let grid = MediaDuration::new(18_000, Timescale::MPEG);
            let mut packager = Packager::new(video_track(), Some(grid));
            let (mut at, mut sequence) = (0, 0);
            for (index, lasts) in lasts.iter().enumerate() {
                if index % every == 0 {
                    packager.cut(cut(sequence, at, false));
                    sequence += 1;
                }
                let duration = is_certain.then(|| MediaDuration::new(*lasts, Timescale::MPEG));
                packager.push(AccessUnit { duration, ..unit(received, at, at, Timescale::MPEG, index % every == 0) });
                at += i64::try_from(*lasts).unwrap();
            }
            packager.end();
            let segments: Vec<_> = all(&mut packager).into_iter().filter(|packaged| packaged.is_complete).collect();
            prop_assert_eq!(segments.iter().map(|segment| segment.samples).sum::<usize>(), lasts.len());
            for segment in &segments {
                let sum: u64 = segment.parts.iter().map(|part| part.duration.ticks()).sum();
                prop_assert_eq!(sum, segment.duration.ticks());
                // A line of the grid, and the unit that lies across it.
                prop_assert!(segment.parts.iter().all(|part| part.duration.ticks() <= 18_000 + 9_000));
            }
            for pair in segments.windows(2) {
                let between = pair[1].start.ticks() - pair[0].start.ticks();
                prop_assert_eq!(between, i64::try_from(pair[0].duration.ticks()).unwrap());
            }
        }

        #[test]
        fn durations_are_the_differences_of_decode_times_and_no_unit_is_lost(
            gaps in prop::collection::vec(1i64..20_000, 20..200),
            every in 3usize..20,
        ) {
            let received = Clock.now();
            let mut packager = Packager::new(video_track(), None);
            let (mut at, mut sequence) = (0, 0);
            for (index, gap) in gaps.iter().enumerate() {
                if index % every == 0 {
                    packager.cut(cut(sequence, at, false));
                    sequence += 1;
                }
                packager.push(unit(received, at, at, Timescale::MPEG, index % every == 0));
                at += gap;
            }
            packager.end();
            let segments = all(&mut packager);
            prop_assert_eq!(segments.iter().map(|segment| segment.samples).sum::<usize>(), gaps.len());
            for pair in segments.windows(2) {
                prop_assert_eq!(pair[1].sequence, pair[0].sequence.next());
                let between = pair[1].start.ticks() - pair[0].start.ticks();
                prop_assert_eq!(between, i64::try_from(pair[0].duration.ticks()).unwrap());
                let read = fmp4::read_chunk(&pair[0].parts[0].data).unwrap();
                prop_assert_eq!(i64::try_from(read.decode_time).unwrap(), pair[0].start.ticks());
            }
        }
    }
}
