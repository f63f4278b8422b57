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
            self.open = Some(Open { cut: next, samples: Vec::new(), start: None, ticks: 0 });
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
    pub fn open_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.samples.iter().map(|sample| sample.data.len()).sum())
    }

    fn store(&mut self, unit: &AccessUnit, duration: u32) {
        let scale = self.init.track.timescale;
        let Some(open) = &mut self.open else { return };
        let dts = unit.dts.to_scale(scale);
        open.start.get_or_insert(dts);
        open.ticks += u64::from(duration);
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
