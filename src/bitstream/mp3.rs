//! MPEG audio layer III: the frame header (ISO/IEC 11172-3 § 2.4.1.3, ISO/IEC 13818-3 § 2.4.1).

use super::BitstreamError;
use super::bits::Bits;
use crate::media::{AudioFormat, Codec};

/// The codec of a stream that has this frame.
pub fn codec(frame: &[u8]) -> Result<Codec, BitstreamError> {
    let bits = &mut Bits::new(frame);
    if bits.u(11)? != 0x7FF {
        return Err(bits.error("the frame does not begin with the MPEG audio sync word"));
    }
    // MPEG-2 halves MPEG-1's rates, "MPEG-2.5" quarters them.
    let divisor = match bits.u(2)? {
        0 => 4,
        2 => 2,
        3 => 1,
        _ => return Err(bits.error("the MPEG audio version is reserved")),
    };
    if bits.u(2)? != 1 {
        return Err(bits.error("this is MPEG audio, but not layer III"));
    }
    bits.skip(1 + 4)?; // protection_bit, bitrate_index
    let rate = match bits.u(2)? {
        0 => 44_100,
        1 => 48_000,
        2 => 32_000,
        _ => return Err(bits.error("the sampling frequency is reserved")),
    };
    bits.skip(2)?; // padding_bit, private_bit
    let channels = if bits.u(2)? == 3 { 1 } else { 2 };
    Ok(Codec::Mp3 { audio: AudioFormat { sample_rate: rate / divisor, channels } })
}
