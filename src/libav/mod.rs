//! Safe wrappers over FFmpeg's libraries: decoders, encoders, filter graphs. The only place with `unsafe`.
//!
//! Times are ticks of the clock that a decoder or encoder was opened with; who shares clocks with whom is decided above.

#![allow(unsafe_code, reason = "libav is C; every block says what upholds it")]

mod decoder;
mod encoder;
mod frame;
mod graph;
mod log;
mod timing;

use std::ffi::CStr;

use ffmpeg_next as ffmpeg;
use ffmpeg_next::ffi;

pub use decoder::Decoder;
#[cfg(test)]
pub(crate) use encoder::encode_sound_for_test;
pub use encoder::{AudioEncoder, Coded, Colors, VideoEncoder, VideoSettings};
pub use frame::{Layout, Picture, Sound};
pub use graph::{PictureGraph, SoundGraph};

/// What libav refuses or cannot do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// This build of FFmpeg lacks an encoder that the ladder needs.
    #[error("libavcodec has no {name}; {remedy}")]
    NoEncoder {
        /// The encoder's name in FFmpeg.
        name: &'static str,
        /// What to install.
        remedy: &'static str,
    },
    /// This build of FFmpeg cannot decode it.
    #[error("libavcodec has no decoder for {0}")]
    NoDecoder(&'static str),
    /// libav said no.
    #[error("{doing}: {why}")]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// libav's own words.
        why: ffmpeg::Error,
    },
    /// Memory for a picture or a packet could not be had.
    #[error("out of memory")]
    OutOfMemory,
}

impl Error {
    fn refused(doing: &'static str) -> impl FnOnce(ffmpeg::Error) -> Self {
        move |why| Self::Refused { doing, why }
    }
}

/// Sends libav's log into `tracing`. Call it once, before anything else of libav; again does no harm.
pub fn init() {
    // It registers error texts; with FFmpeg 5 and later it has no way to fail.
    let _ = ffmpeg::init();
    log::route();
}

/// Whether everything that the ladder needs was compiled into this FFmpeg.
pub fn check() -> Result<(), Error> {
    let needed = [
        ("libx264", "install Debian's libavcodec-extra, or build FFmpeg with --enable-gpl --enable-libx264"),
        ("aac", "build FFmpeg with --enable-encoder=aac"),
    ];
    for (name, remedy) in needed {
        if ffmpeg::encoder::find_by_name(name).is_none() {
            return Err(Error::NoEncoder { name, remedy });
        }
    }
    Ok(())
}

/// For `--version`: FFmpeg's release and the versions of the libraries in use, as they say themselves at run time.
pub fn versions() -> String {
    let parts = |version: u32| format!("{}.{}.{}", version >> 16, (version >> 8) & 0xFF, version & 0xFF);
    // SAFETY: takes nothing and returns a static string.
    let release = unsafe { ffi::av_version_info() };
    // SAFETY: a static, NUL-terminated string.
    let release = unsafe { CStr::from_ptr(release) }.to_string_lossy();
    let codec = parts(ffmpeg::codec::version());
    let filter = parts(ffmpeg::filter::version());
    format!("FFmpeg {release} (libavcodec {codec}, libavfilter {filter})")
}

/// `EAGAIN` and the end are answers, not errors.
fn answer(doing: &'static str, result: Result<(), ffmpeg::Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(true),
        Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN }) => Ok(false),
        Err(why) => Err(Error::Refused { doing, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoders_of_the_ladder_are_there_and_versions_can_be_told() {
        init();
        check().unwrap();
        assert!(versions().starts_with("FFmpeg "), "{}", versions());
    }
}
