//! Opus: the identification header (RFC 7845 § 5.1).

use bytes::Bytes;

use super::BitstreamError;
use crate::media::{AudioFormat, Codec};

const MAGIC: &[u8] = b"OpusHead";

/// The codec of an identification header, with or without its magic. Its clock is always 48 kHz.
pub fn codec(head: Bytes) -> Result<Codec, BitstreamError> {
    let config = if head.starts_with(MAGIC) { head.slice(MAGIC.len()..) } else { head };
    let &[version, channels, _, _, _, _, _, _, _, _, _, ..] = config.as_ref() else {
        return Err(BitstreamError::new(config.len(), "the Opus header ends too early"));
    };
    if version >> 4 != 0 {
        return Err(BitstreamError::new(0, "the Opus header's version is not 0 or 1"));
    }
    if channels == 0 {
        return Err(BitstreamError::new(1, "Opus of no channel"));
    }
    let audio = AudioFormat { sample_rate: 48_000, channels: u16::from(channels) };
    Ok(Codec::Opus { config, audio })
}
