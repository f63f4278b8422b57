//! Which segments an MPD lists, and where its periods begin. Writing them is `mod.rs`'s business.
//!
//! Within a period every rendition has every segment, with one header: `$Number$` counts on, so a hole cannot be skipped. A
//! rendition's hole makes a period of its own, without that rendition.

use std::sync::Arc;

use crate::media::{MediaSequence, MediaTime, Rendition, Segment};
use crate::window::{Lookup, Presentation, Shown, Snapshot, Stretch};

/// Everything that an MPD depends on, at one moment.
#[derive(Debug)]
pub struct Moment<'a> {
    renditions: Vec<(&'a Rendition, Arc<Snapshot>)>,
    /// The oldest and the newest that is listed.
    oldest: MediaSequence,
    newest: MediaSequence,
    /// Some were listed before the oldest that is.
    pub(super) has_retired: bool,
    /// No segment will follow.
    pub(super) ended: bool,
}

/// A span in which nothing changes but time.
#[derive(Debug)]
pub(super) struct Period<'a> {
    /// Its first segment, and where that was cut. It may have left the list.
    pub(super) begin: Stretch,
    /// Those who have something in it, in the presentation's order.
    pub(super) lanes: Vec<Lane<'a>>,
}

/// One rendition's segments in a period, in order. At least one.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    pub(super) rendition: &'a Rendition,
    pub(super) segments: Vec<Arc<Segment>>,
}

impl Lane<'_> {
    pub(super) fn first(&self) -> &Segment {
        self.segments.first().expect("a lane has a segment")
    }

    /// Where its last segment ends.
    pub(super) fn end(&self) -> MediaTime {
        let last = self.segments.last().expect("a lane has a segment");
        last.shown().plus(last.duration)
    }
}

impl<'a> Moment<'a> {
    /// What there is now; `None` when there is nothing that all have.
    pub fn of(presentation: &'a Presentation) -> Option<Self> {
        let renditions: Vec<_> =
            presentation.renditions.iter().map(|offered| (&offered.rendition, offered.reader.now())).collect();
        let newest = renditions.iter().map(|(_, snapshot)| snapshot.listed().last().map(|last| last.sequence));
        let newest = newest.min()??;
        let oldest = renditions.iter().filter_map(|(_, snapshot)| retired_until(snapshot)).max();
        let first = renditions.iter().filter_map(|(_, snapshot)| Some(snapshot.listed().first()?.sequence)).min()?;
        let has_retired = oldest.is_some();
        let oldest = oldest.unwrap_or(first);
        let ended = renditions.iter().all(|(_, snapshot)| snapshot.ended);
        Some(Self { renditions, oldest, newest, has_retired, ended })
    }

    /// What tells this moment's MPD from others.
    pub fn shown(&self) -> Shown {
        Shown { newest: self.newest, ended: self.ended }
    }

    /// Promised by the first rendition, and the same for all.
    pub(super) fn target_secs(&self) -> u64 {
        self.renditions.first().map_or(1, |(_, snapshot)| u64::from(snapshot.targets.segment_secs))
    }

    /// Those in which somebody has something.
    pub(super) fn periods(&self) -> Vec<Period<'a>> {
        let mut periods: Vec<Period<'a>> = Vec::new();
        for number in self.oldest.0..=self.newest.0 {
            let number = MediaSequence(number);
            let here: Vec<_> = self.renditions.iter().filter_map(|(of, all)| here(of, all, number)).collect();
            let Some(begin) = here.iter().map(|(stretch, ..)| *stretch).max_by_key(|stretch| stretch.first) else {
                continue;
            };
            // Where some begin and others have a gap, those who have something know the time.
            let known = here.iter().find(|(stretch, _, segment)| stretch.first == begin.first && !segment.is_gap());
            let begin = known.map_or(begin, |(stretch, ..)| *stretch);
            let lanes = here.into_iter().filter(|(.., segment)| !segment.is_gap());
            match periods.last_mut().filter(|period| period.begin.first == begin.first) {
                Some(period) => {
                    for (lane, (.., segment)) in period.lanes.iter_mut().zip(lanes) {
                        lane.segments.push(segment);
                    }
                }
                None => {
                    let lanes =
                        lanes.map(|(_, rendition, segment)| Lane { rendition, segments: vec![segment] }).collect();
                    periods.push(Period { begin, lanes });
                }
            }
        }
        periods.retain(|period| !period.lanes.is_empty());
        periods
    }
}

/// The first that is listed, where there were others before it.
fn retired_until(snapshot: &Snapshot) -> Option<MediaSequence> {
    let first = snapshot.listed().first()?.sequence;
    snapshot.has_retired().then_some(first)
}

/// The rendition's segment of this number and the stretch that it is of.
fn here<'a>(
    rendition: &'a Rendition,
    snapshot: &Snapshot,
    number: MediaSequence,
) -> Option<(Stretch, &'a Rendition, Arc<Segment>)> {
    let Lookup::Here(segment) = snapshot.find(number) else { return None };
    Some((snapshot.stretch(number)?, rendition, segment))
}
