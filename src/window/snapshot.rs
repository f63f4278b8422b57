//! What one rendition offers at one moment. Never changes; readers share it.

use std::sync::Arc;

use super::Texts;
use crate::media::{Epoch, MediaSequence, Position, Segment, Targets};

/// What one rendition offers at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The numbering.
    pub epoch: Epoch,
    /// What playlists promise.
    pub targets: Targets,
    /// Discontinuities that left the playlist (`EXT-X-DISCONTINUITY-SEQUENCE`).
    pub discontinuity_sequence: u64,
    /// No segment will follow.
    pub ended: bool,
    /// Rendered from this snapshot, each once.
    pub texts: Texts,
    pub(super) kept: Vec<Arc<Segment>>,
    pub(super) retired: usize,
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
            ended: false,
            texts: Texts::default(),
            kept: Vec::new(),
            retired: 0,
        }
    }

    /// What a playlist lists, oldest first.
    pub fn listed(&self) -> &[Arc<Segment>] {
        self.kept.get(self.retired..).unwrap_or_default()
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
        self.kept.last().is_some_and(|last| last.sequence >= position.sequence)
    }

    /// The header with this number, as long as a segment needs it.
    pub fn init(&self, number: u32) -> Option<&bytes::Bytes> {
        self.kept.iter().rev().find(|segment| segment.init.number == number).map(|segment| &segment.init.data)
    }
}
