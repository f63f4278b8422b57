//! VP9: `VPCodecConfigurationRecord` (VP Codec ISO Media File Format Binding) and a key frame's uncompressed header
//! (VP9 Bitstream & Decoding Process § 6.2), which alone knows the picture's size.

use bytes::Bytes;

use super::BitstreamError;
use super::bits::Bits;
use crate::media::{Codec, Color, Rotation, Size, VideoFormat};

/// The codec of a record, with or without its `FullBox` header, and a key frame.
pub fn codec(record: Bytes, key_frame: &[u8]) -> Result<Codec, BitstreamError> {
    // E-RTMP v2 carries `vpcC` from the profile on; some senders leave version and flags before it.
    let config = if record.len() >= 12 && record.starts_with(&[1, 0, 0, 0]) { record.slice(4..) } else { record };
    let &[_, _, depth, primaries, transfer, matrix, ..] = config.as_ref() else {
        return Err(BitstreamError::new(config.len(), "the vpcC ends too early"));
    };
    let full_range = depth & 1 == 1;
    let described = (primaries, transfer, matrix) != (2, 2, 2) || full_range;
    let color = described.then_some(Color { primaries, transfer, matrix, full_range });
    let video = VideoFormat {
        size: size(key_frame)?,
        sample_aspect: (1, 1),
        frame_rate: None,
        color,
        rotation: Rotation::None,
    };
    Ok(Codec::Vp9 { config, video })
}

/// Columns and rows of a key frame.
fn size(key_frame: &[u8]) -> Result<Size, BitstreamError> {
    let bits = &mut Bits::new(key_frame);
    if bits.u(2)? != 2 {
        return Err(bits.error("this is no VP9 frame"));
    }
    let (low, high) = (bits.u(1)?, bits.u(1)?);
    let profile = high << 1 | low;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (shows_existing, inter) = (bits.flag()?, bits.flag()?);
    if shows_existing || inter {
        return Err(bits.error("this is no VP9 key frame"));
    }
    bits.skip(2)?; // show_frame, error_resilient_mode
    if bits.u(24)? != 0x49_83_42 {
        return Err(bits.error("the VP9 key frame has no sync code"));
    }
    if profile >= 2 {
        bits.skip(1)?; // ten_or_twelve_bit
    }
    let subsampled = matches!(profile, 1 | 3);
    if bits.u(3)? == 7 {
        bits.skip(usize::from(subsampled))?; // RGB
    } else {
        bits.skip(1 + if subsampled { 3 } else { 0 })?;
    }
    Ok(Size { width: bits.u(16)? + 1, height: bits.u(16)? + 1 })
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    #[test]
    fn the_size_is_read_from_a_key_frame() {
        // libvpx, 322x182.
        let key_frame = hex("824983420014100b560838241c184a0006607fd1");
        for record in ["00 14 80 02 02 02 0000", "01000000 00 14 80 02 02 02 0000"] {
            let codec = codec(hex(record), &key_frame).unwrap();
            assert_eq!(codec.rfc6381(), "vp09.00.20.08");
            assert_eq!(codec.video().unwrap().size, Size { width: 322, height: 182 });
        }
    }

    #[test]
    fn a_frame_that_is_no_key_frame_is_an_error() {
        let record = hex("00 14 80 02 02 02 0000");
        assert_eq!(codec(record.clone(), &hex("8600")).unwrap_err().what, "this is no VP9 key frame");
        assert!(codec(record, &[]).is_err());
    }
}
