//! PES packet headers: ISO/IEC 13818-1 § 2.4.3.6.

use bytes::Bytes;

use super::{Unit, VIDEO_PID};

/// On the 33 bits that MPEG-TS has for time.
#[expect(clippy::cast_sign_loss, reason = "the mask leaves 33 bits of either sign")]
pub(super) fn wrapped(ticks: i64) -> u64 {
    (ticks & 0x1_FFFF_FFFF) as u64
}

/// The header of the PES packet that holds `unit`.
pub(super) fn header(unit: &Unit) -> Bytes {
    let video = unit.pid == VIDEO_PID;
    let both = unit.pts != unit.dts;
    let stamps: usize = if both { 10 } else { 5 };
    // Pictures may be longer than the field can say, and are then of unsaid length.
    let length = if video { 0 } else { u16::try_from(3 + stamps + unit.len()).unwrap_or(0) };
    let mut bytes = vec![0, 0, 1, if video { 0xE0 } else { 0xC0 }];
    bytes.extend_from_slice(&length.to_be_bytes());
    // Aligned: an access unit begins right after the header.
    bytes.extend_from_slice(&[0x84, if both { 0xC0 } else { 0x80 }]);
    bytes.push(if both { 10 } else { 5 });
    stamp(&mut bytes, if both { 3 } else { 2 }, unit.pts);
    if both {
        stamp(&mut bytes, 1, unit.dts);
    }
    bytes.into()
}

fn stamp(bytes: &mut Vec<u8>, prefix: u8, ticks: i64) {
    let [_, _, _, b0, b1, b2, b3, b4] = wrapped(ticks).to_be_bytes();
    // 3, 15 and 15 bits, a marker bit after each.
    bytes.push(prefix << 4 | (b0 & 1) << 3 | b1 >> 6 << 1 | 1);
    bytes.push(b1 << 2 | b2 >> 6);
    bytes.push(b2 << 2 | b3 >> 7 << 1 | 1);
    bytes.push(b3 << 1 | b4 >> 7);
    bytes.push(b4 << 1 | 1);
}
