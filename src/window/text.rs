//! Playlists rendered from a snapshot: made once by whoever asks first, shared by all who ask after. What they say is
//! `manifest`'s business.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use crate::media::MediaSequence;

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

/// What a text that depends on several snapshots shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The newest segment that every rendition has.
    pub newest: MediaSequence,
    /// No segment will follow.
    pub ended: bool,
}

/// Room for one text that depends on several snapshots: kept for as long as it shows the newest.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Option<(Shown, Arc<Text>)>>);

impl Memo {
    /// The text that shows this; `make` is called for the first who asks.
    pub fn get(&self, shown: Shown, make: impl FnOnce() -> Text) -> Arc<Text> {
        // Held while the text is made: those who ask at the same time shall not make it, too.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, text)) if *of == shown => Arc::clone(text),
            _ => Arc::clone(&kept.insert((shown, Arc::new(make()))).1),
        }
    }
}
