//! One live stream: stages 1 to 4, wired. It outlives its publisher.

mod live;
mod measure;
mod registry;
mod rendition;
mod renditions;
mod run;
mod timeline;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use registry::Registry;

use crate::media::{Language, Track, duration_text};
use crate::{package, transcode, window};

/// `[stream]` of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long a stream waits for a publisher that left. One that returns in time goes on where it was, with a
    /// discontinuity; after that its playlists end.
    #[serde(with = "duration_text")]
    pub linger: Duration,
    /// Streams at once.
    pub max_streams: usize,
    /// Of sound whose publisher does not say: a BCP 47 tag.
    pub language: Language,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(30),
            max_streams: 100,
            language: "und".parse().expect("the tag for an undetermined language"),
        }
    }
}

impl Config {
    /// The track, with a language where it is sound.
    fn with_language(&self, track: &Track) -> Track {
        let mut track = track.clone();
        if track.codec.audio().is_some() {
            track.language.get_or_insert_with(|| self.language.clone());
        }
        track
    }
}

/// What a stream is made with; a change of the configuration concerns streams that start after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setup {
    /// The stream itself.
    pub stream: Config,
    /// Its ladder.
    pub transcode: transcode::Config,
    /// Its segments.
    pub segment: package::Config,
    /// What is kept of them.
    pub window: window::Config,
}

/// What happened in all streams, since the start.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the fields say what they count")]
pub struct Stats {
    pub streams: AtomicU64,
    pub publishers: AtomicU64,
    pub publishers_refused: AtomicU64,
    pub units: AtomicU64,
    pub unit_bytes: AtomicU64,
    pub segments: AtomicU64,
    pub discontinuities: AtomicU64,
    /// Segments of a copied source that had to be cut where no key frame was.
    pub overruns: AtomicU64,
    pub timestamps_mended: AtomicU64,
    pub decode_errors: AtomicU64,
    pub pictures_skipped: AtomicU64,
    /// Access units that found the decoder's queue full.
    pub decoder_overflows: AtomicU64,
    pub rungs_shed: AtomicU64,
    /// Sound that was given up while it waited for pictures.
    pub sound_lost: AtomicU64,
}
