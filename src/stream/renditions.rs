//! All renditions of a live stream together.

use std::sync::Arc;

use super::rendition::{Frame, Live};
use super::run::Drains;
use crate::media::{MediaDuration, MediaSequence, MediaTime, RenditionId, Segment};
use crate::package::Cut;
use crate::window::{Offered, Window};

/// Pictures first, best first.
#[derive(Debug, Default)]
pub(super) struct Renditions(Vec<Live>);

impl Renditions {
    pub(super) fn get(&mut self, id: &RenditionId) -> Option<&mut Live> {
        self.0.iter_mut().find(|live| live.id == *id)
    }

    /// Renditions that are made from now on, in their order; those that are new begin here.
    pub(super) fn set_active(&mut self, wanted: &[RenditionId], grid: Option<MediaDuration>) {
        for live in &mut self.0 {
            live.active = wanted.contains(&live.id);
        }
        for id in wanted {
            if !self.0.iter().any(|live| live.id == *id) {
                self.0.push(Live::new(id.clone(), grid));
            }
        }
        self.0.sort_by_key(|live| wanted.iter().position(|id| *id == live.id).unwrap_or(usize::MAX));
    }

    pub(super) fn is_shed(&self, id: &RenditionId) -> bool {
        self.0.iter().any(|live| live.id == *id && live.shed)
    }

    /// Given up until the next publisher.
    pub(super) fn shed(&mut self, id: &RenditionId) {
        if let Some(live) = self.get(id) {
            live.shed = true;
            live.active = false;
        }
    }

    /// A new publisher: what was given up is tried again.
    pub(super) fn forgive(&mut self) {
        self.0.iter_mut().for_each(|live| live.shed = false);
    }

    pub(super) fn cut(&mut self, cut: Cut) {
        self.0.iter_mut().filter(|live| live.active).for_each(|live| live.cut(cut));
    }

    pub(super) fn withdraw(&mut self, sequence: MediaSequence) {
        self.0.iter_mut().for_each(|live| live.withdraw(sequence));
    }

    pub(super) fn release(&mut self, horizon: MediaTime) {
        self.0.iter_mut().for_each(|live| live.release(horizon));
    }

    /// Moves finished segments into the windows, and fills those of renditions that nobody makes now. How many segments
    /// there were.
    pub(super) fn collect(&mut self, frame: Frame<'_>, drains: &Drains) -> u64 {
        let mut newest: Option<Arc<Segment>> = None;
        let mut count = 0;
        for live in &mut self.0 {
            let (segments, last) = live.collect(frame);
            count += segments;
            if let Some(last) = last
                && newest.as_ref().is_none_or(|newest| newest.sequence < last.sequence)
            {
                newest = Some(last);
            }
        }
        if let Some(newest) = newest {
            for live in self.0.iter_mut().filter(|live| !live.active) {
                // One that is still draining brings its own.
                if live.shed || !drains.bring(&live.id) {
                    live.fill(newest.sequence.next(), &newest, frame);
                }
            }
        }
        count
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(Live::bytes).sum()
    }

    /// Bytes of the segments in progress, and of what waits for them.
    pub(super) fn open_bytes(&self) -> u64 {
        self.0.iter().map(Live::open_bytes).sum()
    }

    /// Gives up the oldest segment of all; `false` when those that are left are needed.
    pub(super) fn give_up_oldest(&mut self) -> bool {
        let oldest = self.0.iter_mut().filter_map(Live::window).min_by_key(|window| window.oldest());
        oldest.is_some_and(Window::give_up_oldest)
    }

    /// No segment will follow.
    pub(super) fn end(&mut self) {
        for live in &mut self.0 {
            live.active = false;
            if let Some(window) = live.window() {
                window.set_ended(true);
            }
        }
    }

    /// As a presentation offers them: those that have a segment.
    pub(super) fn offered(&self) -> Vec<Offered> {
        self.0.iter().filter_map(Live::offered).collect()
    }

    /// Whether every rendition that is made has a segment.
    pub(super) fn are_complete(&self) -> bool {
        self.has_segments() && self.0.iter().filter(|live| live.active).all(Live::has_segments)
    }

    /// Whether any rendition has a segment.
    pub(super) fn has_segments(&self) -> bool {
        self.0.iter().any(Live::has_segments)
    }
}
