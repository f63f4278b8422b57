//! The server's side of RTMP (Adobe's Real Time Messaging Protocol 1.0, Enhanced RTMP v2), for publishers.
//!
//! Bytes go in with [`Session::push`]; what the publisher wants comes out of [`Session::pull`], what it is to be told of
//! [`Session::take_output`]. The handshake is scuffle-rtmp's; chunks are ours, because scuffle's chunk reader panics on
//! made-up lengths and forgets the delta of type 3 chunks.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

mod chunk;
mod name;
mod session;
#[cfg(test)]
mod tests;

pub use chunk::{ChunkReader, Message};
pub use name::PublishName;
pub use session::{Event, Session, Tag};

use crate::bitstream::BitstreamError;

/// Why a connection cannot go on, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {fault}")]
pub struct SessionError {
    /// Bytes from the connection's start.
    pub at: u64,
    /// What it is.
    pub fault: Fault,
}

/// What can be wrong with a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The first byte is not RTMP's version.
    #[error("this is {0}, not RTMP")]
    NotRtmp(&'static str),
    /// The handshake's C1 or C2.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// More than a message may have.
    #[error("a message of {0} bytes")]
    MessageTooLong(u32),
    /// More than all unfinished messages together may have.
    #[error("unfinished messages of {0} bytes together")]
    TooMuchUnfinished(usize),
    /// More than anybody needs.
    #[error("more than {0} chunk streams")]
    TooManyChunkStreams(usize),
    /// A chunk that refers to one that never came.
    #[error("the first chunk of chunk stream {0} is not of type 0")]
    NoPreviousChunk(u32),
    /// Zero, or with the highest bit set.
    #[error("a chunk size of {0}")]
    ChunkSize(u32),
    /// A protocol control message that is too short.
    #[error("a control message of type {0} ends too early")]
    ShortControl(u8),
    /// A command that cannot be read.
    #[error("a command is not AMF0: {0}")]
    Command(BitstreamError),
}

impl Fault {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NotRtmp("TLS") => "publish to rtmp://, not rtmps://",
            Self::NotRtmp(_) => "publish RTMP to this port, and HTTP to the HTTP port",
            Self::MessageTooLong(_) | Self::TooMuchUnfinished(_) => {
                "lower the encoder's bit rate or key frame size; otherwise the publisher is broken"
            }
            Self::Handshake(_)
            | Self::TooManyChunkStreams(_)
            | Self::NoPreviousChunk(_)
            | Self::ChunkSize(_)
            | Self::ShortControl(_)
            | Self::Command(_) => "the publisher does not speak RTMP correctly: update it or use another",
        }
    }
}
