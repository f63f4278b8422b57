//! What one stream offers: its renditions, and how it is doing. Never changes; readers share it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Memo, Reader, Texts};
use crate::media::{Epoch, Rendition, RenditionId, StreamName};

/// What one stream offers at one moment.
#[derive(Debug)]
pub struct Presentation {
    /// Its name.
    pub name: StreamName,
    /// Its numbering.
    pub epoch: Epoch,
    /// When the stream came to be.
    pub since: SystemTime,
    /// How it is doing.
    pub state: State,
    /// Who publishes, while somebody does.
    pub publisher: Option<Publisher>,
    /// Pictures first, best first.
    pub renditions: Vec<Offered>,
    /// Rendered from this, each once.
    pub texts: Texts,
    /// The MPD, which depends on every rendition's segments; the same from presentation to presentation.
    pub mpd: Arc<Memo>,
}

/// How a stream is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A publisher is there, and not yet a segment of every rendition.
    Starting,
    /// It can be watched.
    Live,
    /// It can be watched, its publisher is gone and may come back.
    Waiting,
    /// What is left can be watched to its end.
    Ended,
}

/// Who publishes a stream.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// From where.
    pub peer: SocketAddr,
    /// `rtmp`, `file`, …
    pub protocol: &'static str,
    /// Since when.
    pub since: SystemTime,
}

/// A rendition and its segments.
#[derive(Clone, Debug)]
pub struct Offered {
    /// What it is.
    pub rendition: Rendition,
    /// Its segments.
    pub reader: Reader,
    /// Given up for good: it stays fetchable and is offered to nobody new.
    pub shed: bool,
}

impl Presentation {
    /// The rendition of this name.
    pub fn rendition(&self, id: &RenditionId) -> Option<&Offered> {
        self.renditions.iter().find(|offered| offered.rendition.id == *id)
    }

    /// Pictures that are offered to new players, best first.
    pub fn video(&self) -> impl Iterator<Item = &Offered> {
        self.renditions.iter().filter(|offered| offered.rendition.track.codec.video().is_some() && !offered.shed)
    }

    /// Sound that is offered to new players, the first by default.
    pub fn audio(&self) -> impl Iterator<Item = &Offered> {
        self.renditions.iter().filter(|offered| offered.rendition.track.codec.audio().is_some() && !offered.shed)
    }

    /// Whether playlists can be served.
    pub fn is_watchable(&self) -> bool {
        self.state != State::Starting
    }
}
