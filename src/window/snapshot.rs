//! What one rendition offers at one moment. Never changes; readers share it.

use std::sync::Arc;

use super::Texts;
use crate::media::{Epoch, MediaSequence, MediaTime, Part, Position, Segment, Targets};

/// What one rendition offers at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The numbering.
    pub epoch: Epoch,
    /// What playlists promise.
    pub targets: Targets,
    /// Discontinuities that left the playlist (`EXT-X-DISCONTINUITY-SEQUENCE`).
    pub discontinuity_sequence: u64,
    /// The very first segment that there was.
    pub first: Option<MediaSequence>,
    /// No segment will follow.
    pub ended: bool,
    /// The segment in progress, with the parts that it has.
    pub open: Option<Arc<Segment>>,
    /// Rendered from this snapshot, each once.
    pub texts: Texts,
    /// Where what joins began, oldest first; of all that is kept.
    pub(super) stretches: Vec<Stretch>,
    pub(super) kept: Vec<Arc<Segment>>,
    pub(super) retired: usize,
}

/// Segments that join, with one header; or gaps. Known for as long as one of them is kept, however many came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first segment.
    pub first: MediaSequence,
    /// Where that was cut.
    pub at: MediaTime,
}

/// What is known of a segment's number.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// It is here.
    Here(Arc<Segment>),
    /// It may come.
    NotYet,
    /// It was here, or its time has passed.
    Gone,
}

impl Snapshot {
    pub(super) fn empty(epoch: Epoch, targets: Targets) -> Self {
        Self {
            epoch,
            targets,
            discontinuity_sequence: 0,
            first: None,
            ended: false,
            open: None,
            texts: Texts::default(),
            stretches: Vec::new(),
            kept: Vec::new(),
            retired: 0,
        }
    }

    /// What a playlist lists, oldest first.
    pub fn listed(&self) -> &[Arc<Segment>] {
        self.kept.get(self.retired..).unwrap_or_default()
    }

    /// Whether there were segments that are not listed any more.
    pub fn has_retired(&self) -> bool {
        let known = self.stretches.first().map(|stretch| stretch.first);
        self.listed().first().is_some_and(|first| known.is_some_and(|known| known < first.sequence))
    }

    /// The stretch that a kept segment belongs to.
    pub fn stretch(&self, sequence: MediaSequence) -> Option<Stretch> {
        self.stretches.iter().rfind(|stretch| stretch.first <= sequence).copied()
    }

    /// The segment of this number.
    pub fn find(&self, sequence: MediaSequence) -> Lookup {
        let Some(first) = self.kept.first() else { return Lookup::NotYet };
        let Some(index) = sequence.0.checked_sub(first.sequence.0) else { return Lookup::Gone };
        match usize::try_from(index).ok().and_then(|index| self.kept.get(index)) {
            Some(segment) => Lookup::Here(Arc::clone(segment)),
            None if self.ended => Lookup::Gone,
            None => Lookup::NotYet,
        }
    }

    /// Whether this place was reached.
    pub fn has(&self, position: Position) -> bool {
        let position = self.meant(position);
        if self.kept.last().is_some_and(|last| last.sequence >= position.sequence) {
            return true;
        }
        let open = self.open.as_ref().filter(|open| open.sequence == position.sequence);
        let parts = open.map_or(0, |open| open.parts.len());
        position.part.is_some_and(|part| usize::try_from(part).is_ok_and(|part| part < parts))
    }

    /// A part beyond those of the newest segment, which has ended, means the first of the next (RFC 8216bis § 6.2.5.2).
    fn meant(&self, position: Position) -> Position {
        let ended = self.kept.last().filter(|last| last.sequence == position.sequence);
        let beyond = ended.zip(position.part).is_some_and(|(last, part)| {
            usize::try_from(part).is_ok_and(|part| part >= last.parts.len()) && !last.is_gap()
        });
        if beyond { Position { sequence: position.sequence.next(), part: Some(0) } } else { position }
    }

    /// Where the next part is likely to come.
    pub fn next(&self) -> Option<Position> {
        let last = self.kept.last()?;
        let part = |part: usize| u32::try_from(part).ok();
        Some(match &self.open {
            Some(open) if open.expects_more => Position { sequence: open.sequence, part: part(open.parts.len()) },
            Some(open) => Position { sequence: open.sequence.next(), part: part(0) },
            None => Position { sequence: last.sequence.next(), part: part(0) },
        })
    }

    /// The newest place that was reached: the last segment and its last part.
    pub fn last(&self) -> Option<Position> {
        let newest = self.open.as_ref().or_else(|| self.kept.last())?;
        Some(Position { sequence: newest.sequence, part: u32::try_from(newest.parts.len()).ok()?.checked_sub(1) })
    }

    /// The part at this place.
    pub fn part(&self, sequence: MediaSequence, part: u32) -> Option<Part> {
        let segment = match self.find(sequence) {
            Lookup::Here(segment) => segment,
            Lookup::NotYet | Lookup::Gone => Arc::clone(self.open.as_ref().filter(|open| open.sequence == sequence)?),
        };
        segment.parts.get(usize::try_from(part).ok()?).cloned()
    }

    /// The header with this number, as long as a segment needs it.
    pub fn init(&self, number: u32) -> Option<&bytes::Bytes> {
        self.open
            .iter()
            .chain(self.kept.iter().rev())
            .find(|segment| segment.init.number == number)
            .map(|segment| &segment.init.data)
    }
}
