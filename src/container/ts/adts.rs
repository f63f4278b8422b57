//! ADTS frame headers: ISO/IEC 14496-3 Annex 1.A.2.2.

use bytes::Bytes;

use super::TsError;

/// Table 1.18: sampling frequency indices.
const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What all ADTS headers of a track have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adts {
    /// `profile_ObjectType`: the core coder's audio object type less one.
    profile: u8,
    rate_index: u8,
    channels: u8,
}

impl Adts {
    /// From an `AudioSpecificConfig`.
    pub(super) fn new(config: &[u8]) -> Result<Self, TsError> {
        let mut bits = Bits { bytes: config, at: 0 };
        let mut object_type = bits.take(5)?;
        let rate_index = rate_index(&mut bits)?;
        let channels = bits.take(4)?;
        if matches!(object_type, 5 | 29) {
            // Spectral band replication said ahead: what is coded follows.
            rate_index_or_rate(&mut bits)?;
            object_type = bits.take(5)?;
        }
        if !(1..=4).contains(&object_type) {
            return Err(TsError::Adts("its object type is above 4"));
        }
        if !(1..=7).contains(&channels) {
            return Err(TsError::Adts("its channels are described by a program config element"));
        }
        let small = |value: u32| u8::try_from(value).unwrap_or_default();
        Ok(Self { profile: small(object_type - 1), rate_index, channels: small(channels) })
    }

    /// The seven bytes before a frame of `length` bytes.
    pub(super) fn header(self, length: usize) -> Bytes {
        // Thirteen bits: an AAC frame has 768 bytes a channel at most.
        let length = u32::try_from(length + 7).unwrap_or(0x1FFF).min(0x1FFF);
        let [_, _, high, low] = (length << 5).to_be_bytes();
        Bytes::copy_from_slice(&[
            0xFF,
            0xF1,
            self.profile << 6 | self.rate_index << 2 | self.channels >> 2,
            self.channels << 6 | u8::try_from(length >> 11).unwrap_or_default(),
            high,
            low | 0x1F,
            0xFC,
        ])
    }
}

fn rate_index_or_rate(bits: &mut Bits<'_>) -> Result<(u32, Option<u32>), TsError> {
    match bits.take(4)? {
        15 => Ok((15, Some(bits.take(24)?))),
        index => Ok((index, None)),
    }
}

fn rate_index(bits: &mut Bits<'_>) -> Result<u8, TsError> {
    let index = match rate_index_or_rate(bits)? {
        (_, Some(rate)) => RATES.iter().position(|&known| known == rate),
        (index, None) => usize::try_from(index).ok().filter(|&index| index < RATES.len()),
    };
    index.and_then(|index| u8::try_from(index).ok()).ok_or(TsError::Adts("its sample rate is not in the table"))
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Result<u32, TsError> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8).ok_or(TsError::Adts("it ends too early"))?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Ok(value)
    }
}
