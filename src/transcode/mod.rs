//! Stage 2: one decode, many rungs. Pictures are decoded once and scaled and encoded per rung; sound that is not AAC
//! becomes AAC. Which rungs make sense is [`ladder`]'s business, where they are cut the segmenter's, who says it by
//! [`Cuts`].
//!
//! Every codec works on a named OS thread of its own behind a bounded queue, and nobody waits for a slower one: see
//! [`Pressure::Live`].

mod align;
mod cuts;
mod encode;
mod fan;
mod feed;
pub mod ladder;
mod ladder_text;
mod lateness;
mod pictures;
mod rung;
mod sound;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

pub use cuts::Cuts;
pub use ladder::{Config, Plan, Rung, plan};

use crate::bitstream::BitstreamError;
use crate::libav;
use crate::media::{AccessUnit, MediaTime, RenditionId, Track, TrackId};
use feed::Feed;

/// What comes out. All of a rendition's messages are in order; renditions come as they are ready.
#[derive(Clone, Debug)]
pub enum Output {
    /// What the units of a rendition are; comes before the first of them, and again should it change.
    Track {
        /// Which rendition.
        rendition: RenditionId,
        /// Pictures at 90 kHz, sound at its sample rate; `id` and language are the source's.
        track: Track,
    },
    /// A coded picture or a frame of sound.
    Unit {
        /// Which rendition.
        rendition: RenditionId,
        /// With the very `pts` of the source's picture; `received` is when that picture arrived.
        unit: AccessUnit,
    },
    /// The rung was late and left pictures out; the next unit is a random access point at a cut.
    Skipped {
        /// Which rendition.
        rendition: RenditionId,
        /// The first picture that is missing.
        from: MediaTime,
        /// The first picture that is there again.
        to: MediaTime,
        /// How many are missing.
        pictures: u64,
    },
    /// The rung was given up for good. A unit that was on its way may still follow; nothing else does.
    Shed {
        /// Which rendition.
        rendition: RenditionId,
        /// For people.
        reason: String,
    },
}

/// Why transcoding cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum TranscodeError {
    /// libav refuses.
    #[error(transparent)]
    Libav(#[from] libav::Error),
    /// An encoder's own parameters cannot be read.
    #[error("an encoder's parameters: {0}")]
    Parameters(#[from] BitstreamError),
    /// The system gives no more threads.
    #[error("starting a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// What happens when a codec is slower than what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Nobody waits. A decoder that is behind skips to the next random access point, a rung to the next cut; when that
    /// goes on, the most expensive rung is given up.
    Live,
    /// [`Transcoder::feed`] blocks until there is room, and nothing is lost: for files and measurements, never on an
    /// async runtime's thread.
    Wait,
}

/// What has gone wrong so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Access units that found the decoder's queue full.
    pub units_lost: u64,
    /// Access units that could not be decoded.
    pub decode_errors: u64,
    /// Pictures that late rungs left out.
    pub pictures_skipped: u64,
}

/// Shared by the threads of one transcoder.
#[derive(Debug, Default)]
struct Shared {
    /// Nobody wants the rest: end without flushing.
    abandoned: AtomicBool,
    units_lost: AtomicU64,
    decode_errors: AtomicU64,
    pictures_skipped: AtomicU64,
}

impl Shared {
    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// Owns the codecs of one stream. Dropped, it closes their queues and lets them end without waiting for them; what is
/// inside them is lost.
pub struct Transcoder {
    feeds: Vec<(TrackId, Feed)>,
    shared: Arc<Shared>,
    finished: bool,
}

impl Transcoder {
    /// Starts the threads: a decoder of the pictures, one for each rung, one for each track of sound.
    pub fn start(
        video: Option<(&Track, Vec<Rung>)>,
        audio: Vec<(RenditionId, Track)>,
        config: &Config,
        cuts: &Cuts,
        output: &mpsc::Sender<Output>,
        pressure: Pressure,
    ) -> Result<Self, TranscodeError> {
        Self::launch(video, audio, config, cuts, output, pressure, encode::x264(config.threads, config.latency))
    }

    fn launch(
        video: Option<(&Track, Vec<Rung>)>,
        audio: Vec<(RenditionId, Track)>,
        config: &Config,
        cuts: &Cuts,
        output: &mpsc::Sender<Output>,
        pressure: Pressure,
        open: encode::Open,
    ) -> Result<Self, TranscodeError> {
        libav::init();
        let shared = Arc::new(Shared::default());
        let mut feeds = Vec::new();
        if let Some((track, rungs)) = video.filter(|(_, rungs)| !rungs.is_empty()) {
            let (feed, work) = feed::channel(pressure, &shared);
            let setup = pictures::Setup {
                track,
                rungs,
                shed_after: config.shed_after,
                cuts: cuts.reader(),
                output: output.clone(),
                pressure,
                open,
                shared: Arc::clone(&shared),
            };
            pictures::start(setup, work)?;
            feeds.push((track.id, feed));
        }
        for (rendition, track) in audio {
            let (feed, work) = feed::channel(pressure, &shared);
            let id = track.id;
            sound::start(rendition, track, config.audio_bitrate, output.clone(), Arc::clone(&shared), work)?;
            feeds.push((id, feed));
        }
        Ok(Self { feeds, shared, finished: false })
    }

    /// Takes an access unit of any track; those of tracks that nothing is made of are ignored. With
    /// [`Pressure::Live`] it never blocks.
    pub fn feed(&mut self, unit: &AccessUnit) {
        for (_, feed) in self.feeds.iter_mut().filter(|(track, _)| *track == unit.track) {
            feed.push(unit);
        }
    }

    /// Something was lost before the next unit: what is inside the codecs comes out, and the next picture, a random
    /// access point, begins anew.
    pub fn gap(&mut self) {
        for (_, feed) in &mut self.feeds {
            feed.gap();
        }
    }

    /// A track has other parameters from the next unit on, a random access point: another size, another profile, another
    /// codec. The rungs stay what they are.
    pub fn update(&mut self, track: &Track) {
        for (_, feed) in self.feeds.iter_mut().filter(|(id, _)| *id == track.id) {
            feed.update(track.clone());
        }
    }

    /// Nothing more will be fed: what is inside comes out, then the output closes.
    pub fn finish(mut self) {
        self.finished = true;
    }

    /// What has gone wrong so far.
    pub fn health(&self) -> Health {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Health {
            units_lost: read(&self.shared.units_lost),
            decode_errors: read(&self.shared.decode_errors),
            pictures_skipped: read(&self.shared.pictures_skipped),
        }
    }
}

impl Drop for Transcoder {
    fn drop(&mut self) {
        self.shared.abandoned.store(!self.finished, Ordering::Relaxed);
    }
}

/// Starts a named thread inside the present tracing span.
fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let span = tracing::Span::current();
    // Linux shows 15 bytes of a name.
    let name: String = name.chars().take(15).collect();
    std::thread::Builder::new().name(name).spawn(move || span.in_scope(body))?;
    Ok(())
}
