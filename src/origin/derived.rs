//! Views made when first asked for: MPEG-TS segments. Made once for all who ask, kept within a byte budget.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use moka::future::Cache;

use super::{Outcome, Stats};
use crate::container::fmp4::{self, ReadError};
use crate::container::ts::{self, TsError};
use crate::media::{Codec, Epoch, MediaSequence, MediaTime, Position, RenditionId, Segment, StreamName};
use crate::window::{Lookup, Offered, Presentation};

/// How long a segment of pictures waits for its sound, which ends a little later.
const SOUND_PATIENCE: Duration = Duration::from_secs(5);

type Key = (StreamName, Epoch, RenditionId, MediaSequence);

/// MPEG-TS segments that somebody asked for.
#[derive(Debug)]
pub(super) struct Derived {
    cache: Cache<Key, Bytes>,
    stats: Arc<Stats>,
}

#[derive(Debug, thiserror::Error)]
enum DeriveError {
    #[error(transparent)]
    Ts(#[from] TsError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("its sound is not there yet")]
    Late,
    #[error("its sound has left the window")]
    Gone,
}

impl Derived {
    pub(super) fn new(max_bytes: u64, stats: Arc<Stats>) -> Self {
        let cache = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, data: &Bytes| u32::try_from(data.len()).unwrap_or(u32::MAX))
            .build();
        Self { cache, stats }
    }

    /// The segment as MPEG-TS, with the stream's first sound.
    pub(super) async fn ts(
        &self,
        presentation: &Presentation,
        offered: &Offered,
        segment: &Arc<Segment>,
    ) -> Result<Bytes, Box<Response<Body>>> {
        let key = (presentation.name.clone(), presentation.epoch, offered.rendition.id.clone(), segment.sequence);
        let made = self.cache.try_get_with(key, async {
            self.stats.ts_made.fetch_add(1, Ordering::Relaxed);
            let is_video = offered.rendition.track.codec.video().is_some();
            // Also one that was given up meanwhile: what is in a segment does not depend on when it is asked for.
            let mut sounds = presentation.renditions.iter();
            let sound = match sounds.find(|sound| matches!(sound.rendition.track.codec, Codec::Aac(_))) {
                Some(audio) if is_video => sound_of(audio, segment.sequence).await?,
                _ => None,
            };
            make(segment, is_video, sound.as_deref())
        });
        made.await.map_err(|error| {
            Box::new(match *error {
                DeriveError::Late => Outcome::Unavailable.say("Its sound is not there yet; try again.\n"),
                DeriveError::Gone => super::gone(),
                DeriveError::Ts(_) | DeriveError::Read(_) => {
                    tracing::debug!(%error, "no MPEG-TS of this segment");
                    Outcome::NotFound.say("This rendition cannot be had as MPEG-TS.\n")
                }
            })
        })
    }
}

/// The sound of the same span. `None` where there is none; never a guess, since the bytes must be the same each time.
async fn sound_of(audio: &Offered, sequence: MediaSequence) -> Result<Option<Arc<Segment>>, DeriveError> {
    let position = Position { sequence, part: None };
    let reached = tokio::time::timeout(SOUND_PATIENCE, audio.reader.reach(position)).await;
    let snapshot = reached.map_err(|_| DeriveError::Late)?;
    match snapshot.find(sequence) {
        Lookup::Here(segment) if !segment.is_gap() => Ok(Some(segment)),
        Lookup::Here(_) => Ok(None),
        Lookup::Gone if snapshot.first.is_none_or(|first| sequence < first) => Ok(None),
        Lookup::Gone if snapshot.ended && !snapshot.has(position) => Ok(None),
        Lookup::Gone => Err(DeriveError::Gone),
        Lookup::NotYet => Err(DeriveError::Late),
    }
}

fn make(segment: &Segment, is_video: bool, sound: Option<&Segment>) -> Result<Bytes, DeriveError> {
    let main = stream(segment)?;
    let sound = sound.map(stream).transpose()?;
    let (video, audio) = if is_video { (Some(&main), sound.as_ref()) } else { (None, Some(&main)) };
    Ok(ts::segment(video, audio)?)
}

fn stream(segment: &Segment) -> Result<ts::Stream<'_>, ReadError> {
    let track = &segment.init.track;
    let mut samples = Vec::new();
    let mut start = None;
    for part in &segment.parts {
        let chunk = fmp4::read_chunk(&part.data)?;
        // The edit list takes the delay back that is in the chunk's decode time.
        let ticks = i64::try_from(chunk.decode_time).unwrap_or(i64::MAX).saturating_sub_unsigned(track.delay);
        start.get_or_insert_with(|| MediaTime::new(ticks, track.timescale));
        samples.extend(chunk.samples);
    }
    Ok(ts::Stream { track, start: start.unwrap_or(segment.start), samples })
}
