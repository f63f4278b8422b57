//! AV1: `AV1CodecConfigurationRecord` (AV1-ISOBMFF § 2.3) and the sequence header (AV1 specification § 5.5).

use bytes::Bytes;

use super::bits::Bits;
use super::{BitstreamError, frame_rate};
use crate::media::{Codec, Color, FrameRate, Rotation, Size, VideoFormat};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// The codec that a configuration record describes, after the sequence header in it.
pub fn codec(config: Bytes) -> Result<Codec, BitstreamError> {
    if config.first() != Some(&0x81) {
        return Err(BitstreamError::new(0, "the av1C does not begin with marker and version 1"));
    }
    let units = config.get(4..).ok_or_else(|| BitstreamError::new(config.len(), "the av1C ends too early"))?;
    let mut video = Err(BitstreamError::new(4, "the av1C has no sequence header"));
    for obu in obus(units) {
        let obu = obu?;
        if obu.kind == SEQUENCE_HEADER {
            video = sequence_header(obu.payload);
        }
    }
    Ok(Codec::Av1 { video: video?, config })
}

/// A temporal unit without its delimiter, which ISOBMFF does not carry. Without a copy, as it stands first.
pub fn without_delimiter(unit: Bytes) -> Bytes {
    match obu(&unit, 0) {
        Ok(first) if first.kind == TEMPORAL_DELIMITER => unit.slice(first.end..),
        _ => unit,
    }
}

/// Whether the temporal unit carries a sequence header, as every one at which decoding can begin does.
pub fn has_sequence_header(unit: &[u8]) -> bool {
    obus(unit).map_while(Result::ok).any(|obu| obu.kind == SEQUENCE_HEADER)
}

struct Obu<'a> {
    kind: u8,
    payload: &'a [u8],
    /// Where the next one begins.
    end: usize,
}

/// § 5.3: open bitstream units that carry their sizes; the last may do without.
fn obus(data: &[u8]) -> impl Iterator<Item = Result<Obu<'_>, BitstreamError>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= data.len() {
            return None;
        }
        let found = obu(data, at);
        at = found.as_ref().map_or(data.len(), |obu| obu.end);
        Some(found)
    })
}

fn obu(data: &[u8], at: usize) -> Result<Obu<'_>, BitstreamError> {
    let cut = BitstreamError::new(at, "an OBU is cut off");
    let &header = data.get(at).ok_or(cut)?;
    let mut start = at + if header & 4 == 0 { 1 } else { 2 };
    let mut end = data.len();
    if header & 2 != 0 {
        let mut size = 0_u64;
        for index in 0..8 {
            let &byte = data.get(start).ok_or(cut)?;
            start += 1;
            size |= u64::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                break;
            }
        }
        end = usize::try_from(size).ok().and_then(|size| start.checked_add(size)).ok_or(cut)?;
    }
    let payload = data.get(start..end).ok_or(cut)?;
    Ok(Obu { kind: header >> 3 & 0xF, payload, end })
}

/// § 5.5.1.
fn sequence_header(payload: &[u8]) -> Result<VideoFormat, BitstreamError> {
    let bits = &mut Bits::new(payload);
    let profile = bits.u(3)?;
    bits.skip(1)?; // still_picture
    let reduced = bits.flag()?;
    let mut rate = None;
    if reduced {
        bits.skip(5)?; // seq_level_idx
    } else {
        rate = operating_points(bits)?;
    }
    let (width_bits, height_bits) = (bits.u(4)? + 1, bits.u(4)? + 1);
    let size = Size { width: bits.u(width_bits)? + 1, height: bits.u(height_bits)? + 1 };
    if !reduced && bits.flag()? {
        bits.skip(7)?; // lengths of frame ids
    }
    bits.skip(3)?; // superblocks, filter intra, intra edge filter
    if !reduced {
        bits.skip(4)?; // interintra, masked compound, warped motion, dual filter
        let order_hint = bits.flag()?;
        if order_hint {
            bits.skip(2)?; // jnt_comp, ref_frame_mvs
        }
        let screen_content = bits.flag()? || bits.flag()?;
        if screen_content && !bits.flag()? {
            bits.skip(1)?; // seq_force_integer_mv
        }
        if order_hint {
            bits.skip(3)?; // order_hint_bits_minus_1
        }
    }
    bits.skip(3)?; // superres, cdef, restoration
    let color = color(bits, profile)?;
    Ok(VideoFormat { size, sample_aspect: (1, 1), frame_rate: rate, color, rotation: Rotation::None })
}

/// § 5.5.1 from `timing_info_present_flag` to the last operating point; § 5.5.3, § 5.5.4.
fn operating_points(bits: &mut Bits<'_>) -> Result<Option<FrameRate>, BitstreamError> {
    let mut rate = None;
    let mut delay_bits = None;
    if bits.flag()? {
        let (units, scale) = (bits.u(32)?, bits.u(32)?);
        if bits.flag()? {
            let ticks = u64::from(bits.ue()?) + 1; // uvlc() is ue(v) up to 32 bits
            rate = frame_rate(u64::from(scale), u64::from(units) * ticks);
        }
        if bits.flag()? {
            delay_bits = Some(bits.u(5)? + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let display_delays = bits.flag()?;
    for _ in 0..=bits.u(5)? {
        bits.skip(12)?; // operating_point_idc
        if bits.u(5)? > 7 {
            bits.skip(1)?; // seq_tier
        }
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.u(delay_bits)?;
            bits.u(delay_bits)?;
            bits.skip(1)?;
        }
        if display_delays && bits.flag()? {
            bits.skip(4)?;
        }
    }
    Ok(rate)
}

/// § 5.5.2.
fn color(bits: &mut Bits<'_>, profile: u32) -> Result<Option<Color>, BitstreamError> {
    let high_depth = bits.flag()?;
    if profile == 2 && high_depth {
        bits.skip(1)?; // twelve_bit
    }
    let monochrome = profile != 1 && bits.flag()?;
    let described = bits.flag()?;
    let (primaries, transfer, matrix) = if described { (bits.byte()?, bits.byte()?, bits.byte()?) } else { (2, 2, 2) };
    let srgb = !monochrome && (primaries, transfer, matrix) == (1, 13, 0);
    let full_range = srgb || bits.flag()?;
    Ok((described || full_range).then_some(Color { primaries, transfer, matrix, full_range }))
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// libaom, 322x182.
    const AV1C: &str = "81000c00 0a0b000000043d06d4daf90040";

    #[test]
    fn the_size_is_read_from_the_sequence_header_in_a_record() {
        let codec = codec(hex(AV1C)).unwrap();
        assert_eq!(codec.rfc6381(), "av01.0.00M.08");
        assert_eq!(codec.video().unwrap().size, Size { width: 322, height: 182 });
    }

    #[test]
    fn a_record_without_a_sequence_header_is_an_error() {
        assert_eq!(codec(hex("81000c00")).unwrap_err().what, "the av1C has no sequence header");
        let whole = hex(AV1C);
        for length in 0..8 {
            assert!(codec(whole.slice(..length)).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_delimiter_goes_without_a_copy() {
        let unit = hex("1200 0a0b000000043d06d4daf90040");
        let bare = without_delimiter(unit.clone());
        assert_eq!(bare.as_ptr(), unit[2..].as_ptr());
        assert!(has_sequence_header(&bare));
        assert_eq!(without_delimiter(bare.clone()), bare);
    }
}
