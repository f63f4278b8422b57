//! Fragmented MP4 as CMAF (ISO/IEC 23000-19) wants it: writing, and reading back what was written here.

mod boxes;
mod fragment;
mod init;
mod read;

pub use fragment::{Sample, chunk};
pub use init::header;
pub use read::{Chunk, ReadError, read_chunk};

#[cfg(test)]
mod tests;
