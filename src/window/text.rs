//! Playlists rendered from a snapshot: made once by whoever asks first, shared by all who ask after. What they say is
//! `manifest`'s business.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A playlist as it is sent.
#[derive(Debug)]
pub struct Text {
    /// As it is.
    pub plain: Bytes,
    /// Compressed.
    pub gzip: Bytes,
    /// Of `plain`; a strong validator, with its quotes.
    pub etag: http::HeaderValue,
    /// Of `gzip`.
    pub gzip_etag: http::HeaderValue,
}

/// Which playlist of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say it")]
pub enum TextKind {
    Media,
    MediaTs,
    IFrames,
    MediaSkipped,
    Multivariant,
    MultivariantTs,
}

/// Room for one text of each kind.
#[derive(Debug, Default)]
pub struct Texts([OnceLock<Arc<Text>>; 6]);

impl Texts {
    /// The text of this kind; `make` is called for the first who asks.
    pub fn get(&self, kind: TextKind, make: impl FnOnce() -> Text) -> Arc<Text> {
        Arc::clone(self.0[kind as usize].get_or_init(|| Arc::new(make())))
    }
}
