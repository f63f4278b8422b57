//! headwater: an HLS/DASH segmenting HTTP origin.
//!
//! The modules stand in the data's order; who may import whom is in `ARCHITECTURE.md` and held by a test.

pub mod bitstream;
pub mod container;
#[doc(hidden)]
pub mod fuzzing;
pub mod ingest;
pub mod media;
pub mod protocol;
pub mod runtime;
