//! The values that every stage speaks. No I/O, no clock, no knowledge of any protocol or container.

mod byte_size;
mod codec;
pub mod duration_text;
mod name;
mod rendition;
mod segment;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod track;
mod unit;

pub use byte_size::ByteSize;
pub use codec::{Aac, AudioFormat, Codec, Color, FrameRate, Rotation, Size, VideoFormat};
pub use name::{NameError, RenditionId, StreamName};
pub use rendition::{Bitrate, Rendition};
pub use segment::{Epoch, Init, MediaSequence, Part, Position, Segment, Targets};
pub use time::{MediaDuration, MediaTime, Timescale};
pub use track::{Language, Track, TrackId};
pub use unit::{AccessUnit, Event};
