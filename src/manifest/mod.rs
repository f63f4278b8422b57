//! Stage 5: snapshots into text. Pure: the same snapshot gives the same bytes, so that entity tags agree.

mod dash;
mod low_latency;
mod media;
mod multivariant;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::HeaderValue;

use crate::media::{MediaSequence, RenditionId};
use crate::window::Text;

pub use dash::{Moment, Pattern, mpd};
pub use low_latency::{Report, low_latency};
pub use media::{iframes, media};
pub use multivariant::multivariant;

/// The form that segments are offered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Fragmented MP4, pictures and sound apart.
    Cmaf,
    /// MPEG-TS, pictures and sound together.
    Ts,
}

/// What playlists refer to. Who serves them turns these into URIs, relative to the playlist.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum Target<'a> {
    Media(&'a RenditionId),
    IFrames(&'a RenditionId),
    Init(u32),
    Segment(MediaSequence),
    Part(MediaSequence, u32),
}

/// Compressed, and with entity tags for both forms.
fn text(plain: Vec<u8>) -> Text {
    let mut hasher = DefaultHasher::new();
    plain.hash(&mut hasher);
    let hash = hasher.finish();
    let mut gzip = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::default());
    let gzip = gzip.write_all(&plain).and_then(|()| gzip.finish()).expect("writing into memory does not fail");
    let tag = |suffix: &str| {
        HeaderValue::from_str(&format!("\"{hash:016x}{suffix}\"")).expect("hexadecimal digits are a header value")
    };
    Text { plain: Bytes::from(plain), gzip: Bytes::from(gzip), etag: tag(""), gzip_etag: tag("-gz") }
}
