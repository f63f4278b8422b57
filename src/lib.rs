//! headwater: an HLS/DASH segmenting HTTP origin.
//!
//! The modules stand in the data's order; who may import whom is in `ARCHITECTURE.md` and held by a test.

use std::sync::LazyLock;

pub mod bitstream;
pub mod container;
pub mod control;
#[doc(hidden)]
pub mod fuzzing;
pub mod ingest;
pub mod libav;
pub mod manifest;
pub mod media;
pub mod origin;
pub mod package;
pub mod protocol;
pub mod runtime;
pub mod server;
pub mod stream;
pub mod transcode;
pub mod window;

/// Of headwater and of the FFmpeg libraries that it runs with, as `--version` says them.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| format!("{} ({})", env!("CARGO_PKG_VERSION"), libav::versions()));
    &VERSION
}
