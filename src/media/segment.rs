//! What packaging makes and the window keeps.

use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::{MediaDuration, MediaTime, Track};

/// One uninterrupted numbering of a stream; part of every media URL, so that a URL never names two byte strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// HLS media sequence number and DASH `$Number$`: the same span in every rendition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaSequence(pub u64);

impl MediaSequence {
    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A CMAF header: what a player needs before a track's first segment.
#[derive(Clone, Debug)]
pub struct Init {
    /// Its number in URLs; a new one whenever the bytes change.
    pub number: u32,
    /// `ftyp` and `moov`.
    pub data: Bytes,
    /// What the header was made from.
    pub track: Track,
}

/// One segment of one rendition.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The same span in every rendition.
    pub sequence: MediaSequence,
    /// What must have been read before it.
    pub init: Arc<Init>,
    /// Where it was cut: the same in every rendition.
    pub at: MediaTime,
    /// Of the first sample, on the track's clock: the `tfdt`.
    pub start: MediaTime,
    /// The sum of its samples' durations, on the track's clock.
    pub duration: MediaDuration,
    /// Wall-clock time of its first sample (`EXT-X-PROGRAM-DATE-TIME`).
    pub wall: SystemTime,
    /// It does not join the segment before it.
    pub discontinuity: bool,
    /// Begins with a random access point.
    pub independent: bool,
    /// From `styp` to the end of the first picture, as a range of the segment's bytes: what an I-frame playlist lists.
    /// `None` for sound, and when the segment does not begin with a random access point.
    pub key_frame: Option<Range<u64>>,
    /// In order. Empty when nothing could be had for this span (`EXT-X-GAP`).
    pub parts: Vec<Part>,
    /// Of a segment in progress: the next part is likely to be its, and not the next segment's.
    pub expects_more: bool,
}

impl Segment {
    /// Nothing could be had for this span.
    pub fn is_gap(&self) -> bool {
        self.parts.is_empty()
    }

    /// When its first sample is meant to be seen or heard.
    pub fn shown(&self) -> MediaTime {
        // Pictures are reordered, sound is not: the first picture is shown as much later than it is decoded as the edit list
        // takes back.
        let delay = if self.init.track.codec.video().is_some() { self.init.track.delay } else { 0 };
        self.start.plus(MediaDuration::new(delay, self.start.scale()))
    }

    /// Wall-clock time of media time zero.
    pub fn zero(&self) -> SystemTime {
        let first = self.start.plus(MediaDuration::new(self.init.track.delay, self.start.scale()));
        let since = std::time::Duration::from_micros(u64::try_from(first.micros()).unwrap_or_default());
        self.wall.checked_sub(since).unwrap_or(self.wall)
    }

    /// Bytes of all its parts.
    pub fn len(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.bytes.end)
    }

    /// Without a byte: a gap.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A run of samples that can be sent as soon as it is complete: a CMAF chunk.
#[derive(Clone, Debug)]
pub struct Part {
    /// The sum of its samples' durations.
    pub duration: MediaDuration,
    /// Begins with a random access point.
    pub independent: bool,
    /// Where it lies in its segment.
    pub bytes: Range<u64>,
    /// Allocated once; part, segment and chunk are views of it.
    pub data: Bytes,
}

/// What playlists promise; constant for an [`Epoch`], since players give up for good when it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets {
    /// `EXT-X-TARGETDURATION`: no `EXTINF`, rounded to whole seconds, is above it.
    pub segment_secs: u32,
    /// `PART-TARGET` in milliseconds: no part is longer, and all but a segment's last are at least 85 % of it. `None`
    /// without parts.
    pub part_millis: Option<u32>,
}

/// A place in a playlist, as `_HLS_msn` and `_HLS_part` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// `_HLS_msn`.
    pub sequence: MediaSequence,
    /// `_HLS_part`; `None` for the whole segment.
    pub part: Option<u32>,
}
