//! One rendition's access units into CMAF segments at the stream's cuts. Where to cut is `segmenter.rs`'s business, what the
//! bytes look like `container::fmp4`'s.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::Cut;
use crate::container::fmp4::{self, Sample};
use crate::media::{AccessUnit, Init, MediaDuration, MediaSequence, MediaTime, Part, Track};

/// A segment without its place on the wall clock, which only the stream knows.
#[derive(Debug)]
pub struct Packaged {
    /// The same span in every rendition.
    pub sequence: MediaSequence,
    /// What must have been read before it; `None` while no track was ever announced.
    pub init: Arc<Init>,
    /// Media time of its first sample.
    pub start: MediaTime,
    /// The sum of its samples' durations.
    pub duration: MediaDuration,
    /// It does not join the segment before it.
    pub discontinuity: bool,
    /// Begins with a random access point.
    pub independent: bool,
    /// Where the first picture ends.
    pub first_sample_end: u64,
    /// Samples in it.
    pub samples: usize,
    /// Empty when nothing could be had for this span.
    pub parts: Vec<Part>,
}

/// Puts one rendition's units into segments.
#[derive(Debug)]
pub struct Packager {
    init: Arc<Init>,
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
    ready: VecDeque<Packaged>,
}

#[derive(Debug)]
struct Open {
    cut: Cut,
    samples: Vec<Sample>,
    /// Decode time of the first sample.
    start: Option<MediaTime>,
    ticks: u64,
    bytes: u64,
}

impl Packager {
    /// For a rendition that begins with `track`.
    pub fn new(track: Track) -> Self {
        let init = Arc::new(Init { number: 0, data: fmp4::header(&track), track });
        Self { init, chunks: 0, cuts: VecDeque::new(), open: None, held: None, usual: 0, ready: VecDeque::new() }
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
            let ticks = unit.dts.since(held.dts).map_or(0, |length| length.to_scale(self.init.track.timescale).ticks());
            self.usual = u32::try_from(ticks).unwrap_or(u32::MAX).max(1);
            self.store(&held, self.usual);
        }
        // Sound goes to the segment in which more than half of it is heard.
        let shown = match self.init.track.codec.samples_per_unit() {
            Some(samples) => unit.pts.plus(MediaDuration::new(u64::from(samples / 2), self.init.track.timescale)),
            None => unit.pts,
        };
        while let Some(next) = self.cuts.pop_front_if(|cut| cut.at <= shown) {
            self.close(next.at);
            self.open = Some(Open { cut: next, samples: Vec::new(), start: None, ticks: 0, bytes: 0 });
        }
        if self.open.is_some() {
            self.held = Some(unit);
        }
    }

    /// Nothing that joins will come: the segment in progress ends with what there is.
    pub fn end(&mut self) {
        if let Some(held) = self.held.take() {
            let said = held.duration.map(|length| length.to_scale(self.init.track.timescale).ticks());
            let ticks = said.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(self.usual);
            self.store(&held, ticks.max(1));
        }
        let until = self.open.as_ref().map(|open| open.cut.at);
        until.into_iter().for_each(|until| self.close(until));
    }

    /// The next segment that is complete.
    pub fn pull(&mut self) -> Option<Packaged> {
        self.ready.pop_front()
    }

    /// Bytes of the segment in progress.
    pub fn open_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.bytes)
    }

    fn store(&mut self, unit: &AccessUnit, duration: u32) {
        let scale = self.init.track.timescale;
        let Some(open) = &mut self.open else { return };
        let dts = unit.dts.to_scale(scale);
        open.start.get_or_insert(dts);
        open.ticks += u64::from(duration);
        open.bytes += unit.data.len() as u64;
        let offset = unit.pts.to_scale(scale).ticks() - dts.ticks();
        open.samples.push(Sample {
            duration,
            composition_offset: i32::try_from(offset).unwrap_or(0),
            sync: unit.random_access,
            data: unit.data.clone(),
        });
    }

    /// Ends the segment in progress; one in which nothing came lasts `until` then.
    fn close(&mut self, until: MediaTime) {
        let Some(open) = self.open.take() else { return };
        let Cut { sequence, at, discontinuity } = open.cut;
        let scale = self.init.track.timescale;
        let (start, samples) = (open.start.unwrap_or_else(|| at.to_scale(scale)), open.samples);
        let mut parts = Vec::new();
        let mut first_sample_end = 0;
        let independent = samples.first().is_some_and(|sample| sample.sync);
        let duration = if samples.is_empty() {
            until.to_scale(scale).since(start).unwrap_or_else(|| MediaDuration::zero(scale))
        } else {
            let decode_time = start.ticks().saturating_add_unsigned(self.init.track.delay).max(0).unsigned_abs();
            self.chunks = self.chunks.wrapping_add(1);
            let (data, first_end) = fmp4::chunk(self.chunks, decode_time, &samples, true);
            first_sample_end = first_end;
            let duration = MediaDuration::new(open.ticks, scale);
            parts.push(part(duration, independent, data));
            duration
        };
        self.ready.push_back(Packaged {
            sequence,
            init: Arc::clone(&self.init),
            start,
            duration,
            discontinuity,
            independent,
            first_sample_end,
            samples: samples.len(),
            parts,
        });
    }
}

fn part(duration: MediaDuration, independent: bool, data: Bytes) -> Part {
    Part { duration, independent, bytes: 0..data.len() as u64, data }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::{audio_track, video_track};
    use crate::media::{Timescale, TrackId};
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
        let mut packager = Packager::new(Track { delay: 6_000, ..video_track() });
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
        let mut packager = Packager::new(track);
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
        let mut packager = Packager::new(video_track());
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
        let mut packager = Packager::new(video_track());
        packager.set_track(video_track());
        assert_eq!(packager.init.number, 0);
        packager.set_track(Track { delay: 3_000, ..video_track() });
        assert_eq!(packager.init.number, 1);
    }

    proptest! {
        #[test]
        fn durations_are_the_differences_of_decode_times_and_no_unit_is_lost(
            gaps in prop::collection::vec(1i64..20_000, 20..200),
            every in 3usize..20,
        ) {
            let received = Clock.now();
            let mut packager = Packager::new(video_track());
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
