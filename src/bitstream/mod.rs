//! What the bits inside an access unit and its configuration record say. Pure functions over bytes from outside: they
//! return an error, they never panic. Finding access units in a file or a stream is `container`'s business.

#![cfg_attr(not(test), warn(clippy::indexing_slicing))]

pub mod aac;
pub mod ac3;
pub mod amf0;
pub mod av1;
mod bits;
pub mod eac3;
pub mod flac;
pub mod h264;
pub mod h265;
pub mod mp3;
pub mod nal;
pub mod opus;
pub mod vp9;

use crate::media::{Color, FrameRate};

/// What is wrong with a configuration record or an access unit, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {what}")]
pub struct BitstreamError {
    /// Bytes from the start of what was given; inside a parameter set, bytes from the set's start without its
    /// emulation prevention.
    pub at: usize,
    /// What it is.
    pub what: &'static str,
}

impl BitstreamError {
    pub(crate) const fn new(at: usize, what: &'static str) -> Self {
        Self { at, what }
    }
}

/// Table E-1 of ISO/IEC 14496-10, the same in ISO/IEC 23008-2: `aspect_ratio_idc` 1 to 16.
const SAMPLE_ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// `None` for zeros and for more than a thousand pictures per second: encoders write both for "do not know".
fn frame_rate(numerator: u64, denominator: u64) -> Option<FrameRate> {
    if numerator == 0 || denominator == 0 || numerator / denominator > 1_000 {
        return None;
    }
    let divisor = greatest_common_divisor(numerator, denominator);
    let numerator = u32::try_from(numerator / divisor).ok()?;
    let denominator = u32::try_from(denominator / divisor).ok()?;
    Some(FrameRate { numerator, denominator })
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// What H.264's and H.265's video usability information begin with, word for word the same.
#[derive(Debug, Default)]
struct Usability {
    sample_aspect: Option<(u32, u32)>,
    color: Option<Color>,
}

impl Usability {
    /// Annex E of both: from `aspect_ratio_info_present_flag` to the chroma locations.
    fn read(&mut self, bits: &mut bits::Bits<'_>) -> Result<(), BitstreamError> {
        if bits.flag()? {
            self.sample_aspect = match bits.byte()? {
                255 => Some((bits.u(16)?, bits.u(16)?)).filter(|&(width, height)| width != 0 && height != 0),
                idc => usize::from(idc).checked_sub(1).and_then(|at| SAMPLE_ASPECTS.get(at).copied()),
            };
        }
        if bits.flag()? {
            bits.skip(1)?; // overscan_appropriate_flag
        }
        if bits.flag()? {
            bits.skip(3)?; // video_format
            let full_range = bits.flag()?;
            if bits.flag()? {
                let (primaries, transfer, matrix) = (bits.byte()?, bits.byte()?, bits.byte()?);
                self.color = Some(Color { primaries, transfer, matrix, full_range });
            } else if full_range {
                // 2 is "unspecified": the range alone is worth carrying on.
                self.color = Some(Color { primaries: 2, transfer: 2, matrix: 2, full_range });
            }
        }
        if bits.flag()? {
            bits.ue()?; // chroma_sample_loc_type_top_field
            bits.ue()?; // chroma_sample_loc_type_bottom_field
        }
        Ok(())
    }
}

/// Bytes of a test, written as they are read in a dump.
#[cfg(test)]
pub(crate) fn hex(text: &str) -> bytes::Bytes {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}
