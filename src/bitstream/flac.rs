//! FLAC: the `STREAMINFO` block (RFC 9639 § 8.2).

use bytes::Bytes;

use super::BitstreamError;
use super::bits::Bits;
use crate::media::{AudioFormat, Codec};

const MAGIC: &[u8] = b"fLaC";
const BYTES: usize = 34;

/// The codec of a `STREAMINFO` block, bare, behind its block header, or behind magic and block header.
pub fn codec(info: &Bytes) -> Result<Codec, BitstreamError> {
    let start = match info.len() {
        BYTES => 0,
        _ if info.starts_with(MAGIC) => MAGIC.len() + 4,
        _ => 4,
    };
    let config = info
        .get(start..start + BYTES)
        .map(|block| info.slice_ref(block))
        .ok_or_else(|| BitstreamError::new(info.len(), "the FLAC STREAMINFO ends too early"))?;
    let bits = &mut Bits::new(&config);
    bits.skip(16 + 16 + 24 + 24)?; // block and frame sizes
    let sample_rate = bits.u(20)?;
    if sample_rate == 0 {
        return Err(bits.error("FLAC of no sample rate"));
    }
    let channels = u16::try_from(bits.u(3)? + 1).unwrap_or(1);
    Ok(Codec::Flac { config, audio: AudioFormat { sample_rate, channels } })
}
