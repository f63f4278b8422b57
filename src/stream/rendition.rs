//! One rendition of a live stream: its packager, its window, and what is between them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::measure::Measure;
use crate::media::{
    AccessUnit, Epoch, MediaDuration, MediaSequence, MediaTime, Rendition, RenditionId, Segment, Targets, Timescale,
    Track, VideoFormat,
};
use crate::package::{self, Cut, Packaged, Packager};
use crate::window::{self, Offered, Window};

/// Sound that waits for the pictures' cuts. Beyond it the oldest is given up: the pictures have stalled.
const HELD_UNITS: usize = 1_024;

/// One rendition by the task that makes it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) id: RenditionId,
    /// The publisher of now brings it, or the ladder makes it.
    pub(super) active: bool,
    /// Given up for good by the ladder.
    pub(super) shed: bool,
    /// It was said that the machine is too slow for it.
    pub(super) was_late: bool,
    /// Announced before there was a track to package.
    cuts: VecDeque<Cut>,
    packager: Option<Packager>,
    /// How long parts are; `None` without them.
    grid: Option<MediaDuration>,
    held: VecDeque<AccessUnit>,
    held_bytes: u64,
    window: Option<Window>,
    measure: Measure,
}

/// What every rendition's window has in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) window: &'a window::Config,
    pub(super) epoch: Epoch,
    pub(super) targets: Targets,
    /// Wall-clock time of media time zero.
    pub(super) zero: SystemTime,
    /// Where runs began.
    pub(super) breaks: &'a Breaks,
}

/// The numbers at which runs began after others: the same discontinuities in every rendition, whether it has media there or
/// not.
#[derive(Debug, Default)]
pub(super) struct Breaks {
    numbers: VecDeque<MediaSequence>,
    /// How many came before those.
    forgotten: u64,
}

/// More than a window can hold of segments that are worth watching.
const BREAKS: usize = 4_096;

impl Breaks {
    pub(super) fn push(&mut self, sequence: MediaSequence) {
        if self.numbers.len() == BREAKS {
            self.numbers.pop_front();
            self.forgotten += 1;
        }
        self.numbers.push_back(sequence);
    }

    fn is_at(&self, sequence: MediaSequence) -> bool {
        self.numbers.binary_search(&sequence).is_ok()
    }

    fn before(&self, sequence: MediaSequence) -> u64 {
        self.forgotten + self.numbers.partition_point(|number| *number < sequence) as u64
    }
}

impl Live {
    pub(super) fn new(id: RenditionId, grid: Option<MediaDuration>) -> Self {
        Self {
            id,
            active: true,
            shed: false,
            was_late: false,
            cuts: VecDeque::new(),
            packager: None,
            grid,
            held: VecDeque::new(),
            held_bytes: 0,
            window: None,
            measure: Measure::default(),
        }
    }

    /// What its next units are.
    pub(super) fn set_track(&mut self, track: Track) {
        match &mut self.packager {
            Some(packager) => packager.set_track(track),
            None => {
                let packager = self.packager.insert(Packager::new(track, self.grid));
                self.cuts.drain(..).for_each(|cut| packager.cut(cut));
            }
        }
    }

    pub(super) fn track(&self) -> Option<&Track> {
        self.packager.as_ref().map(Packager::track)
    }

    pub(super) fn cut(&mut self, cut: Cut) {
        match &mut self.packager {
            Some(packager) => packager.cut(cut),
            None => self.cuts.push_back(cut),
        }
    }

    pub(super) fn withdraw(&mut self, sequence: MediaSequence) {
        self.cuts.retain(|cut| cut.sequence != sequence);
        if let Some(packager) = &mut self.packager {
            packager.withdraw(sequence);
        }
    }

    /// A unit for which all cuts are known.
    pub(super) fn push(&mut self, unit: AccessUnit) {
        if let Some(packager) = &mut self.packager {
            packager.push(unit);
        }
    }

    /// A unit that may be ahead of the cuts; `false` when the oldest one had to be given up for it.
    pub(super) fn hold(&mut self, unit: AccessUnit) -> bool {
        let lost = if self.held.len() == HELD_UNITS { self.held.pop_front() } else { None };
        self.held_bytes -= lost.as_ref().map_or(0, size);
        self.held_bytes += size(&unit);
        self.held.push_back(unit);
        lost.is_none()
    }

    /// All cuts before `horizon` are known.
    pub(super) fn release(&mut self, horizon: MediaTime) {
        let Some(half) = self.track().map(half_unit) else { return };
        while let Some(unit) = self.held.pop_front_if(|unit| unit.pts.plus(half) < horizon) {
            self.held_bytes -= size(&unit);
            self.push(unit);
        }
    }

    /// Nothing that joins will come.
    pub(super) fn end_run(&mut self) {
        self.held_bytes = 0;
        while let Some(unit) = self.held.pop_front() {
            self.push(unit);
        }
        if let Some(packager) = &mut self.packager {
            packager.end();
        }
    }

    /// Moves finished segments into the window: how many, and the newest.
    pub(super) fn collect(&mut self, frame: Frame<'_>) -> (u64, Option<Arc<Segment>>) {
        let (mut count, mut newest) = (0, None);
        while let Some(packaged) = self.packager.as_mut().and_then(Packager::pull) {
            // A playlist begins with a whole segment, and not with a gap. And what was filled with a gap, since its rung was
            // given up, stays one.
            let is_filled = self.window.as_ref().and_then(Window::next).is_some_and(|next| packaged.sequence < next);
            let is_no_beginning = self.window.is_none() && (packaged.parts.is_empty() || !packaged.is_complete);
            if is_filled || is_no_beginning {
                continue;
            }
            let (samples, is_complete) = (packaged.samples, packaged.is_complete);
            let segment = placed(packaged, frame);
            self.fill(segment.sequence, &segment, frame);
            if is_complete {
                self.measure.add(segment.len(), samples, segment.duration, frame.targets.segment_secs);
                newest = Some(self.append(segment, frame));
                count += 1;
            } else if let Some(window) = &mut self.window {
                window.progress(segment);
            }
        }
        (count, newest)
    }

    /// Gaps for the spans up to `until` that are missing, each like `segment` but for the header: that is this rendition's.
    pub(super) fn fill(&mut self, until: MediaSequence, segment: &Segment, frame: Frame<'_>) {
        let Some(init) = self.window.as_ref().and_then(Window::newest).map(|newest| Arc::clone(&newest.init)) else {
            return;
        };
        while let Some(next) = self.window.as_ref().and_then(Window::next).filter(|next| *next < until) {
            let discontinuity = frame.breaks.is_at(next);
            let init = Arc::clone(&init);
            let gap =
                Segment { sequence: next, init, discontinuity, parts: Vec::new(), key_frame: None, ..segment.clone() };
            self.append(gap, frame);
        }
    }

    fn append(&mut self, segment: Segment, frame: Frame<'_>) -> Arc<Segment> {
        let part_millis = if self.window.is_none() { self.part_target(&segment) } else { None };
        if let (Some(millis), Some(packager)) = (part_millis, &mut self.packager) {
            packager.set_longest_part(MediaDuration::new(u64::from(millis), Timescale::MILLIS));
        }
        let targets = Targets { part_millis, ..frame.targets };
        let before = frame.breaks.before(segment.sequence);
        let window = self.window.get_or_insert_with(|| Window::new(frame.window, frame.epoch, targets, before));
        window.append(segment)
    }

    /// What no part will exceed, judged by the rendition's first segment.
    fn part_target(&self, first: &Segment) -> Option<u32> {
        let codec = &first.init.track.codec;
        let scale = first.init.track.timescale;
        let (unit, exact) = match codec.samples_per_unit() {
            Some(samples) => (MediaDuration::new(u64::from(samples), scale), true),
            None => {
                (self.packager.as_ref()?.usual_unit(), codec.video().is_some_and(|video| video.frame_rate.is_some()))
            }
        };
        Some(package::part_target(self.grid?, unit, exact))
    }

    pub(super) fn window(&mut self) -> Option<&mut Window> {
        self.window.as_mut()
    }

    pub(super) fn has_segments(&self) -> bool {
        self.window.is_some()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.window.as_ref().map_or(0, Window::bytes)
    }

    /// Bytes of the segment in progress, and of what waits for it.
    pub(super) fn open_bytes(&self) -> u64 {
        self.packager.as_ref().map_or(0, Packager::open_bytes) + self.held_bytes
    }

    /// As a presentation offers it; `None` until a segment is there.
    pub(super) fn offered(&self) -> Option<Offered> {
        let (window, track) = (self.window.as_ref()?, self.track()?);
        let video = track.codec.video();
        let rendition = Rendition {
            id: self.id.clone(),
            track: track.clone(),
            peak: self.measure.peak(),
            mean: self.measure.mean(),
            size: video.map(VideoFormat::display_size),
            frame_rate: video.and_then(|_| self.measure.frame_rate()),
        };
        Some(Offered { rendition, reader: window.reader(), shed: self.shed })
    }
}

fn size(unit: &AccessUnit) -> u64 {
    unit.data.len() as u64
}

/// Half of a frame of sound: it belongs to the segment in which its middle is heard.
fn half_unit(track: &Track) -> MediaDuration {
    MediaDuration::new(u64::from(track.codec.samples_per_unit().unwrap_or(0) / 2), track.timescale)
}

/// The segment with its place on the wall clock.
fn placed(packaged: Packaged, frame: Frame<'_>) -> Segment {
    let shown = packaged.start.plus(MediaDuration::new(packaged.init.track.delay, packaged.start.scale()));
    let since_zero = u64::try_from(shown.micros()).unwrap_or_default();
    let is_video = packaged.init.track.codec.video().is_some();
    Segment {
        sequence: packaged.sequence,
        at: packaged.at,
        start: packaged.start,
        duration: packaged.duration,
        wall: frame.zero + std::time::Duration::from_micros(since_zero),
        discontinuity: packaged.discontinuity,
        independent: packaged.independent,
        key_frame: (is_video && packaged.independent).then_some(0..packaged.first_sample_end),
        parts: packaged.parts,
        expects_more: packaged.expects_more,
        init: packaged.init,
    }
}
