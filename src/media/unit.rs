//! What travels from ingest to package.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::{MediaDuration, MediaTime, Track, TrackId};

/// The only thing that travels from ingest to package.
#[derive(Clone, Debug)]
pub enum Event {
    /// The tracks from here on, all of them: at the start, and again when a codec's parameters change.
    Tracks(Arc<[Track]>),
    /// A picture or a frame of sound.
    Unit(AccessUnit),
    /// Something was lost here: what follows does not join what came before.
    Gap,
}

/// One access unit: a coded picture, or one frame of sound.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// Whose it is.
    pub track: TrackId,
    /// When to decode it. Behind `stream::timeline` strictly increasing per track.
    pub dts: MediaTime,
    /// When to show it: `dts` or later, on the same clock.
    pub pts: MediaTime,
    /// How long it lasts, where the publisher or the codec says so.
    pub duration: Option<MediaDuration>,
    /// Decoding can begin here.
    pub random_access: bool,
    /// Video: NAL units after their 4-byte lengths, no parameter sets and no delimiters (AV1: a temporal unit of OBUs
    /// without delimiters; VP9: a frame). Audio: one raw frame without ADTS or other framing.
    pub data: Bytes,
    /// When its last byte arrived here.
    pub received: Instant,
}
